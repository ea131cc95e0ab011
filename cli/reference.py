"""The pages of `docs/reference`, written from the code: `python -m cli.reference docs/reference`.

A test holds that the pages in the repository are what this makes.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from pairing import errors, events

PROGRAMS = ("kairos-register", "kairos-fleet", "kairos-node")
Row = tuple[str, ...]
NOTE = "<!-- Written by `python -m cli.reference docs/reference`; change the code, not this. -->"

CODES: Mapping[errors.ExitCode, tuple[str, str]] = {
    errors.ExitCode.DONE: ("done", "yes; a finished machine is not installed twice"),
    errors.ExitCode.BUG: ("a bug in this program", "yes, but please report it"),
    errors.ExitCode.USAGE: ("the command line is wrong, or a file is missing", "yes"),
    errors.ExitCode.CONFIG: ("the config is not valid, or not for this machine", "yes"),
    errors.ExitCode.PHOTO: ("no readable code in the photo", "yes, with a better photo"),
    errors.ExitCode.UNREACHABLE: ("no node in time; nothing was released", "yes"),
    errors.ExitCode.NOT_AUTHENTIC: ("refused, or not authentic", "find out why first"),
    errors.ExitCode.NODE_FAILED: ("the node reported a failure", "yes, when its cause is gone"),
    errors.ExitCode.BATCH: ("some of several failed", "yes; those that are done stay done"),
    errors.ExitCode.MISSING: ("something is missing on this machine", "yes: `kairos-fleet doctor`"),
    errors.ExitCode.NOT_ACKNOWLEDGED: (
        "delivered, not acknowledged (Kairos' own protocol)",
        "look at the machine first",
    ),
    errors.ExitCode.NOT_APPROVED: ("not approved; nothing was released", "yes"),
    errors.ExitCode.NO_VERDICT: (
        "released, but no verdict in time",
        "yes: the same command resumes and says how it ended",
    ),
    errors.ExitCode.LOCKED: ("the node is locked", "yes, when it is open"),
    errors.ExitCode.INTERRUPTED: (
        "interrupted by you; the message says whether something was released",
        "yes: the same command resumes",
    ),
}
"""What each exit code means, and whether the same command may be run again."""


def exit_codes() -> str:
    """The page of exit codes."""
    rows = [(str(int(code)), *CODES[code]) for code in errors.ExitCode]
    intro = "The same for all programs. They are never given another meaning."
    return _page("Exit codes", intro, _table(("code", "meaning", "safe to repeat?"), rows))


def error_page() -> str:
    """The page of errors."""
    intro = (
        "Each failure has a number to read aloud, a name for scripts, a sentence and a hint, and "
        "an exit code. The same failure has the same number on the machine's screen and at the "
        "operator. `again`: trying again may help."
    )
    parts = []
    for error in errors.all_errors():
        again = ", again" if error.retryable else ""
        sentence = " ".join((error.__doc__ or "").split("\n\n", 1)[0].split())
        parts.append(
            f"### E{error.number} {error.slug}\n\n{sentence}\n\n"
            f"{error.hint}\n\nExit code {int(error.exit_code)}{again}.\n"
        )
    return _page("Errors", intro, "\n".join(parts))


def states() -> str:
    """The page of states and events."""
    from pairing.report import STATE_TEXTS

    rows = [(f"`{state.value}`", f"The node {STATE_TEXTS[state]}.") for state in events.State]
    fields = [(f"`{name}`", kind) for name, kind in _event_fields()]
    order = " -> ".join(f"`{state.value}`" for state in events.ORDER)
    intro = f"A node goes {order}. `refused`, `failed` and `locked` end it early."
    about = " ".join(inspect.getdoc(events.Event).split("\n\n", 1)[1].split())  # type: ignore[union-attr]
    kinds = "`state` (signed by the node), `step` (a step began, advanced or ended), `log`"
    body = (
        _table(("state", "meaning"), rows)
        + f"\n## Events\n\nTypes: {kinds}. In JSON only fields that say something are there, "
        "besides those up to `state`. The operator's side adds `at` (UTC) and `serial`; its "
        "journal adds `signature` (base64url) to receipts and `sum` to each line.\n\n"
        + _table(("field", "type"), fields)
        + f"\n{about}\n"
    )
    return _page("States and events", intro, body)


def _event_fields() -> Iterator[tuple[str, str]]:
    import dataclasses

    for field in dataclasses.fields(events.Event):
        yield field.name, str(field.type)


def steps() -> str:
    """The page of steps."""
    from node.steps import STEP_TYPES

    rows: list[Row] = []
    for name, step in STEP_TYPES.items():
        flags = ["changes the disk or firmware"] if step.destructive else []
        flags += ["done in a dry run too"] if step.rehearsed else []
        flags += ["needs the recovery key"] if step.needs_key else []
        sentence = " ".join((step.__doc__ or "").split("\n\n", 1)[0].split())
        rows.append((f"`{name}`", sentence, "; ".join(flags), f"{step.seconds:g} s"))
    intro = "An installation's steps, in the order in which a plan has them."
    return _page("Steps", intro, _table(("step", "what it does", "", "deadline"), rows))


def config() -> str:
    """The page of config keys."""
    from pairing.config.schema import schema

    intro = (
        "A config begins with the line `#cloud-config`. Unknown keys are errors, except below "
        "`stages` and keys that begin with `x-`. `kairos-fleet schema` prints this as JSON Schema."
    )
    rows = list(_Keys(schema("native")).rows())
    return _page("Config", intro, _table(("key", "type", "meaning"), rows))


def recipe() -> str:
    """The page of a recipe's keys."""
    from node.image.product import IMAGE_JSON
    from node.image.recipe import schema

    intro = (
        "A recipe says what an image is made of: `kairos-fleet image build RECIPE`. It begins with "
        "the line `#kairos-image`; examples: [examples/images](../../examples/images), how they "
        "are used: [images](../images.md). `kairos-fleet image schema` prints this as JSON Schema."
    )
    rows = list(_Keys(schema()).rows())
    keys = _table(("key", "type", "meaning"), rows)
    said = [(f"`{key}`", meaning) for key, meaning in IMAGE_JSON.items()]
    described = _table(("key", "what"), said)
    return _page(
        "Recipe",
        intro,
        f"{keys}\n## What an image says of itself\n\n"
        "`/usr/lib/kairos-register/image.json`, which the recipe fills; beside the update files, "
        f"`ID-VERSION.json` says the same and the digests.\n\n{described}",
    )


class _Keys:
    """Walks a schema; what is defined once and used at several places is listed at the first."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._listed: dict[str, str] = {}

    def rows(self, rules: Mapping[str, Any] | None = None, at: str = "") -> Iterator[Row]:
        """A row for each key below `rules`."""
        rules = self._root if rules is None else rules
        for name, found in rules.get("properties", {}).items():
            below, path = _resolved(found, self._root), f"{at}{name}"
            same = self._same(found, path)
            meaning = _meaning(found, below)
            yield f"`{path}`", _type(below), f"{meaning} As `{same}`." if same else meaning
            if not same:
                yield from self._below(below, path)

    def _below(self, rules: Mapping[str, Any], path: str) -> Iterator[Row]:
        yield from self.rows(rules, f"{path}.")
        items = rules.get("items", {})
        if not self._same(items, f"{path}[]"):
            yield from self.rows(_resolved(items, self._root), f"{path}[].")

    def _same(self, rules: Mapping[str, Any], path: str) -> str:
        """Where this definition was listed already, if it was."""
        reference = rules.get("$ref", "")
        first = self._listed.setdefault(reference, path) if reference else path
        return "" if first == path else first


def _resolved(rules: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(rules, Mapping):
        return {}
    reference = rules.get("$ref")
    found: Any = root["$defs"][reference.rsplit("/", 1)[1]] if reference else rules
    return found if isinstance(found, Mapping) else {}


def _type(rules: Mapping[str, Any]) -> str:
    if "enum" in rules:
        return " or ".join(f"`{value}`" for value in rules["enum"])
    kind = rules.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _meaning(found: Mapping[str, Any], below: Mapping[str, Any]) -> str:
    said = found.get("description") or below.get("description") or ""
    return str(said).replace("|", "\\|")


def commands() -> str:
    """The page of commands: the help of every command of every program."""
    parts = []
    for name, command in programs():
        parts += list(_helps(command, name, None))
    intro = "Every command with every option, as `--help` prints it."
    return _page("Commands", intro, "\n".join(parts))


def programs() -> Iterator[tuple[str, click.Command]]:
    """Every program of ours by its name."""
    from cli.fleet import fleet
    from cli.register import command
    from node.__main__ import main

    yield from zip(PROGRAMS, (command, fleet, main), strict=True)


def context_of(
    command: click.Command, name: str, parent: click.Context | None = None
) -> click.Context:
    """A context in which a command shows its help as its program does, in 80 columns.

    A command remembers the help option of the first context that asks, so all must be alike.
    """
    return click.Context(
        command, info_name=name, parent=parent, terminal_width=80, max_content_width=80,
        help_option_names=["-h", "--help"],
    )  # fmt: skip


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    own = name if parent is None else name.rsplit(" ", 1)[1]
    context = context_of(command, own, parent)
    yield f"## {name}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from _helps(found, f"{name} {child}", context)


def facts() -> str:
    """The page of a machine's facts."""
    import dataclasses

    from pairing import facts as module

    parts = []
    for kind in (module.Facts, module.Disk, module.Nic, module.Tpm):
        rows = [(f"`{field.name}`", str(field.type)) for field in dataclasses.fields(kind)]
        doc = " ".join((kind.__doc__ or "").split())
        parts.append(f"## {kind.__name__}\n\n{doc}\n\n{_table(('field', 'type'), rows)}")
    intro = "What a machine says of itself before anything is released to it. Sizes in bytes."
    return _page("Facts", intro, "\n".join(parts))


PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands,
    "exit-codes.md": exit_codes,
    "errors.md": error_page,
    "config.md": config,
    "steps.md": steps,
    "states.md": states,
    "facts.md": facts,
    "recipe.md": recipe,
}


def _page(title: str, intro: str, body: str) -> str:
    return f"# {title}\n\n{NOTE}\n\n{intro}\n\n{body.rstrip()}\n"


def _table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write(folder: Path) -> None:
    """Write all pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference"))
