"""Reading the kernel's small text files below a root: what cannot be read is empty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from pairing import errors
from pairing.facts import TEXT_LIMIT
from pairing.process import Result

FILE_LIMIT = 1024 * 1024


class Run(Protocol):
    """`pairing.process.run`, or a recording of it."""

    def __call__(self, argv: Sequence[str], *, seconds: float, check: bool = True) -> Result:
        """Run a program; raises errors.MissingError's children only."""


def read(path: Path) -> bytes:
    """The file's bytes (at most `FILE_LIMIT`), empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(FILE_LIMIT)
    except OSError:
        return b""


def text(path: Path) -> str:
    """The file as one short line of text."""
    return short(read(path).decode("utf-8", "replace"))


def short(value: object) -> str:
    """Any text from hardware, stripped of padding and cut to what facts may hold."""
    return value.strip(" \t\r\n\0")[:TEXT_LIMIT] if isinstance(value, str) else ""


def number(path: Path) -> int:
    """The file's whole number, 0 if there is none or it is negative."""
    try:
        return max(0, int(text(path)))
    except ValueError:
        return 0


def names(folder: Path) -> list[str]:
    """The names in a folder, sorted; none if it cannot be read."""
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def link_name(path: Path) -> str:
    """The last part of what a symbolic link points to, empty if it is none."""
    try:
        return path.readlink().name
    except OSError:
        return ""


def output(run: Run, argv: Sequence[str], *, seconds: float) -> str | None:
    """What a program prints, or None if it is missing, fails or takes too long."""
    try:
        return run(argv, seconds=seconds).text()
    except errors.MissingError:
        return None


def first(*values: Callable[[], str]) -> str:
    """The first that is not empty."""
    return next((found for value in values if (found := value())), "")
