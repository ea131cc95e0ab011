"""What is wrong in a config, and exactly where."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

PathKey = str | int
Path = tuple[PathKey, ...]
"""The way from the top of a config to a value: map keys and list numbers (from 0)."""

MAX_PROBLEMS = 50
"""Nobody reads more at once."""


class Severity(enum.StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file. Line and column count from 1; 0 means that there is none."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong. Never holds a config's value, because that may be a secret.

    `suggestion` is what to write instead or to do, empty if we have no idea.
    """

    path: Path
    mark: Mark
    message: str
    suggestion: str = ""
    severity: Severity = Severity.ERROR

    @property
    def line(self) -> int:
        return self.mark.line

    @property
    def column(self) -> int:
        return self.mark.column

    def __str__(self) -> str:
        """One line as compilers write it: `config.yaml:8:24: users.0.name: ...`."""
        where = f"{self.mark}: {dotted(self.path)}: " if self.path else f"{self.mark}: "
        word = "warning: " if self.severity is Severity.WARNING else ""
        hint = f" {self.suggestion}" if self.suggestion else ""
        return f"{where}{word}{self.message}{hint}"


def dotted(path: Path) -> str:
    """`("users", 0, "name")` as `users.0.name`, safe to print: control characters are escaped."""
    return ".".join(printable(str(key)) for key in path)


def printable(text: str, limit: int = 60) -> str:
    """`text` without anything that a terminal would obey, and not longer than `limit`."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."


def errors_among(problems: Iterable[Problem]) -> list[Problem]:
    """Only what makes a config invalid, without the warnings."""
    return [problem for problem in problems if problem.severity is Severity.ERROR]
