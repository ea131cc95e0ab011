"""The documentation tells the truth: links, pictures, options, targets, numbers, languages."""

from __future__ import annotations

import importlib.util
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from PIL import Image

from cli import reference
from node import settings, texts
from pairing import errors
from pairing.language import LANGUAGES

TOP = Path(__file__).resolve().parents[2]
DOCS = TOP / "docs"
OWN = sorted([TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "CHANGELOG.md"])
PAGES = [*OWN, *sorted(DOCS.rglob("*.md"))]
WRITTEN = [page for page in PAGES if page.parent.name != "reference"]
OTHERS = ("ATTACKS.md", "protocol.md", "relay.md", "CHANGELOG.md", "CONTRIBUTING.md")
NARROW = [page for page in WRITTEN if page.name not in OTHERS and page.parent.name != "adr"]
WIDTH = 120
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
ELSEWHERE = {
    *(
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        "--no-build-isolation",
        "--override",
    ),  # pip
    *("--import-mode", "--keep"),  # pytest, .ci/lock.py
    *("--ttl", "--print-join-command"),  # kubeadm
    "--bootnext",  # efibootmgr
    "--open",  # of an image, in ATTACKS.md: comes with the image factory
}
"""Options of other people's programs, and of ours that are announced as not yet there."""
HOSTS = re.compile(r"pypi\.org|pythonhosted|registry\.npmjs|proxy\.golang|deb\.debian|ghcr\.io")
MACHINE_PATHS = re.compile(r"(?<![\w.])/(work|root|home/[a-z]+|tmp/(?!demo\b))\b")


def named(path: Path) -> str:
    return str(path.relative_to(TOP))


def prose(page: Path) -> str:
    """The page without fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """As hosting sites make them from headings."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"drawn_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


# --- links and pictures -------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert found.is_relative_to(TOP), target
        if anchor:
            assert anchor in anchors(found), target


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, todo = set(), [TOP / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = (link.partition("#")[0] for link in LINK.findall(prose(page)))
        todo += [(page.parent / link).resolve() for link in links if link and "://" not in link]
    assert not {named(page) for page in DOCS.rglob("*.md")} - {named(page) for page in seen}


def test_the_pictures_are_current() -> None:
    drawn = load("pictures")
    now = {**dict(drawn.pictures()), "operator.png": drawn.terminal_picture()}
    kept = {path.name for path in (DOCS / "images").glob("*.png")}
    assert kept == set(now)
    for name, data in now.items():
        with Image.open(io.BytesIO(data)) as new, Image.open(DOCS / "images" / name) as old:
            same = (
                new.size == old.size
                and new.convert("RGB").tobytes() == old.convert("RGB").tobytes()
            )
        assert same, f"{name}: draw it again: python docs/pictures.py"


def test_every_picture_is_shown_somewhere() -> None:
    shown = {Path(link).name for page in PAGES for link in LINK.findall(prose(page))}
    assert {path.name for path in (DOCS / "images").glob("*.png")} <= shown


# --- the shop's page ----------------------------------------------------------------------------


def test_the_shop_pages_are_current() -> None:
    pages = load("shop_pages")
    written = {"README.md": pages.markdown(), "printable.html": pages.printable()}
    for name, text in written.items():
        kept = (DOCS / "manager" / name).read_text(encoding="utf-8")
        assert kept == text, f"{name}: write it again: python docs/shop_pages.py"


def test_the_shop_page_speaks_the_screens_languages() -> None:
    pages = load("shop_pages").PAGES
    assert set(pages) == set(LANGUAGES) == set(settings.LANGUAGES)
    for language in pages:
        assert texts.load(language) is not texts.load("en") or language == "en"


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_the_shop_page_is_short(language: str) -> None:
    page = load("shop_pages").PAGES[language]
    sentences = [part for step in page.steps for part in re.split(r"(?<=\.)\s", step)]
    assert len(sentences) <= 6
    assert all(len(sentence.split()) <= 16 for sentence in sentences)


def test_the_printable_page_needs_nothing_else() -> None:
    page = (DOCS / "manager" / "printable.html").read_text(encoding="utf-8")
    assert "://" not in page
    assert page.count("data:image/png;base64,") == 4 * len(LANGUAGES)


# --- what is named exists -----------------------------------------------------------------------


def options_of(command: click.Command) -> Iterator[str]:
    context = reference.context_of(command, "")
    for parameter in command.get_params(context):
        yield from (*parameter.opts, *parameter.secondary_opts)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from options_of(below)


@pytest.fixture(scope="module")
def our_options() -> set[str]:
    return {option for _, program in reference.programs() for option in options_of(program)}


@pytest.mark.parametrize("page", WRITTEN, ids=named)
def test_every_option_that_is_named_exists(page: Path, our_options: set[str]) -> None:
    text = re.sub(r"^```(go|html).*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    named_here = set(OPTION.findall(text.replace("<!--", "").replace("-->", "")))
    assert not named_here - our_options - ELSEWHERE


@pytest.mark.parametrize("page", WRITTEN, ids=named)
def test_every_command_that_is_named_exists(page: Path) -> None:
    programs = dict(reference.programs())
    for name, below in re.findall(
        r"(kairos-(?:fleet|node)) ([a-z][a-z-]*)", page.read_text(encoding="utf-8")
    ):
        group = programs[name]
        assert isinstance(group, click.Group)
        words = group.list_commands(reference.context_of(group, name))
        # `kairos-fleet and ...` is no command: only what stands in code is.
        if f"`{name} {below}" in page.read_text(encoding="utf-8"):
            assert below in words, f"{name} {below}"


@pytest.mark.parametrize("page", WRITTEN, ids=named)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (TOP / "Makefile").read_text(), re.M))
    text = page.read_text(encoding="utf-8")
    found = set(re.findall(r"(?:`|^)make ([a-z][a-z0-9-]*)", text, re.M))
    assert not found - targets


def test_troubleshooting_knows_every_error_and_invents_none() -> None:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    numbers = {int(number) for number in re.findall(r"\bE(\d{3})\b", text)}
    for first, last in re.findall(r"\bE(\d{3}) to E(\d{3})\b", text):
        numbers |= {int(first), int(last)}
    # A family's own number (E200, E500, ...) is told by its members.
    every = {error.number for error in errors.all_errors()}
    assert not numbers - every
    assert not {number for number in every - numbers if number % 100}


@pytest.mark.parametrize("page", WRITTEN, ids=named)
def test_every_error_number_exists(page: Path) -> None:
    every = {error.number for error in errors.all_errors()}
    found = {int(number) for number in re.findall(r"\bE(\d{3})\b", prose(page))}
    assert not found - every


# --- house rules --------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_machine_paths_and_no_registries(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not HOSTS.findall(text)
    assert not MACHINE_PATHS.findall(text)


@pytest.mark.parametrize("page", NARROW, ids=named)
def test_lines_are_narrow(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    wide = [line for line in lines if len(line) > WIDTH and not line.startswith("|")]
    assert not wide


ADRS = sorted((DOCS / "adr").glob("[0-9]*.md"))


@pytest.mark.parametrize("page", ADRS, ids=named)
def test_a_decision_has_its_parts(page: Path) -> None:
    heads = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.M)
    assert [head for head in heads if head in ("Context", "Decision", "Consequences")] == [
        "Context",
        "Decision",
        "Consequences",
    ]
    assert page.name in (DOCS / "adr" / "README.md").read_text(encoding="utf-8")


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(page.name[:4]) for page in ADRS] == list(range(1, len(ADRS) + 1))
