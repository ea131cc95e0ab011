"""What a doctor found: one line each, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """`missing` is said of the operator's machine, `wrong` of a node: both are bad."""

    OK = "ok"
    ADVICE = "advice"
    MISSING = "missing"
    WRONG = "wrong"


BAD = frozenset({Level.MISSING, Level.WRONG})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `hint`: the next step; none where all is well. No secrets."""

    what: str
    level: Level
    text: str
    hint: str = ""

    @property
    def lines(self) -> Iterator[str]:
        """For people. Whoever prints them escapes control characters."""
        yield f"{self.level.value:<8} {self.what:<9} {self.text}"
        if self.hint:
            yield f"{'':<18} {self.hint}"


def ok(what: str, text: str) -> Finding:
    """All is well with it."""
    return Finding(what, Level.OK, text)


def is_healthy(findings: Iterable[Finding]) -> bool:
    """Whether nothing is missing or wrong; advice may be given."""
    return not any(finding.level in BAD for finding in findings)


def to_json(findings: Iterable[Finding]) -> Mapping[str, Any]:
    """All of them, ready for `json.dumps`."""
    found = list(findings)
    return {
        "schema": 1,
        "healthy": is_healthy(found),
        "findings": [asdict(finding) for finding in found],
    }
