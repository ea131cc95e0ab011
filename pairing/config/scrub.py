"""Takes a config's secrets out of what programs print, before anybody keeps or shows it.

What is secret is decided by `pairing.config.redact`. A program may print a secret whole, or a word
of the command or file that it stands in: whole values are taken out wherever they appear, and of
free text the words that could be a key or password (letters and digits mixed, or after a `=`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pairing.config.document import Document, Node
from pairing.config.redact import HIDDEN, clean, redact

SHORTEST = 4
"""Shorter secrets are not taken out: they would be found in every other word."""
PIECE = 8
_WORD = re.compile(r"[^\s\"'`=:;,|&<>(){}\[\]@]+")
_LIKE_A_KEY = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z]).{8,}|[A-Za-z+/]{24,}={0,2}|[0-9]{6,}")
_ASSIGNED = re.compile(r"[\w-]=[\"']?([^\s\"'=]{4,})")


@dataclass(frozen=True, slots=True)
class Scrub:
    """Call it with a text: the same text, with `(secret)` for every secret of the config."""

    secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, document: Document) -> Scrub:
        """Knows every secret of `document`, the longest first."""
        found = set(_secrets(document.root, redact(document).root))
        return cls(tuple(sorted(found, key=lambda text: (-len(text), text))))

    def __call__(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        return "\n".join(clean(line) for line in text.split("\n"))


def _secrets(node: Node, shown: Node) -> Iterator[str]:
    """Values of `node` that `shown`, its redacted copy, does not show."""
    if isinstance(shown.content, str) and shown.content != node.content:
        for value in _values(node):
            yield from _parts(value, shown.content)
        return
    for (_, below), (_, below_shown) in zip(node.children(), shown.children(), strict=True):
        yield from _secrets(below, below_shown)


def _values(node: Node) -> Iterator[str]:
    """Every scalar in `node`, as text."""
    if isinstance(node.content, str | int | float) and not isinstance(node.content, bool):
        yield str(node.content)
    for _, below in node.children():
        yield from _values(below)


def _parts(value: str, shown: str) -> Iterator[str]:
    """The whole value, its lines, and its words that could be secrets by themselves."""
    plain = set(_WORD.findall(shown))
    lines = [line.strip() for line in value.splitlines()]
    words = [word for word in _WORD.findall(value) if _LIKE_A_KEY.fullmatch(word)]
    # Of a single word, such as a token, every part may be shown alone.
    single = not re.search(r"\s", value.strip())
    pieces = [word for word in _WORD.findall(value) if single and len(word) >= PIECE]
    for part in (value.strip(), *lines, *words, *pieces, *_ASSIGNED.findall(value)):
        if len(part) >= SHORTEST and part not in plain:
            yield part
