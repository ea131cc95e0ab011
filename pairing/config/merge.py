"""Several configs into one: maps merge deep, everything else (lists too) replaces.

Each value remembers the file that it came from, so problems name the right one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import yaml

from pairing import errors
from pairing.config.document import Document, Entry, Node, Scalar
from pairing.config.load import MAX_DEPTH
from pairing.config.problem import Mark, Path, Problem, dotted, printable
from pairing.config.scalars import resolve


def merge(documents: Sequence[Document]) -> Document:
    """All `documents` (at least one), each laid over those before it."""
    first, *others = documents
    root = first.root
    for other in others:
        root = _over(root, other.root)
    return Document(root)


def _over(below: Node, above: Node) -> Node:
    if not (isinstance(below.content, Mapping) and isinstance(above.content, Mapping)):
        return above
    entries = dict(below.content)
    for key, entry in above.content.items():
        old = entries.get(key)
        entries[key] = Entry(entry.key, _over(old.node, entry.node)) if old else entry
    return Node(entries, above.mark if above.content else below.mark)


def set_value(document: Document, assignment: str) -> Document:
    """`document` with one value set, from `users.0.name=VALUE` as `--set` takes it.

    Missing maps are made; a list takes an index that exists, or the next one. A dot inside a key is
    written `\\.`. VALUE is one scalar, read as in YAML (`true`, `3`, `0644`, `null`), or text in
    quotes. Raises errors.ConfigError.
    """
    key, equals, text = assignment.partition("=")
    path = tuple(part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", key))
    mark = Mark("--set", 1, len(key) + 2)
    if not equals or not all(path):
        raise _refuse(mark, (), "Write it as KEY=VALUE, for example hostname=shop-17.")
    if len(path) > MAX_DEPTH:
        raise _refuse(mark, (), f"More than {MAX_DEPTH} levels.")
    return Document(_with(document.root, path, Node(scalar(text, mark), mark), ()))


def scalar(text: str, mark: Mark) -> Scalar:
    """One scalar as YAML reads it; quotes make it text. Raises errors.ConfigError."""
    if len(text) < 2 or text[0] not in "\"'" or text[-1] != text[0]:
        return resolve(text)
    try:
        events = list(yaml.parse(text, yaml.SafeLoader))
    except yaml.YAMLError:
        raise _refuse(mark, (), "The quotes of this value do not match.") from None
    if len(events) != 5 or not isinstance(events[2], yaml.ScalarEvent):
        raise _refuse(mark, (), "The quotes of this value do not match.")
    value: str = events[2].value
    return value


def _with(node: Node, path: tuple[str, ...], value: Node, done: Path) -> Node:
    """`node` with `value` at `path` below it."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(node.content, tuple):
        return _with_item(node, key, rest, value, done)
    if not isinstance(node.content, Mapping):
        message = f"{dotted(done)} is not a map, so it has no `{printable(key)}`."
        raise _refuse(value.mark, (*done, key), message)
    old = node.content.get(key)
    child = _with(old.node if old else Node({}, value.mark), rest, value, (*done, key))
    entry = Entry(Mark(value.mark.file, 1, 1), child)
    return Node({**node.content, key: entry}, node.mark)


def _with_item(node: Node, key: str, rest: tuple[str, ...], value: Node, done: Path) -> Node:
    items = list(node.content) if isinstance(node.content, tuple) else []
    number = int(key) if re.fullmatch(r"[0-9]{1,6}", key) else len(items) + 1
    if number > len(items):
        message = f"{dotted(done)} is a list of {len(items)}: use a number up to {len(items)}."
        raise _refuse(value.mark, (*done, key), message)
    old = items[number] if number < len(items) else Node({}, value.mark)
    items[number : number + 1] = [_with(old, rest, value, (*done, number))]
    return Node(tuple(items), node.mark)


def _refuse(mark: Mark, path: Path, message: str) -> errors.ConfigError:
    return errors.ConfigError(problems=[Problem(path=path, mark=mark, message=message)])
