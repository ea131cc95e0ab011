"""What protects an installed disk, from the LUKS2 headers that are on it. Pure.

Sources: LUKS2 On-Disk Format Specification (tokens); systemd-cryptenroll's `systemd-tpm2` tokens;
clevis' tokens (a JWE whose protected header names pins, threshold and shares).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairing.protection import Protection

DEPTH = 8
"""Of clevis' shares within shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What opens one volume besides its recovery key."""

    tpm: bool = False
    pin: bool = False
    literal: frozenset[int] = frozenset()
    signed: frozenset[int] = frozenset()
    tang: int = 0


def read_lock(metadata: str) -> Lock:
    """From `cryptsetup luksDump --dump-json-metadata`. Raises ValueError."""
    try:
        tokens = list(json.loads(metadata)["tokens"].values())
        locks = [*map(_of_systemd, _typed(tokens, "systemd-tpm2"))]
        locks += [*map(_of_clevis, _typed(tokens, "clevis"))]
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("the header's tokens cannot be read") from None
    return _weakest(locks) if locks else Lock()


def _typed(tokens: Sequence[Any], kind: str) -> Iterator[Mapping[str, Any]]:
    return (token for token in tokens if token["type"] == kind)


def _of_systemd(token: Mapping[str, Any]) -> Lock:
    return Lock(
        tpm=True,
        pin=token.get("tpm2-pin") is True,
        literal=_registers(token.get("tpm2-pcrs", ())),
        signed=_registers(token.get("tpm2_pubkey_pcrs", ())),
    )


def _registers(listed: Any) -> frozenset[int]:
    return frozenset(number for number in map(int, listed) if 0 <= number < 24)


def _of_clevis(token: Mapping[str, Any]) -> Lock:
    pins = list(_pins(_protected(token["jwe"]["protected"]), DEPTH))
    sealed = [pin["tpm2"] for pin in pins if "tpm2" in pin]
    named = ",".join(str(pin.get("pcr_ids", "")) for pin in sealed)
    return Lock(
        tpm=bool(sealed),
        literal=_registers(part for part in named.split(",") if part.strip()),
        tang=sum("tang" in pin for pin in pins),
    )


def _protected(text: str) -> Mapping[str, Any]:
    padded = text + "=" * (-len(text) % 4)
    body = json.loads(base64.urlsafe_b64decode(padded))
    return body if isinstance(body, dict) else {}


def _pins(header: Mapping[str, Any], depth: int) -> Iterator[Mapping[str, Any]]:
    """The pins of a JWE; those of shares within shares too."""
    clevis = header.get("clevis", {})
    yield clevis
    for share in clevis.get("sss", {}).get("jwe", ()) if depth else ():
        yield from _pins(_protected(share.partition(".")[0]), depth - 1)


def _weakest(locks: Sequence[Lock]) -> Lock:
    """One of several ways in is enough: what not all of them ask for does not protect."""
    sealed = [lock for lock in locks if lock.tpm]
    return Lock(
        tpm=bool(sealed),
        pin=all(lock.pin for lock in locks),
        literal=frozenset.intersection(*(lock.literal for lock in locks)),
        signed=frozenset.intersection(*(lock.signed for lock in locks)),
        tang=min(lock.tang for lock in locks),
    )


def protection(
    locks: Sequence[Lock | None],
    *,
    mode: str,
    recovery: bool,
    recipients: int,
    secure_boot: str,
) -> Protection:
    """Of all volumes together. A lock is None where the volume is not encrypted.

    `mode` is the one that was asked for; `recovery`: the recovery key has opened all of them.
    """
    closed = [lock for lock in locks if lock is not None]
    encrypted = bool(locks) and len(closed) == len(locks)
    weakest = _weakest(closed) if encrypted else Lock()
    return Protection(
        mode=mode,
        encrypted=encrypted,
        tpm=encrypted and all(lock.tpm for lock in closed),
        pin=weakest.pin,
        literal=tuple(sorted(weakest.literal)),
        signed=tuple(sorted(weakest.signed)),
        tang=weakest.tang,
        recovery=encrypted and recovery,
        recipients=recipients if encrypted else 0,
        secure_boot=secure_boot,
    )
