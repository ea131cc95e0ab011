"""YAML text to `Document`: strict, positioned, and safe to run on a stranger's text.

The parser's events are read twice: first only counted, so that size, depth and number of nodes are
limited before anything is built. libyaml's parser keeps its state on the heap and is only asked for
the next event, so deep nesting cannot overflow the stack (its recursive composer, which can, is not
used).
Not understood on purpose: anchors, aliases, merge keys, tags, directives, several documents.
Source: YAML 1.2 with the scalars of Go's yaml.v3 (`pairing.config.scalars`); docs/adr/0003-yaml.md.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Protocol

import yaml

from pairing import errors
from pairing.config.document import Document, Entry, Node
from pairing.config.problem import MAX_PROBLEMS, Mark, Path, Problem
from pairing.config.scalars import resolve

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 20_000
MAX_KEY = 256
HEADERS = ("#cloud-config", "#kairos-config", "#node-config")
"""The first line of a config is one of these."""

_FORBIDDEN = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)


class _Parser(Protocol):
    """What PyYAML's two parsers have in common."""

    def get_event(self) -> Any: ...
    def dispose(self) -> None: ...


def load_file(path: FilePath, headers: Sequence[str] = HEADERS) -> Document:
    """Read and parse one file. Raises errors.ConfigFileMissing and what `load` raises."""
    try:
        with path.open("rb") as file:
            source = file.read(MAX_BYTES + 1)
    except OSError as why:
        raise errors.ConfigFileMissing(f"({why.strerror})", element=str(path)) from None
    return load(source, str(path), headers)


def load(
    source: bytes | str, name: str = "config.yaml", headers: Sequence[str] = HEADERS
) -> Document:
    """Parse `source`; `name` is what problems call the file, `headers` what its first line may be.

    Raises errors.ConfigTooLarge beyond 1 MiB, 32 levels or 20,000 nodes, and errors.ConfigError
    with every problem found (all duplicate keys, tags and anchors at once; syntax stops at the
    first error).
    """
    text = _decode(source, name)
    _check_text(text, name, headers)
    _check_limits(text, name)
    builder = _Builder(name)
    try:
        for event in yaml_events(text):
            builder.take(event)
    except yaml.YAMLError as why:
        raise errors.ConfigError(problems=[*builder.problems, _syntax(why, name)]) from None
    return builder.document()


def _decode(source: bytes | str, name: str) -> str:
    if len(source) > MAX_BYTES or (
        isinstance(source, str) and len(source.encode("utf-8", "replace")) > MAX_BYTES
    ):
        raise errors.ConfigTooLarge("It is larger than 1 MiB.", element=name)
    if isinstance(source, str):
        return source
    try:
        return source.decode("utf-8")
    except UnicodeDecodeError as why:
        before = source[: why.start].decode("utf-8")
        raise _refuse(
            name, *_place(before), "This is not UTF-8 text.", "Save it as UTF-8."
        ) from None


def _check_text(text: str, name: str, headers: Sequence[str]) -> None:
    """What can be said of the text before YAML is parsed: header, characters, directives."""
    if text.startswith("\ufeff"):
        what = "The file begins with a byte order mark."
        raise _refuse(name, 1, 1, what, "Save it as UTF-8 without BOM.")
    if found := _FORBIDDEN.search(text):
        what = f"The character U+{ord(found[0]):04X} is not allowed here."
        raise _refuse(name, *_place(text[: found.start()]), what, 'Write it as "\\u..." in quotes.')
    _check_header(text, name, headers)
    # Refused before libyaml sees them: it compares every %TAG with all others (quadratic).
    if found := _DIRECTIVE.search(text):
        place = _place(text[: found.start()])
        raise _refuse(name, *place, "Lines that begin with % (directives) are not allowed.")


def _check_header(text: str, name: str, headers: Sequence[str]) -> None:
    first = text[: text.find("\n")] if "\n" in text else text
    if first.rstrip() in headers:
        return
    others = f" (or {' or '.join(headers[1:])})" if headers[1:] else ""
    what = f"The first line must be {headers[0]}{others}."
    close = re.sub(r"\s", "", first).lower()
    if close in headers:
        raise _refuse(name, 1, 1, what, f"Write it exactly so: {close}")
    for number, line in enumerate(text[:4096].splitlines(), 1):
        if line.rstrip() in headers:
            raise _refuse(name, 1, 1, what, f"Move it up from line {number}.")
    raise _refuse(name, 1, 1, what, "Add it above the rest.")


def _place(before: str) -> tuple[int, int]:
    """Line and column after `before`, both from 1."""
    lines = re.split(r"\r\n|\r|\n", before)
    return len(lines), len(lines[-1]) + 1


def _refuse(
    name: str, line: int, column: int, message: str, suggestion: str = ""
) -> errors.ConfigError:
    mark = Mark(name, line, column)
    return errors.ConfigError(
        problems=[Problem(path=(), mark=mark, message=message, suggestion=suggestion)]
    )


def yaml_events(text: str) -> Generator[Any, None, None]:
    """The parser's events, one by one. Raises yaml.YAMLError."""
    parser: _Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        event = None
        while not isinstance(event, yaml.StreamEndEvent):
            event = parser.get_event()
            yield event
    finally:
        parser.dispose()


def _check_limits(text: str, name: str) -> None:
    """Raises errors.ConfigTooLarge. Counting is ten times cheaper than building."""
    nodes = depth = 0
    with contextlib.suppress(yaml.YAMLError), contextlib.closing(yaml_events(text)) as events:
        for event in events:
            nodes += isinstance(event, yaml.NodeEvent)
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if nodes > MAX_NODES or depth > MAX_DEPTH:
                place = str(_mark(event, name))
                what = f"{MAX_DEPTH} levels" if depth > MAX_DEPTH else f"{MAX_NODES:,} entries"
                raise errors.ConfigTooLarge(f"More than {what}.", element=place)


def _mark(event: Any, name: str) -> Mark:
    return Mark(name, event.start_mark.line + 1, event.start_mark.column + 1)


_TRANSLATED = {
    "found character that cannot start any token": "This character cannot begin a value.",
    "mapping values are not allowed in this context": "A colon is not allowed here.",
    "could not find expected ':'": "A colon is missing, or the indentation is wrong.",
    "did not find expected <document start>": "The config ended above: check the indentation.",
    "did not find expected key": "A key is expected here: check the indentation.",
    "did not find expected '-' indicator": "A list item (-) is expected: check the indentation.",
}


def _syntax(why: yaml.YAMLError, name: str) -> Problem:
    """The parser's complaint. Its snippet of the text is left out: it may show a secret."""
    said = str(getattr(why, "problem", None) or "This is not YAML.")
    mark = getattr(why, "problem_mark", None) or getattr(why, "context_mark", None)
    if said == "could not find expected ':'":
        mark = getattr(why, "context_mark", None) or mark  # the key, not the line after it
    hint = ""
    if "cannot start any token" in said:
        hint = "Indent with spaces, not tabs; put text that begins with @, ` or % in quotes."
    place = Mark(name, mark.line + 1, mark.column + 1) if mark else Mark(name)
    return Problem(path=(), mark=place, message=_TRANSLATED.get(said, said), suggestion=hint)


@dataclass(slots=True)
class _Open:
    """A map or list whose end has not come yet. In a map, `key` waits for its value."""

    mark: Mark
    is_map: bool
    flow: bool
    entries: dict[str, Entry] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    key: str | None = None
    key_mark: Mark | None = None
    first: dict[str, int] = field(default_factory=dict)


class _Builder:
    """Takes events, keeps the open maps and lists on a stack of its own, collects problems."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self.stack: list[_Open] = []
        self.root: Node | None = None
        self.documents = 0

    def document(self) -> Document:
        """The finished document. Raises errors.ConfigError if there were problems."""
        if self.problems:
            raise errors.ConfigError(problems=self.problems)
        root = self.root
        if root is None or (root.content is None):
            return Document(Node({}, Mark(self.name, 1, 1)))
        if not isinstance(root.content, Mapping):
            what = "The config must be a map (lines of `key: value`)."
            raise _refuse(self.name, root.mark.line, root.mark.column, what)
        return Document(root)

    def take(self, event: Any) -> None:
        mark = _mark(event, self.name)
        if isinstance(event, yaml.DocumentStartEvent):
            self._document_starts(mark)
        elif isinstance(event, yaml.NodeEvent):
            self._node(event, mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()

    def _document_starts(self, mark: Mark) -> None:
        self.documents += 1
        if self.documents > 1:
            what = "A second document begins here; a config is one document."
            raise errors.ConfigError(problems=[Problem(path=(), mark=mark, message=what)])

    def _node(self, event: Any, mark: Mark) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._problem(mark, "Aliases (*name) are not supported.", "Write the value out.")
            self._attach(Node(None, mark), "")
            return
        if event.anchor is not None:
            self._problem(mark, "Anchors (&name) are not supported.", "Remove it.")
        if event.tag is not None:
            self._problem(mark, "Tags (!name) are not supported.", "Put text in quotes instead.")
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, mark)
        else:
            is_map = isinstance(event, yaml.MappingStartEvent)
            self.stack.append(_Open(mark, is_map, bool(event.flow_style)))

    def _scalar(self, event: Any, mark: Mark) -> None:
        is_plain = not event.style
        expects_key = self.stack and self.stack[-1].is_map and self.stack[-1].key_mark is None
        if expects_key and event.end_mark.line != event.start_mark.line:
            self._problem(mark, "A key is one line.")
        if not event.value.isascii() and re.search("[\ud800-\udfff]", event.value):
            self._problem(mark, "Half a character (a surrogate) is not allowed.")
        content = resolve(event.value) if is_plain else event.value
        self._attach(Node(content, mark), event.value if is_plain else "")

    def _close(self) -> None:
        done = self.stack.pop()
        content = done.entries if done.is_map else tuple(done.items)
        self._attach(Node(content, done.mark), "", flow_map=done.is_map and done.flow)

    def _attach(self, node: Node, source: str, *, flow_map: bool = False) -> None:
        """Put a finished node where it belongs. `source` is its text if it was not quoted."""
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        if not top.is_map:
            top.items.append(node)
        elif top.key_mark is None:
            top.key_mark = node.mark
            top.key = self._key(node, source, top, flow_map=flow_map)
        else:
            if top.key is not None:
                top.entries[top.key] = Entry(top.key_mark, node)
            top.key = top.key_mark = None

    def _key(self, node: Node, source: str, top: _Open, *, flow_map: bool) -> str | None:
        """The text of a key; `None` (and a problem) if it cannot be one."""
        key = node.content
        if source == "<<":
            self._problem(node.mark, "Merge keys (<<) are not supported.", "Write the values out.")
        elif not isinstance(key, str):
            placeholder = flow_map and top.flow
            what = "A key must be text." if not placeholder else "A placeholder needs quotes."
            hint = 'Write "{{ ... }}".' if placeholder else "Put it in quotes."
            self._problem(node.mark, what, hint)
        elif len(key) > MAX_KEY or not key.isprintable():
            what = f"A key is one line of at most {MAX_KEY} characters."
            self._problem(node.mark, what)
        elif key in top.first:
            what = f"This key is already set at line {top.first[key]}."
            self._problem(node.mark, what, "Keep one of the two.", (*self._path(), key))
        else:
            top.first[key] = node.mark.line
            return key
        return None

    def _path(self) -> Path:
        """The way to the map or list that is open now, as far as it has names."""
        return tuple(
            level.key or "?" if level.is_map else len(level.items) for level in self.stack[:-1]
        )

    def _problem(self, mark: Mark, message: str, hint: str = "", path: Path = ()) -> None:
        self.problems.append(Problem(path=path, mark=mark, message=message, suggestion=hint))
        if len(self.problems) >= MAX_PROBLEMS:
            raise errors.ConfigError(problems=self.problems)
