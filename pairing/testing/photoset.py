"""A folder of photos with the texts of their codes: `expected.tsv`, tab separated.

Columns: path, texts of which any one is right (separated by the character 0x1f; newline, tab,
carriage return and backslash escaped), group, number of codes. Lines with `#` are comments.
Engines guess character sets differently, so texts are compared without what is not ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pairing.testing.measured import TOP

OURS = TOP / "tests" / "data" / "photos"
"""Photos that are part of the project: NOTICE says whose they are."""
SHORTEST = 4
"""Characters. Shorter texts of engines are no evidence of anything."""
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A photo, the texts of which any is right, and the group of photos it is from."""

    path: Path
    texts: tuple[str, ...] = field(repr=False)
    group: str

    def is_right(self, texts: Iterable[str]) -> bool:
        """One of `texts` is what the photo shows."""
        return not {plain(text) for text in texts}.isdisjoint(plain(text) for text in self.texts)

    def is_wrong(self, texts: Collection[str]) -> bool:
        """Something was read, and none of it is what the photo shows."""
        return any(len(text) >= SHORTEST for text in texts) and not self.is_right(texts)


def plain(text: str) -> str:
    """Printable ASCII of it, without spaces at the ends and with single ones inside."""
    return " ".join(re.sub(r"[^\x20-\x7e\s]", "", text).split())


def load(folder: Path = OURS) -> tuple[Labelled, ...]:
    """All labelled photos of a folder. Raises OSError without an `expected.tsv`, ValueError."""
    found = []
    for line in (folder / "expected.tsv").read_text("utf-8").split("\n"):
        if not line or line.startswith("#"):
            continue
        path, texts, group, _ = line.split("\t")
        any_of = tuple(_unescaped(text) for text in texts.split("\x1f"))
        found.append(Labelled(folder / path, any_of, _family(group)))
    return tuple(found)


def _family(group: str) -> str:
    """Where photos are from: simulated ones have a group for every kind of code."""
    return "synth" if group.startswith("synth") else group


def _unescaped(text: str) -> str:
    return re.sub(r"\\([ntr\\])", lambda found: _ESCAPES[found[1]], text)
