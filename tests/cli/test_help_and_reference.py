"""Help leads with examples; the reference is what the code says."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from cli import reference
from pairing import errors

DOCS = Path(__file__).parents[2] / "docs" / "reference"


def walk(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    found = [(name, command)]
    if isinstance(command, click.Group):
        context = reference.context_of(command, name)
        for child in command.list_commands(context):
            below = command.get_command(context, child)
            assert below is not None, f"{name} {child}"
            found += walk(below, f"{name} {child}")
    return found


ALL = [item for name, command in reference.programs() for item in walk(command, name)]
OURS = [(name, command) for name, command in ALL if not name.startswith("kairos-node")]


@pytest.mark.parametrize("page", reference.PAGES)
def test_the_pages_are_current(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == reference.PAGES[page](), (
        "write it again: python -m cli.reference docs/reference"
    )


def test_no_page_is_left_over() -> None:
    assert {path.name for path in DOCS.glob("*.md")} == set(reference.PAGES)


@pytest.mark.parametrize(("name", "command"), OURS, ids=[name for name, _ in OURS])
def test_help_leads_with_examples(name: str, command: click.Command) -> None:
    if name.startswith("kairos-fleet keys "):
        return  # the group's examples are theirs
    text = command.help or ""
    assert "Examples:" in text
    assert text.index("Examples:") < 400
    assert f"  {name}" in text


@pytest.mark.parametrize(("name", "command"), OURS, ids=[name for name, _ in OURS])
def test_every_option_says_what_it_does(name: str, command: click.Command) -> None:
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.is_eager:
            explained = parameter.help or parameter.metavar
            assert explained, f"{name} {parameter.opts}"


def test_every_option_is_in_the_reference() -> None:
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    for name, command in ALL:
        section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[-1] in section, f"{name} {parameter.opts}"


@pytest.mark.parametrize(("name", "command"), OURS, ids=[name for name, _ in OURS])
def test_every_help_line_fits_80_columns(name: str, command: click.Command) -> None:
    context = reference.context_of(command, name)
    lines = [line for line in command.get_help(context).splitlines() if len(line) > 80]
    assert not [line for line in lines if not line.startswith("Usage")]


def test_every_exit_code_and_error_has_its_line() -> None:
    codes = (DOCS / "exit-codes.md").read_text(encoding="utf-8")
    for code in errors.ExitCode:
        assert f"| {int(code)} |" in codes
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    for error in errors.all_errors():
        assert f"### E{error.number} {error.slug}\n" in page


def test_error_numbers_and_slugs_are_unique() -> None:
    found = list(errors.all_errors())
    assert len({error.number for error in found}) == len(found)
    assert len({error.slug for error in found}) == len(found)
    assert all(error.hint for error in found)
