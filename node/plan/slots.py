"""The versions of the system that lie on a disk: boot entries and slots. Pure.

An entry is a kernel image on the boot partition. systemd-boot counts the tries of a new one in its
name (`kr_1.1.0+2-1.efi`: 2 left, 1 done); one without a counter is blessed; one with none left is
started only if nothing else is there (systemd-boot(7), Automatic Boot Assessment).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ENTRY = re.compile(r"kr_(?P<version>[^_/+]+)(?:\+(?P<left>\d+)(?:-(?P<done>\d+))?)?\.efi", re.A)
ROOT, VERITY, EMPTY = "kr_root_", "kr_verity_", "_empty"
RECOVERY = "recovery.efi"
DIGITS = "0123456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One boot entry. `left`: tries left, None if blessed."""

    name: str
    version: str
    left: int | None = None
    done: int = 0

    @property
    def blessed(self) -> bool:
        """Its version was proved good."""
        return self.left is None

    @property
    def exhausted(self) -> bool:
        """All its tries were used up."""
        return self.left == 0


def entries(names: Iterable[str]) -> tuple[Entry, ...]:
    """Those of the slots among the file names, the newest version first."""
    found = [_entry(match) for name in names if (match := ENTRY.fullmatch(name))]
    return tuple(sorted(found, key=lambda entry: version_key(entry.version), reverse=True))


def _entry(match: re.Match[str]) -> Entry:
    left, done = match["left"], match["done"]
    return Entry(
        name=match[0],
        version=match["version"],
        left=None if left is None else int(left),
        done=int(done or 0),
    )


def last_good(found: Sequence[Entry]) -> str:
    """The newest blessed version; empty if there is none."""
    return next((entry.version for entry in found if entry.blessed), "")


def slot_versions(labels: Iterable[str]) -> tuple[str, ...]:
    """Versions whose root lies in a slot, by the partitions' labels."""
    return tuple(label.removeprefix(ROOT) for label in labels if label.startswith(ROOT))


def is_newer(one: str, other: str) -> bool:
    """Whether version `one` is after `other` (UAPI.10, Version Format Specification)."""
    return compare(one, other) > 0


def compare(one: str, other: str) -> int:
    """Negative, 0 or positive, as `systemd-analyze compare-versions` orders them."""
    while True:
        one, other = _from_a_letter(one), _from_a_letter(other)
        if one[:1] == "~" or other[:1] == "~":
            if one[:1] != other[:1]:
                return -1 if one[:1] == "~" else 1
            one, other = one[1:], other[1:]
            continue
        if not one or not other:
            return bool(one) - bool(other)
        mark = next((mark for mark in "-^." if mark in (one[0], other[0])), "")
        if mark:
            if one[0] != other[0]:
                return -1 if one[0] == mark else 1
            one, other = one[1:], other[1:]
            continue
        numbers = one[0] in DIGITS or other[0] in DIGITS
        (mine, one), (theirs, other) = (_run(text, numbers) for text in (one, other))
        if order := _order(mine, theirs, numbers):
            return order


def _from_a_letter(text: str) -> str:
    """Without leading characters that no version is made of."""
    return re.sub(r"^[^0-9A-Za-z~\-^.]+", "", text)


def _run(text: str, numbers: bool) -> tuple[str, str]:
    """The digits, or the letters, that it begins with, and the rest."""
    found = re.match(r"[0-9]*" if numbers else r"[A-Za-z]*", text)
    assert found is not None
    return found[0], text[found.end() :]


def _order(mine: str, theirs: str, numbers: bool) -> int:
    if numbers and mine and theirs:
        return (int(mine) > int(theirs)) - (int(mine) < int(theirs))
    return (mine > theirs) - (mine < theirs)


version_key = functools.cmp_to_key(compare)
