"""What the volumes are sealed to, and how a plan says so."""

from __future__ import annotations

from pairing.config.rules import Encryption, Mode

LITERAL_PCRS = (7, 12)
"""Secure Boot state and keys; command line, credentials and add-ons from outside the image. 12
closes a hole: the boot stub takes more kernel words from firmware tables, measured there only."""
SIGNED_PCRS = (11,)
"""The unified kernel image, by a policy that the image's builder signs: survives upgrades."""

_TEXTS: dict[Mode, str] = {
    "tpm2": "opened by this machine's TPM, or with the recovery key",
    "tpm2+tang": "opened by this machine's TPM and a Tang server together,"
    " or with the recovery key",
    "tang": "opened by a Tang server, or with the recovery key",
    "recovery-only": "opened at every start by a person with the recovery key",
    "none": "none, the disk can be read by whoever has it",
}


def describe(encryption: Encryption) -> str:
    """One line for people."""
    approval = "; only after an operator approves, at every start" if encryption.by_approval else ""
    return _TEXTS[encryption.mode] + approval
