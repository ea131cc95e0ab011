"""Why a TPM does not open a volume: found by comparing what the header says with what the TPM
holds, not by reading a program's messages. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from node.plan.header import TpmToken
from node.plan.tpmpolicy import ZERO, key_fingerprint, pcr_policy, sealing_policy
from pairing import errors

BOOT_WORDS, VOLUMES = 12, 15
"""Registers that are all zero when a good start asks for the key: nothing came from outside the
image, and no volume was opened yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPolicy:
    """One line of the boot stub's signature file: register 11 at one phase of the start."""

    key: str
    """Hex fingerprint of the signing key."""
    registers: Sequence[int]
    policy: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TpmView:
    """What the TPM and the started image show. `parent` is the public area of the storage root
    key; empty if there is none, None if it could not be read."""

    present: bool = True
    registers: Mapping[int, bytes] = field(default_factory=dict)
    parent: bytes | None = None
    signed: Sequence[SignedPolicy] = ()


def why_locked(token: TpmToken, tpm: TpmView) -> type[errors.LockedError]:
    """The reason for which this token did not open its volume."""
    if not tpm.present:
        return errors.TpmMissing
    if _is_foreign(token, tpm):
        return errors.TpmForeign
    if changed := _changed(token, tpm):
        return changed
    if token.public_key and not _is_signed(token, tpm):
        return errors.ImageForeign
    return errors.TpmRefuses


def _is_foreign(token: TpmToken, tpm: TpmView) -> bool:
    if not token.parent or tpm.parent is None:
        return False
    return not tpm.parent or tpm.parent not in token.parent


def _changed(token: TpmToken, tpm: TpmView) -> type[errors.LockedError] | None:
    """Which literal register is not as it was sealed; None if all are."""

    def matches(*as_zero: int) -> bool:
        registers = {**tpm.registers, **dict.fromkeys(as_zero, ZERO)}
        policy = sealing_policy(registers, token.literal, token.public_key, pin=token.pin)
        return policy == token.policy

    if not token.policy or matches():
        return None
    if matches(VOLUMES):
        return errors.SealedOff
    if matches(BOOT_WORDS) or matches(BOOT_WORDS, VOLUMES):
        return errors.BootWordsChanged
    return errors.FirmwareChanged


def _is_signed(token: TpmToken, tpm: TpmView) -> bool:
    now = pcr_policy(tpm.registers, token.signed)
    key = key_fingerprint(token.public_key)
    return any(
        line.key == key and tuple(line.registers) == tuple(token.signed) and line.policy == now
        for line in tpm.signed
    )
