"""Placeholders: `{{ node.serial }}` and `{{ values.NAME }}`, filled in at the operator's side.

Rendering happens on text values after YAML was parsed, so a filled-in value can never add a key or
change the structure; it always stays text. `{{ '{{' }}` stands for two literal braces. Go's
templates (`{{ .X }}`), which Kairos runs on the node, are refused: we do not execute them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pairing import errors
from pairing.config.document import Document, Node, rebuild, walk
from pairing.config.problem import Path, Problem, printable
from pairing.facts import Facts

NODE_FIELDS = ("serial", "vendor", "product", "uuid", "arch", "mac")
VALUE_LIMIT = 4096

PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_NAME = re.compile(r"(node|values)\.([A-Za-z_][A-Za-z0-9_-]*)")
_LITERAL = frozenset({"'{{'", '"{{"'})


@dataclass(frozen=True, slots=True)
class _Slot:
    """One placeholder: `source` is `node` or `values`; `wrong` says why it is none."""

    source: str = ""
    name: str = ""
    wrong: str = ""
    hint: str = ""


def node_values(facts: Facts) -> dict[str, str]:
    """What `{{ node.NAME }}` may name. `mac`: of the first card with a link, else the first."""
    linked = [nic.mac for nic in facts.nics if nic.link] or [nic.mac for nic in facts.nics]
    simple = {name: str(getattr(facts, name)) for name in NODE_FIELDS if name != "mac"}
    return {**simple, "mac": linked[0] if linked else ""}


def render(
    document: Document, node: Mapping[str, str], values: Mapping[str, str] | None = None
) -> Document:
    """`document` with every placeholder filled in.

    Raises errors.ConfigError naming every placeholder without a value, with line and column.
    """
    known = {"node": node, "values": values or {}}
    problems = placeholder_problems(document)
    problems += [p for found in _slots(document) for p in _missing(*found, known)]
    if problems:
        raise errors.ConfigError(problems=problems)

    def fill(match: re.Match[str]) -> str:
        slot = _parse(match[1])
        return known[slot.source][slot.name] if slot.source else "{{"

    def change(_: Path, found: Node) -> Node | None:
        text = found.content
        if isinstance(text, str) and "{{" in text:
            return Node(PLACEHOLDER.sub(fill, text), found.mark)
        return None

    return Document(rebuild(document.root, change))


def require_values(document: Document, values: Mapping[str, str] | None = None) -> None:
    """Raises errors.ConfigError for every `values.` placeholder without a value.

    Those of the node are known only once there is one; these must be known before.
    """
    known = {"node": {}, "values": values or {}}
    found = [slot for slot in _slots(document) if slot[2].source == "values"]
    if problems := [problem for slot in found for problem in _missing(*slot, known)]:
        raise errors.ConfigError(problems=problems)


def placeholder_problems(document: Document) -> list[Problem]:
    """What is written like a placeholder but is none of ours, in values and in keys."""
    found: list[Problem] = []
    for path, node, slot in _slots(document):
        if slot.wrong:
            found.append(
                Problem(path=path, mark=node.mark, message=slot.wrong, suggestion=slot.hint)
            )
    for path, _ in walk(document.root):
        if path and isinstance(path[-1], str) and "{{" in path[-1] and not _ours(path):
            mark = document.key_position(path)
            found.append(Problem(path=path, mark=mark, message="A key cannot be a placeholder."))
    return found


def placeholders(document: Document) -> Sequence[str]:
    """The names that rendering needs, such as `values.store`, each once, in order."""
    names = (f"{slot.source}.{slot.name}" for _, _, slot in _slots(document) if slot.source)
    return tuple(dict.fromkeys(names))


def _slots(document: Document) -> Iterator[tuple[Path, Node, _Slot]]:
    for path, node in walk(document.root):
        if not isinstance(node.content, str) or "{{" not in node.content or _ours(path):
            continue
        for match in PLACEHOLDER.finditer(node.content):
            yield path, node, _parse(match[1])
        if "{{" in PLACEHOLDER.sub("", node.content):
            yield path, node, _Slot(wrong="This placeholder has no end: }} is missing.")


def _ours(path: Path) -> bool:
    """Below `x-*` nothing is looked at."""
    return bool(path) and str(path[0]).startswith("x-")


def _parse(inner: str) -> _Slot:
    text = inner.strip()
    if text in _LITERAL:
        return _Slot()
    if found := _NAME.fullmatch(text):
        source, name = found.groups()
        if source == "node" and name not in NODE_FIELDS:
            known = ", ".join(NODE_FIELDS)
            return _Slot(wrong=f"node.{printable(name)} is not known.", hint=f"There are: {known}.")
        return _Slot(source, name)
    hint = "Write {{ node.NAME }}, {{ values.NAME }}, or {{ '{{' }} for two braces."
    if text.startswith(".") or re.match(r"(-|if|range|with|end|template|include)\b", text):
        return _Slot(wrong="Go templates are not executed here.", hint=hint)
    return _Slot(wrong="This is not a placeholder.", hint=hint)


def _missing(
    path: Path, node: Node, slot: _Slot, known: Mapping[str, Mapping[str, str]]
) -> Iterator[Problem]:
    if not slot.source:
        return
    value = known[slot.source].get(slot.name, "")
    name = f"{slot.source}.{slot.name}"
    if not value:
        hint = "This machine does not report it." if slot.source == "node" else "Give it a value."
        yield Problem(path=path, mark=node.mark, message=f"{name} has no value.", suggestion=hint)
    elif len(value) > VALUE_LIMIT or (slot.source == "node" and not value.isprintable()):
        message = f"{name} holds characters that are not allowed, or is too long."
        yield Problem(path=path, mark=node.mark, message=message)
