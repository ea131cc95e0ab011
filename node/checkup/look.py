"""What every check is given, and the words that they share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from node.settings import Settings
from node.system import board
from node.system.door import Door
from pairing.findings import Finding, Level


@dataclass(frozen=True, slots=True)
class Look:
    """The machine below `root`. `clock`: Unix seconds."""

    root: Path
    run: Door
    settings: Settings = field(default_factory=Settings)
    clock: Callable[[], float] = time.time

    @property
    def mode(self) -> str:
        """`live`, `installed` or `recovery`."""
        return board.mode(self.root)

    @property
    def installed(self) -> bool:
        return self.mode == "installed"


Check = Callable[[Look], Iterator[Finding]]
"""Looks at one subject. It may raise errors.KnownError or OSError: that is told then."""


def wrong(what: str, text: str, hint: str) -> Finding:
    """It has to be mended."""
    return Finding(what, Level.WRONG, text, hint)


def advice(what: str, text: str, hint: str = "") -> Finding:
    """It may matter."""
    return Finding(what, Level.ADVICE, text, hint)
