"""The YAML inside a network token: a few short texts and numbers, and nothing that surprises.

Scalars keep their text, for a key that looks like a number is still a key. How they are read is
yaml.v2's way, which stock edgevpn uses; duplicate keys, anchors, aliases and tags, which it would
take, are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from pairing.config.load import yaml_events
from pairing.config.scalars import resolve

MAX_NODES = 100
MAX_DEPTH = 5
MAX_TEXT = 128
"""Characters of one value."""
_PLAIN = re.compile(r"[A-Za-z0-9]{6,}")


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar: its text, and whether it stood there without quotes."""

    text: str = field(repr=False)
    plain: bool

    def string(self) -> str:
        """As Go reads it into a string: a bare null is empty, a bare number is its text."""
        return "" if self.plain and resolve(self.text) is None else self.text

    def number(self) -> int | None:
        """As Go reads it into an int; `1e10` is one."""
        number = resolve(self.text) if self.plain else None
        if isinstance(number, bool) or not isinstance(number, int | float):
            return None
        return int(number) if -(2**63) <= number < 2**63 and number == int(number) else None


Map = Mapping[str, Any]
"""Its values are `Value`, `Map` or a list of them; nothing that leaves this package."""


def read(text: str) -> Map:
    """The map that `text` is. Raises ValueError, whose text shows nothing of it."""
    try:
        root = _build(text)
    except yaml.YAMLError:
        raise ValueError("it is not YAML") from None
    if not isinstance(root, Mapping):
        raise ValueError("it is no map")
    return root


def _build(text: str) -> Map | Sequence[Any] | Value | None:
    builder = _Builder()
    for event in yaml_events(text):
        if isinstance(event, yaml.DocumentStartEvent):
            builder.start()
        elif isinstance(event, yaml.NodeEvent):
            builder.node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            builder.close()
    return builder.root


class _Builder:
    """What is open is on a stack of its own: nothing here recurses."""

    def __init__(self) -> None:
        self.root: Map | Sequence[Any] | Value | None = None
        self.stack: list[tuple[dict[str, Any] | None, list[Any]]] = []
        self.nodes = self.documents = 0

    def start(self) -> None:
        self.documents += 1
        if self.documents > 1:
            raise ValueError("it is more than one document")

    def node(self, event: Any) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(self.stack) > MAX_DEPTH:
            raise ValueError("it is too large or too deep")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None or event.tag is not None:
            raise ValueError("it has anchors, aliases or tags")
        if isinstance(event, yaml.ScalarEvent):
            if len(event.value) > MAX_TEXT:
                raise ValueError("a value in it is too long")
            self._attach(Value(event.value, not event.style))
        else:
            is_map = isinstance(event, yaml.MappingStartEvent)
            self.stack.append(({} if is_map else None, []))

    def close(self) -> None:
        entries, items = self.stack.pop()
        self._attach(items if entries is None else entries)

    def _attach(self, item: Any) -> None:
        if not self.stack:
            self.root = item
            return
        entries, items = self.stack[-1]
        items.append(item)
        if entries is None or len(items) < 2:
            return
        key = items[0]
        if not isinstance(key, Value) or key.text in entries:
            raise ValueError("a key in it is no text, or is there twice")
        entries[key.text] = item
        items.clear()


def flow(text: str) -> str:
    """`text` as a scalar inside {} or [], without quotes where every YAML reads it as that text."""
    if _PLAIN.fullmatch(text) and isinstance(resolve(text), str):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
