"""A config in memory: plain values, each with the place where it was written.

Everything is frozen; merging, rendering and redaction make new documents. No repr shows a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pairing.config.problem import Mark, Path

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One `key: value` of a map: where the key stands, and the value."""

    key: Mark
    node: Node


@dataclass(frozen=True, slots=True)
class Node:
    """A value: a scalar, a list or a map with text keys in the order of the file."""

    content: Scalar | tuple[Node, ...] | Mapping[str, Entry] = field(repr=False)
    mark: Mark

    def children(self) -> Iterator[tuple[str | int, Node]]:
        if isinstance(self.content, tuple):
            yield from enumerate(self.content)
        elif isinstance(self.content, Mapping):
            for key, entry in self.content.items():
                yield key, entry.node


@dataclass(frozen=True, slots=True)
class Document:
    """A whole config. `root` is always a map."""

    root: Node = field(repr=False)

    @property
    def value(self) -> dict[str, Any]:
        """A fresh copy as plain dicts, lists and scalars."""
        value = plain(self.root)
        assert isinstance(value, dict)
        return value

    def node(self, path: Path) -> Node | None:
        """The value at `path`, `None` if there is none."""
        entry = self._entry(path)
        return None if entry is None else entry.node

    def position(self, path: Path) -> Mark:
        """Where the value at `path` begins; for a missing one, where its nearest parent begins."""
        while (entry := self._entry(path)) is None:
            path = path[:-1]
        return entry.node.mark

    def key_position(self, path: Path) -> Mark:
        """Where the key at `path` stands (for a list item: the item)."""
        while (entry := self._entry(path)) is None:
            path = path[:-1]
        return entry.key

    def get(self, *path: str | int) -> Any:
        """The plain value at `path`, `None` if there is none."""
        node = self.node(path)
        return None if node is None else plain(node)

    def _entry(self, path: Path) -> Entry | None:
        entry = Entry(self.root.mark, self.root)
        for key in path:
            content = entry.node.content
            if isinstance(content, Mapping) and isinstance(key, str) and key in content:
                entry = content[key]
            elif isinstance(content, tuple) and isinstance(key, int) and key < len(content):
                entry = Entry(content[key].mark, content[key])
            else:
                return None
        return entry


def plain(node: Node) -> Any:
    """The value of `node` as plain dicts, lists and scalars."""
    if isinstance(node.content, tuple):
        return [plain(item) for item in node.content]
    if isinstance(node.content, Mapping):
        return {key: plain(entry.node) for key, entry in node.content.items()}
    return node.content


def from_plain(value: Any, mark: Mark) -> Node:
    """The opposite of `plain`: every value and key gets the same `mark`."""
    if isinstance(value, list | tuple):
        return Node(tuple(from_plain(item, mark) for item in value), mark)
    if isinstance(value, Mapping):
        return Node({key: Entry(mark, from_plain(item, mark)) for key, item in value.items()}, mark)
    return Node(value, mark)


def walk(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """`node` and everything below it, parents first."""
    yield path, node
    for key, child in node.children():
        yield from walk(child, (*path, key))


def rebuild(node: Node, change: Callable[[Path, Node], Node | None], path: Path = ()) -> Node:
    """A copy of `node` in which `change(path, node)`, where it is not `None`, stands instead.

    What `change` returned is not looked into again.
    """
    changed = change(path, node)
    if changed is not None:
        return changed
    if isinstance(node.content, tuple):
        items = (rebuild(n, change, (*path, i)) for i, n in enumerate(node.content))
        return Node(tuple(items), node.mark)
    if isinstance(node.content, Mapping):
        entries = {
            key: Entry(entry.key, rebuild(entry.node, change, (*path, key)))
            for key, entry in node.content.items()
        }
        return Node(entries, node.mark)
    return node
