"""A config as bytes: what the node receives, and what a person may read and load again.

Deterministic: the same document is the same bytes. Keys keep their order.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping

from pairing import errors
from pairing.config.document import Document, Node, Scalar
from pairing.config.load import HEADERS, MAX_BYTES, load
from pairing.config.scalars import resolve

_PLAIN = re.compile(r"[A-Za-z0-9_./+][A-Za-z0-9_./+@=-]*( [A-Za-z0-9_./+@=-]+)*")


def dump(document: Document) -> bytes:
    """Canonical YAML in UTF-8, with the header line.

    Raises errors.ConfigTooLarge if nobody could load it again (1 MiB, 20,000 nodes, 32 levels).
    """
    lines = [HEADERS[0], *_block(document.root, "")]
    body = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
    if len(body) > MAX_BYTES:
        raise errors.ConfigTooLarge("Together it is larger than 1 MiB.")
    load(body)
    return body


def _block(node: Node, indent: str) -> Iterator[str]:
    """The lines of a map or list that is not empty; nothing for an empty top."""
    if isinstance(node.content, Mapping):
        for key, entry in node.content.items():
            yield from _item(f"{indent}{_text(key)}:", entry.node, indent, in_map=True)
    elif isinstance(node.content, tuple):
        for child in node.content:
            yield from _item(f"{indent}-", child, indent, in_map=False)


def _item(lead: str, node: Node, indent: str, *, in_map: bool) -> Iterator[str]:
    content = node.content
    if isinstance(content, Mapping | tuple):
        if not content:
            yield f"{lead} {'{}' if isinstance(content, Mapping) else '[]'}"
            return
        below = list(_block(node, indent + "  "))
        if in_map:
            yield lead
            yield from below
        else:
            yield f"{lead} {below[0].lstrip(' ')}"
            yield from below[1:]
    elif isinstance(content, str) and _can_be_literal(content):
        yield f"{lead} {'|' if content.endswith(chr(10)) else '|-'}"
        for line in content.removesuffix("\n").split("\n"):
            yield f"{indent}  {line}" if line else ""
    else:
        yield f"{lead} {_scalar(content)}"


def _can_be_literal(text: str) -> bool:
    """Whether `|` gives back exactly `text`: printable lines, not indented at first, one end."""
    lines = text.removesuffix("\n").split("\n")
    return (
        len(lines) > 1
        and bool(lines[0])
        and bool(lines[-1])
        and not lines[0][0].isspace()
        and all(line == "" or (line.strip() and _PRINTABLE.fullmatch(line)) for line in lines)
    )


_PRINTABLE = re.compile(
    "[\t\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]+"
)


def _scalar(content: Scalar) -> str:
    if content is None:
        return "null"
    if isinstance(content, bool):
        return "true" if content else "false"
    if isinstance(content, float):
        return _float(content)
    return _text(content) if isinstance(content, str) else str(content)


def _float(number: float) -> str:
    if math.isnan(number):
        return ".nan"
    if math.isinf(number):
        return ".inf" if number > 0 else "-.inf"
    return repr(number)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and resolve(text) == text:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if _PRINTABLE.fullmatch(c) else _escape(c) for c in quoted)


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
