"""Steps that make volumes: frozen data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from node.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeVolumes(Step):
    """Make the heads of the encrypted volumes in memory, each with all its key slots.

    So whatever is wrong with the TPM is found while the disk is as it was, and no partition table
    ever leads to a volume that lacks a key.
    """

    name: ClassVar[str] = "make-volumes"
    seconds: ClassVar[float] = 300.0
    needs_key: ClassVar[bool] = True
    volumes: Sequence[str]
    tpm: bool
    """Enrol the TPM: it opens the volumes by itself."""
    pcrs: Sequence[int] = ()
    """Registers that must be as now (sealed literally)."""
    signed_pcrs: Sequence[int] = ()
    """Registers that must match a policy signed with the image's key."""

    @property
    def text(self) -> str:
        by = "the recovery key and this machine's TPM" if self.tpm else "the recovery key"
        return f"Make {' and '.join(self.volumes)} in memory, opened by {by}"

    @property
    def weight(self) -> int:
        return 5
