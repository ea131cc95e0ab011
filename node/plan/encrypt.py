"""How the disk is encrypted: what the config asks for against what the machine has."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairing import errors
from pairing.facts import Facts

LITERAL_PCRS = (7, 12)
"""Secure Boot state and keys; command line, credentials and add-ons from outside the image. 12
closes a hole: the boot stub takes more kernel words from firmware tables, measured there only."""
SIGNED_PCRS = (11,)
"""The unified kernel image, by a policy that the image's builder signs: survives upgrades."""


class Mode(enum.StrEnum):
    """What opens the encrypted volumes; the recovery key always does."""

    TPM2 = "tpm2"
    TPM2_TANG = "tpm2+tang"
    TANG = "tang"
    RECOVERY_ONLY = "recovery-only"
    NONE = "none"

    @property
    def uses_tpm(self) -> bool:
        """Whether a TPM is a condition."""
        return self in (Mode.TPM2, Mode.TPM2_TANG)

    @property
    def uses_tang(self) -> bool:
        """Whether a Tang server is a condition."""
        return self in (Mode.TANG, Mode.TPM2_TANG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """The chosen mode and the Tang servers it needs."""

    mode: Mode
    servers: Sequence[str] = ()

    @property
    def text(self) -> str:
        """One line for people."""
        texts = {
            Mode.TPM2: "opened by this machine's TPM, or with the recovery key",
            Mode.TPM2_TANG: "opened by this machine's TPM together with a Tang server, "
            "or with the recovery key",
            Mode.TANG: "opened by a Tang server, or with the recovery key",
            Mode.RECOVERY_ONLY: "opened at every start with the recovery key, by a person",
            Mode.NONE: "none: the disk and the config on it can be read by whoever has the disk",
        }
        return texts[self.mode]


def choose_encryption(config: Mapping[str, Any], facts: Facts) -> Encryption:
    """The mode that `install.encrypt` asks for; `tpm2` if it says nothing and a TPM 2.0 exists.

    Never weaker than asked, and never none without being asked.
    Raises errors.ConfigNotForThisMachine.
    """
    install = config.get("install") or {}
    asked = install.get("encrypt")
    has_tpm = facts.tpm is not None and facts.tpm.version.startswith("2")
    if asked is None and not has_tpm:
        raise errors.ConfigNotForThisMachine(
            "It has no TPM 2.0, so say with install.encrypt how its disk is to be opened:"
            " tang, recovery-only or none."
        )
    try:
        mode = Mode(Mode.TPM2 if asked is None else asked)
    except ValueError:
        names = ", ".join(Mode)
        raise errors.ConfigError(f"install.encrypt is none of {names}.") from None
    if mode.uses_tpm and not has_tpm:
        raise errors.ConfigNotForThisMachine(
            f"install.encrypt asks for {mode.value}, but it has no TPM 2.0."
        )
    servers = tuple(str(server) for server in install.get("tang") or ())
    if mode.uses_tang and not servers:
        raise errors.ConfigError(
            f"install.encrypt: {mode.value} needs install.tang, a list of URLs."
        )
    return Encryption(mode=mode, servers=servers if mode.uses_tang else ())
