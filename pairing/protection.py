"""What protects a machine's disk, as it was found on it: part of the verdict.

The config says what is wanted; this says what is there, and what it is worth against whom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

REGISTERS = range(24)
"""Of a TPM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """Of both volumes together: what only one of them has does not count.

    `mode` is the one that was asked for (`install.encrypt`). `literal` and `signed` are the TPM's
    registers that the key is sealed to, by value and by a signed policy. `secure_boot` as in facts.
    """

    mode: str
    encrypted: bool = False
    tpm: bool = False
    pin: bool = False
    """The TPM opens it only with an operator's approval."""
    literal: tuple[int, ...] = ()
    signed: tuple[int, ...] = ()
    tang: int = 0
    """Servers of which one is needed."""
    recovery: bool = False
    """The recovery key has opened it."""
    recipients: int = 0
    """Escrow keys that the recovery key is sealed to."""
    secure_boot: str = ""

    @property
    def lacks(self) -> tuple[str, ...]:
        """What was asked for and is not there, in words."""
        wanted = {
            "encryption": (self.mode != "none", self.encrypted),
            "the TPM": ("tpm2" in self.mode, self.tpm),
            "a Tang server": ("tang" in self.mode, self.tang > 0),
            "a tried recovery key": (self.mode != "none", self.recovery),
        }
        return tuple(name for name, (asked, found) in wanted.items() if asked and not found)

    @property
    def summary(self) -> str:
        """What holds, in one line."""
        if not self.encrypted:
            return "not encrypted"
        ways = [
            f"TPM{' with approval' if self.pin else ''} ({self._registers()})" if self.tpm else "",
            f"{self.tang} Tang server{'s' if self.tang > 1 else ''}" if self.tang else "",
            f"recovery key, {self.recipients} escrow key{'s' if self.recipients != 1 else ''}",
        ]
        boot = f"; Secure Boot {self.secure_boot}" if self.secure_boot else ""
        return f"encrypted ({self.mode}): {', '.join(filter(None, ways))}{boot}"

    def _registers(self) -> str:
        said = [
            f"registers {'+'.join(map(str, self.literal))}" if self.literal else "",
            f"signed {'+'.join(map(str, self.signed))}" if self.signed else "",
        ]
        return ", ".join(filter(None, said)) or "no register"

    @property
    def cautions(self) -> tuple[str, ...]:
        """What somebody could do in spite of it, and what was asked for and is missing."""
        found = [f"asked for and not there: {name}" for name in self.lacks]
        if not self.encrypted:
            return (*found, "whoever takes the disk reads the config, its secrets and all data")
        if self.tpm and not self.pin and not self.tang:
            found.append("whoever takes the whole machine can start it: it opens by itself")
        if self.tpm and self.secure_boot != "on":
            found.append(
                "Secure Boot is not on: whoever has the whole machine can start a program of his"
                " own that measures what ours measures, and gets the key from the TPM"
            )
        if self.tpm and 12 not in self.literal:
            found.append("kernel words from outside the image are not sealed to (register 12)")
        if self.recipients == 1:
            found.append("one escrow key: if it is lost, so is the recovery key")
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Ready for `json.dumps`, without floats."""
        body = asdict(self)
        return {**body, "literal": list(self.literal), "signed": list(self.signed)}


def from_json(body: object) -> Protection:
    """Read it; unknown keys are ignored. Raises ValueError."""
    if not isinstance(body, Mapping):
        raise ValueError("protection is not an object")
    return Protection(
        mode=_text(body, "mode"),
        encrypted=body.get("encrypted") is True,
        tpm=body.get("tpm") is True,
        pin=body.get("pin") is True,
        literal=_registers(body, "literal"),
        signed=_registers(body, "signed"),
        tang=_count(body, "tang"),
        recovery=body.get("recovery") is True,
        recipients=_count(body, "recipients"),
        secure_boot=_text(body, "secure_boot"),
    )


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key, "")
    if not isinstance(value, str) or len(value) > 32:
        raise ValueError(f"protection field {key} is not a short text")
    return value


def _count(body: Mapping[str, Any], key: str) -> int:
    value = body.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 100:
        raise ValueError(f"protection field {key} is not a number from 0 to 100")
    return value


def _registers(body: Mapping[str, Any], key: str) -> tuple[int, ...]:
    value = body.get(key, [])
    fits = isinstance(value, list | tuple) and len(value) <= len(REGISTERS)
    if not fits or not all(type(one) is int and one in REGISTERS for one in value):
        raise ValueError(f"protection field {key} is no list of registers")
    return tuple(value)
