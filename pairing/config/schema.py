"""The published JSON Schemas of a config, and a checker for the keywords they use.

`native.schema.json` lists what this project executes and is closed; `kairos.schema.json` types
Kairos' documented keys and is open. Both are plain JSON Schema 2020-12 for any editor. The checker
here is for people: it points at the key that is wrong, proposes the right one, never repeats a
value, and starts in no time (jsonschema's import alone takes half of `validate`'s budget).
`tests/config` proves that it agrees with jsonschema. Annotations of ours: `x-message` says what a
pattern wants. In an object without `additionalProperties`, an unknown key is a warning.
"""

from __future__ import annotations

import functools
import json
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pairing.config.document import Document, Node
from pairing.config.kairos import mistaken
from pairing.config.problem import MAX_PROBLEMS, Path, Problem, Severity, printable
from pairing.config.template import PLACEHOLDER

SchemaName = Literal["native", "kairos"]
Rules = Mapping[str, Any]
"""A (sub)schema as JSON: the one place where a plain mapping is the honest type."""

_TYPES = {
    "object": "a map",
    "array": "a list",
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "null": "empty",
}
_YES = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


@functools.cache
def schema(name: SchemaName) -> Rules:
    """The schema as published; do not change it."""
    text = pkgutil.get_data(__package__, f"{name}.schema.json")
    assert text is not None
    loaded: Rules = json.loads(text)
    return loaded


def check(document: Document, name: SchemaName, *, rendered: bool = False) -> list[Problem]:
    """Everything in `document` that the schema does not allow, in the order of the file.

    Text with a placeholder is passed over unless `document` is `rendered`. Stops after 50 errors.
    """
    rules = schema(name)
    checker = _Checker(document, rules, name, rendered)
    return _first(checker.node(document.root, rules, ()))


def check_against(document: Document, rules: Rules) -> list[Problem]:
    """The same for a document that is no config, with a schema of its own."""
    checker = _Checker(document, rules, "", rendered=True)
    return _first(checker.node(document.root, rules, ()))


def _first(problems: Iterator[Problem]) -> list[Problem]:
    """Up to 50 errors. Warnings never push out an error: then a wrong config would seem valid."""
    found: list[Problem] = []
    wrong = 0
    for problem in problems:
        found.append(problem)
        wrong += problem.severity is Severity.ERROR
        if wrong >= MAX_PROBLEMS:
            break
    return found


@dataclass(frozen=True, slots=True)
class _Checker:
    document: Document
    root: Rules
    name: SchemaName | Literal[""]
    rendered: bool

    def node(self, node: Node, rules: Rules, path: Path) -> Iterator[Problem]:
        rules = _resolved(rules, self.root)
        kind = _kind(node)
        allowed = _allowed(rules)
        if allowed and kind not in allowed and not (kind == "integer" and "number" in allowed):
            yield self._wrong_type(node, path, kind, allowed)
            return
        if isinstance(node.content, Mapping):
            yield from self._map(node, rules, path)
        elif isinstance(node.content, tuple):
            yield from self._list(node, rules, path)
        elif isinstance(node.content, str):
            yield from self._text(node, node.content, rules, path)
        elif isinstance(node.content, int | float) and not isinstance(node.content, bool):
            yield from self._number(node, node.content, rules, path)

    def _map(self, node: Node, rules: Rules, path: Path) -> Iterator[Problem]:
        for key in rules.get("required", ()):
            if self.document.node((*path, key)) is None:
                yield self._at(node, path, f"`{key}` is missing here.")
        for key, child in node.children():
            below = _below(rules, str(key))
            if below is not None:
                yield from self.node(child, below, (*path, key))
            elif "properties" in rules:
                yield self._unknown(rules, (*path, key))

    def _list(self, node: Node, rules: Rules, path: Path) -> Iterator[Problem]:
        count = len(node.content) if isinstance(node.content, tuple) else 0
        if count < rules.get("minItems", 0):
            yield self._at(node, path, "This list must not be empty.")
        if count > rules.get("maxItems", count):
            yield self._at(node, path, f"This list may have at most {rules['maxItems']} entries.")
        for key, child in node.children():
            yield from self.node(child, rules.get("items", {}), (*path, key))

    def _text(self, node: Node, text: str, rules: Rules, path: Path) -> Iterator[Problem]:
        if not self.rendered and PLACEHOLDER.search(text):
            return
        if "enum" in rules and text not in rules["enum"]:
            choices = [choice for choice in rules["enum"] if choice]
            message = f"This must be one of {', '.join(choices)}."
            yield self._at(node, path, message, _closest(text, choices))
        if len(text) < rules.get("minLength", 0):
            yield self._at(node, path, "This must not be empty.")
        if "pattern" in rules and not re.search(rules["pattern"], text):
            wanted = rules.get("x-message", f"must match {rules['pattern']}")
            yield self._at(node, path, f"This {wanted}.")

    def _number(self, node: Node, value: float, rules: Rules, path: Path) -> Iterator[Problem]:
        if value < rules.get("minimum", value) or value > rules.get("maximum", value):
            wanted = rules.get("x-message", f"must be at least {rules.get('minimum')}")
            yield self._at(node, path, f"This {wanted}.")

    def _wrong_type(self, node: Node, path: Path, kind: str, allowed: list[str]) -> Problem:
        wanted = " or ".join(_TYPES[name] for name in allowed)
        hint = ""
        if allowed == ["boolean"] and isinstance(node.content, str):
            hint = _YES.get(node.content.lower(), "")
            hint = f"Write {hint}." if hint else ""
        elif "string" in allowed and kind in ("integer", "number", "boolean"):
            hint = "Put it in quotes."
        elif "array" in allowed and kind == "string":
            hint = "Write it as a list: [...]."
        return self._at(node, path, f"This must be {wanted}, not {_TYPES[kind]}.", hint)

    def _unknown(self, rules: Rules, path: Path) -> Problem:
        """A key that the schema does not list: an error where it is closed, else a warning."""
        key = str(path[-1])
        closed = rules.get("additionalProperties") is False
        message = f"Unknown key `{printable(key)}`."
        hint = _closest(key, rules["properties"])
        if self.name == "native" and _find(schema("kairos"), path) is not None:
            message = "Kairos key, not executed here."
            hint = INSTEAD.get(".".join(map(str, path)), "Remove it, or rename it to x-...")
        elif self.name == "kairos" and (instead := mistaken(path)):
            hint = instead
        elif self.name == "kairos" and _find(schema("native"), path) is not None:
            message = f"Kairos ignores `{printable(key)}`: it is a key of ours."
            hint = KAIROS_INSTEAD.get(".".join(map(str, path)), "")
        elif not hint and (home := _home(self.root, key)):
            hint = f"Did you mean `{home}`?"
        severity = Severity.ERROR if closed else Severity.WARNING
        mark = self.document.key_position(path)
        return Problem(path=path, mark=mark, message=message, suggestion=hint, severity=severity)

    def _at(self, node: Node, path: Path, message: str, hint: str = "") -> Problem:
        return Problem(path=path, mark=node.mark, message=message, suggestion=hint)


INSTEAD = {
    "install.encrypted_partitions": "Write install.encrypt: {mode: tpm2}.",
    "install.force": "To erase a disk that holds data, write install.wipe: true.",
    "install.no-format": "The disk is always laid out anew; remove it.",
    "install.source": "The image on the stick is what gets installed; remove it.",
    "kcrypt": "For unlocking by approval write install.encrypt: {unlock: approval}.",
    "k3s.embedded_registry": "Write k3s.args: [--embedded-registry].",
    "k3s-agent.embedded_registry": "Remove it; the server decides.",
    "p2p.network_token": "There is no mesh VPN here; relays are named by p2p.relays.",
}
"""What to write instead of a Kairos key that we do not execute."""

KAIROS_INSTEAD = {
    "install.encrypt": "The disk is not encrypted by this; write install.encrypted_partitions.",
    "install.wipe": "Kairos erases the disk in any case.",
    "expect": "Whatever machine shows the code gets the config.",
}
"""What a key of ours means to Kairos, or what to write there."""


def _resolved(rules: Rules, root: Rules) -> Rules:
    while "$ref" in rules:
        found: Rules = root["$defs"][rules["$ref"].removeprefix("#/$defs/")]
        rules = {**found, **{key: value for key, value in rules.items() if key != "$ref"}}
    return rules


def _allowed(rules: Rules) -> list[str]:
    kinds = rules.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _below(rules: Rules, key: str) -> Rules | None:
    """The schema of the value at `key`, `None` if the key is unknown."""
    if key in rules.get("properties", {}):
        found: Rules = rules["properties"][key]
        return found
    for pattern, below in rules.get("patternProperties", {}).items():
        if re.search(pattern, key):
            matched: Rules = below
            return matched
    rest = rules.get("additionalProperties")
    return rest if isinstance(rest, Mapping) else None


def _kind(node: Node) -> str:
    content = node.content
    if content is None:
        return "null"
    if isinstance(content, bool):
        return "boolean"
    names = {str: "string", int: "integer", float: "number", tuple: "array"}
    return names.get(type(content), "object")


def _closest(word: str, choices: Any) -> str:
    """`Did you mean ...?` for the nearest of `choices`, empty if none is near."""
    import difflib  # only a config with an error pays for it

    near = difflib.get_close_matches(word[:80], list(choices), n=1, cutoff=0.6)
    return f"Did you mean `{near[0]}`?" if near else ""


def _find(root: Rules, path: Path) -> Rules | None:
    """The schema at `path` below `root`, `None` if there is none."""
    rules: Rules | None = _resolved(root, root)
    for key in path:
        if rules is None:
            return None
        found = rules.get("items") if isinstance(key, int) else _below(rules, key)
        rules = None if found is None else _resolved(found, root)
    return rules


def _home(root: Rules, key: str) -> str:
    """Where `key` is known one level below the top, such as `install.device`; empty if nowhere."""
    for parent, rules in root["properties"].items():
        if key in _resolved(rules, root).get("properties", {}):
            return f"{parent}.{key}"
    return ""
