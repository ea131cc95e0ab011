"""Who approves a node before the config leaves: nobody needs to, a person, or a policy file.

A policy is YAML. A node is approved if one rule holds with all its conditions:

    rules:
      - name: tills of the north
        serial: [KR-*, "7F3*"]     # one text or a list; * and ? as in a shell; case does not count
        vendor: Fujitsu
        product: "Futro *"
        mac: "90:1b:0e:*"          # one of its network cards
        ek_hash: 5bce98f7*         # of its TPM
        trust: O1                  # at least
        disk: {empty: true, at_least: 32 GB, transport: [nvme, mmc]}
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairing import errors
from pairing.facts import Disk, Facts, decimal_size

MODES = ("auto", "ask", "yes")
FILE_LIMIT = 256 * 1024
RULES_LIMIT = 1000
TRUST = ("O0", "O1", "O2")
GLOBS = ("serial", "vendor", "product", "uuid", "arch", "mac", "ek_hash")
_UNITS = {"": 1, "MB": 10**6, "GB": 10**9, "TB": 10**12, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRule:
    """What the chosen disk must be. `at_least` in bytes."""

    empty: bool = False
    at_least: int = 0
    globs: Mapping[str, tuple[str, ...]]

    def misses(self, disk: Disk) -> str:
        """The first condition that does not hold, in words; empty if all do."""
        if self.empty and disk.content:
            return "the disk is not empty"
        if disk.size < self.at_least:
            return f"the disk has {decimal_size(disk.size)}, not {decimal_size(self.at_least)}"
        real = {"model": disk.model, "transport": disk.transport, "serial": disk.serial}
        return next(
            (f"disk {name} is {real[name] or 'unknown'}"
             for name, globs in self.globs.items() if not _one_matches(globs, (real[name],))),
            "",
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of a policy."""

    name: str
    globs: Mapping[str, tuple[str, ...]]
    trust: str = "O0"
    disk: DiskRule | None = None

    def misses(self, facts: Facts, disk: Disk, trust: str) -> str:
        """The first condition that does not hold, in words; empty if all do."""
        for name, globs in self.globs.items():
            values = _values(facts, name)
            if not _one_matches(globs, values):
                return f"{name} is {' '.join(filter(None, values)) or 'unknown'}"
        if trust not in TRUST or TRUST.index(trust) < TRUST.index(self.trust):
            return f"trust level is {trust}"
        return self.disk.misses(disk) if self.disk else ""


@dataclass(frozen=True, slots=True)
class Approval:
    """What `--approve` says: a mode, or `policy` with its rules."""

    mode: str
    rules: Sequence[Rule] = ()

    def objection(self, facts: Facts, disk: Disk, trust: str) -> str:
        """Why this node is not approved without a person; empty if it is.

        The config has been held against the machine already. Raises errors.PolicyUnmet.
        """
        if self.mode == "ask":
            return "You asked to be asked."
        if self.mode == "auto" and disk.content:
            return f"The disk {disk.path} is not empty: {', '.join(disk.content)}."
        if self.mode == "policy":
            reasons = [(rule.name, rule.misses(facts, disk, trust)) for rule in self.rules]
            if all(reason for _, reason in reasons):
                said = "; ".join(f"{name}: {reason}" for name, reason in reasons[:20])
                raise errors.PolicyUnmet(f"({said})")
        return ""


def read(text: str) -> Approval:
    """`auto`, `ask`, `yes` or a policy file. Raises errors.PolicyFileInvalid."""
    if text in MODES:
        return Approval(text)
    path = Path(text)
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT + 1)
    except OSError as wrong:
        detail = f"({wrong.strerror}; or say auto, ask or yes)"
        raise errors.PolicyFileInvalid(detail, element=text) from None
    try:
        return Approval("policy", _rules(_yaml(data)))
    except ValueError as wrong:
        raise errors.PolicyFileInvalid(f"({wrong})", element=text) from None


def _yaml(data: bytes) -> Any:
    """By the same strict reader as configs: no duplicate keys, no aliases, limited depth."""
    from pairing.config.load import HEADERS, load

    if len(data) > FILE_LIMIT:
        raise ValueError(f"larger than {FILE_LIMIT} bytes")
    try:
        return load(HEADERS[0].encode() + b"\n" + data, "policy").value
    except errors.ConfigError as wrong:
        for problem in wrong.problems:
            raise ValueError(f"line {problem.line - 1}: {problem.message}") from None
        raise ValueError(wrong.detail) from None


def _rules(body: Any) -> tuple[Rule, ...]:
    _closed(body, {"rules"}, "the policy")
    rules = body.get("rules")
    if not isinstance(rules, list) or not 0 < len(rules) <= RULES_LIMIT:
        raise ValueError(f"`rules` is a list of 1 to {RULES_LIMIT}")
    return tuple(_rule(item, f"rule {number}") for number, item in enumerate(rules, 1))


def _rule(body: Any, where: str) -> Rule:
    _closed(body, {"name", "trust", "disk", *GLOBS}, where)
    trust = body.get("trust", "O0")
    if trust not in TRUST:
        raise ValueError(f"{where}: trust is one of {', '.join(TRUST)}")
    rule = Rule(
        name=str(body.get("name", where)),
        globs={name: _globs(body[name], f"{where}: {name}") for name in GLOBS if name in body},
        trust=trust,
        disk=_disk_rule(body["disk"], f"{where}: disk") if "disk" in body else None,
    )
    if not rule.globs and "trust" not in body and rule.disk is None:
        raise ValueError(f"{where} has no condition: it would approve every machine")
    return rule


def _disk_rule(body: Any, where: str) -> DiskRule:
    globs = ("model", "transport", "serial")
    _closed(body, {"empty", "at_least", *globs}, where)
    if not isinstance(body.get("empty", False), bool):
        raise ValueError(f"{where}: empty is true or false")
    return DiskRule(
        empty=body.get("empty", False),
        at_least=_size(body.get("at_least", 0), where),
        globs={name: _globs(body[name], f"{where}: {name}") for name in globs if name in body},
    )


def _size(value: Any, where: str) -> int:
    found = re.fullmatch(r"(\d{1,9})\s*([A-Za-z]*)", str(value))
    if found is None or found[2].upper() not in _UNITS:
        raise ValueError(f"{where}: at_least is a size such as 32 GB")
    return int(found[1]) * _UNITS[found[2].upper()]


def _closed(body: Any, known: set[str], where: str) -> None:
    if not isinstance(body, dict):
        raise ValueError(f"{where} is not a map")
    if unknown := sorted(str(key) for key in set(body) - known):
        raise ValueError(f"{where} has the unknown key {unknown[0]}")


def _globs(value: Any, where: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(item, str) and item for item in values):
        raise ValueError(f"{where} is a text in quotes, or a list of them")
    return tuple(values)


def _values(facts: Facts, name: str) -> tuple[str, ...]:
    if name == "mac":
        return tuple(nic.mac for nic in facts.nics)
    if name == "ek_hash":
        return (facts.tpm.ek_hash if facts.tpm else "",)
    return (str(getattr(facts, name)),)


def _one_matches(globs: Sequence[str], values: Sequence[str]) -> bool:
    """An unknown value matches nothing, not even `*`."""
    return any(
        value and fnmatch.fnmatchcase(value.lower(), glob.lower())
        for value in values
        for glob in globs
    )
