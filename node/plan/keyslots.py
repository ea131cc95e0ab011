"""The key slots of a volume, by what opens them. Pure: read from the LUKS2 header's metadata.

A slot that a token names is opened by a program: a TPM or Tang servers. Any other is opened by a
person's passphrase, on our volumes by the recovery key.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

PROGRAMS = frozenset({"systemd-tpm2", "clevis"})
"""Types of tokens whose slots no person opens; `systemd-recovery` only marks a passphrase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySlots:
    """Numbers of slots, as the header writes them."""

    people: Sequence[str]
    programs: Sequence[str]


def read_slots(metadata: str) -> KeySlots:
    """From `cryptsetup luksDump --dump-json-metadata`. Raises ValueError."""
    try:
        body = json.loads(metadata)
        tokens = list(body["tokens"].values())
        bound = {
            slot for token in tokens if token["type"] in PROGRAMS for slot in token["keyslots"]
        }
        slots = sorted(body["keyslots"], key=int)
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("the header's key slots cannot be read") from None
    return KeySlots(
        people=tuple(slot for slot in slots if slot not in bound),
        programs=tuple(slot for slot in slots if slot in bound),
    )
