"""What the volumes are sealed to, and how a plan says so."""

from __future__ import annotations

from collections.abc import Sequence

from pairing.config.rules import Encryption, Mode

LITERAL_PCRS = (7, 12, 15)
"""Secure Boot state and keys; command line, credentials and add-ons from outside the image; volumes
that were opened. 12 closes a hole: the boot stub takes more kernel words from firmware tables,
measured there only. 15 closes another: what an exchanged volume makes a good system run could
else ask the TPM for the key of the true one (`node.plan.boot.SealOff`)."""
OPENED = 15
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


def registers_text(pcrs: Sequence[int]) -> str:
    """`--tpm2-pcrs=` of systemd-repart(8) and systemd-cryptenroll(1).

    Register 15 has to be empty when the key is asked for, whatever it holds now: the volumes may
    be open while a slot is made.
    """
    return "+".join(f"{pcr}:sha256={64 * '0'}" if pcr == OPENED else str(pcr) for pcr in pcrs)


def describe(encryption: Encryption) -> str:
    """One line for people."""
    approval = "; only after an operator approves, at every start" if encryption.by_approval else ""
    return _TEXTS[encryption.mode] + approval
