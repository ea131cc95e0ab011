"""The door to programs, as everything that changes a machine uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pairing.process import Result


class Door(Protocol):
    """`pairing.process.run`, or a recording of it. Secrets go through `stdin` only."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        seconds: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Result:
        """Run a program; raises errors.MissingError's children only."""
