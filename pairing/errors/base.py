"""What every failure has: number, slug, sentence, hint, exit code."""

from __future__ import annotations

import enum
from typing import ClassVar


class ExitCode(enum.IntEnum):
    """Exit codes of every command. Documented, tested, never reused (docs/reference)."""

    DONE = 0
    BUG = 1
    USAGE = 2
    CONFIG = 3
    PHOTO = 4
    UNREACHABLE = 5
    NOT_AUTHENTIC = 6
    NODE_FAILED = 7
    BATCH = 8
    MISSING = 9
    NOT_ACKNOWLEDGED = 10
    NOT_APPROVED = 11
    NO_VERDICT = 12
    LOCKED = 13
    INTERRUPTED = 130


class KnownError(Exception):
    """Something went wrong.

    `detail` replaces nothing: it is added after the sentence. `element` names the file, disk,
    node or option concerned. Neither may hold a secret.
    """

    number: ClassVar[int] = 0
    slug: ClassVar[str] = ""
    hint: ClassVar[str] = ""
    exit_code: ClassVar[ExitCode] = ExitCode.BUG
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str = "", *, element: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.element = element

    @property
    def code(self) -> str:
        """The short code that is read aloud, such as `E431`."""
        return f"E{self.number}"

    @property
    def sentence(self) -> str:
        """What happened, in one or two sentences, without the hint."""
        first = (type(self).__doc__ or "").split("\n\n", 1)[0]
        base = " ".join(first.split())
        parts = [f"{self.element}: {base}" if self.element else base, self.detail]
        return " ".join(part for part in parts if part)

    def __str__(self) -> str:
        return self.sentence
