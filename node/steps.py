"""The steps of a plan: frozen data. What a step does is the executor's handler for its type.

A step never holds a secret: plans are shown, sent and journalled. `STEP_TYPES` lists them all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from node.datasteps import CheckData as CheckData
from node.datasteps import KeepData as KeepData
from node.partition import Partition
from node.step import Step as Step
from node.volume_steps import MakeVolumes as MakeVolumes
from pairing.facts import Disk

ESCROW_SECONDS = 600.0
"""How long the acknowledgement of the recovery key is waited for (DESIGN 5.5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckImage(Step):
    """Read the booted medium's image against its root hash, so that a bad one writes nothing."""

    name: ClassVar[str] = "check-image"
    rehearsed: ClassVar[bool] = True
    seconds: ClassVar[float] = 900.0
    version: str = ""

    @property
    def text(self) -> str:
        return f"Check the image {self.version}".rstrip() + " on the booted medium"

    @property
    def weight(self) -> int:
        return 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckDisk(Step):
    """Look at the disk again: still the same one, still not in use, holding nothing new."""

    name: ClassVar[str] = "check-disk"
    rehearsed: ClassVar[bool] = True
    disk: str
    serial: str
    size: int
    content: Sequence[str] = ()
    own: bool = False
    """The recovery system was started from it, so it is in use by us."""

    @property
    def text(self) -> str:
        return f"Check that {self.disk} is still the chosen disk and not in use"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckMachine(Step):
    """Try what the rest of the plan needs of this machine, so that nothing fails half-way.

    The TPM seals and unseals, this start was given nothing that the disk would be sealed to, the
    Tang servers answer, boot entries can be set, all programs are there.
    """

    name: ClassVar[str] = "check-machine"
    rehearsed: ClassVar[bool] = True
    seconds: ClassVar[float] = 600.0
    tpm: bool
    tang: Sequence[str] = ()
    boot_entries: bool

    @property
    def text(self) -> str:
        what = ["all programs are there"]
        what += ["the TPM works"] if self.tpm else []
        what += [f"{server} answers" for server in self.tang]
        what += ["boot entries can be set"] if self.boot_entries else []
        return f"Check that {', '.join(what)}"

    @property
    def weight(self) -> int:
        return 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowKey(Step):
    """Make the recovery key, send it sealed, wait until the operator has stored it."""

    name: ClassVar[str] = "escrow-key"
    seconds: ClassVar[float] = ESCROW_SECONDS
    recipients: Sequence[str] = ()
    """Fingerprints of the keys that it is sealed to; empty = those of the signed manifest."""
    volumes: Sequence[str]

    @property
    def text(self) -> str:
        to = ", ".join(self.recipients) or "the operator"
        return f"Send the recovery key to {to} and wait until it is stored"

    @property
    def weight(self) -> int:
        return 2


@dataclass(frozen=True, slots=True, kw_only=True)
class WipeTables(Step):
    """Zero both copies of the partition table and flush.

    Without it an older table would point at half-new content until the new one is written.
    """

    name: ClassVar[str] = "wipe-tables"
    destructive: ClassVar[bool] = True
    disk: str

    @property
    def text(self) -> str:
        return f"Erase the partition table of {self.disk}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearBoot(Step):
    """Take the loader and the old system's kernels off the disk that the recovery system is on.

    From here on the firmware starts the recovery system, until the installation is complete.
    """

    name: ClassVar[str] = "clear-boot"
    destructive: ClassVar[bool] = True
    disk: str
    forgets: Sequence[str] = ()
    """Records that go too. Where data is kept its owner's stay until `FillBoot` has others."""

    @property
    def text(self) -> str:
        return f"Take the old system out of the boot files of {self.disk}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteDisk(Step):
    """Make file systems, copy the image and the encrypted volumes, the partition table last.

    One run of systemd-repart, which writes the table when all else is on the disk. What is inside
    of the encrypted volumes is made after it.
    """

    name: ClassVar[str] = "write-disk"
    seconds: ClassVar[float] = 3600.0
    destructive: ClassVar[bool] = True
    needs_key: ClassVar[bool] = True
    again_from: ClassVar[str] = WipeTables.name
    disk: str
    partitions: Sequence[Partition]
    copied: int
    """Bytes of images that are copied."""
    again: bool = False
    """Around a recovery system that stays: only the other partitions are made anew."""

    @property
    def text(self) -> str:
        encrypted = sum(partition.encrypted for partition in self.partitions)
        volumes = f", {encrypted} of them encrypted" if encrypted else ""
        return f"Write the system to {self.disk}: {len(self.partitions)} partitions{volumes}"

    @property
    def weight(self) -> int:
        return 10 + self.copied // (20 * 2**20)


@dataclass(frozen=True, slots=True, kw_only=True)
class BindTang(Step):
    """Bind the volumes to Tang servers, with the TPM as second condition where asked."""

    name: ClassVar[str] = "bind-tang"
    destructive: ClassVar[bool] = True
    needs_key: ClassVar[bool] = True
    disk: str
    volumes: Sequence[str]
    servers: Sequence[str]
    with_tpm: bool
    pcrs: Sequence[int] = ()
    """Registers that must be as now, where the TPM is asked too."""

    @property
    def text(self) -> str:
        tpm = " and this machine's TPM" if self.with_tpm else ""
        return f"Bind {_and(self.volumes)} to {_and(self.servers)}{tpm}"

    @property
    def weight(self) -> int:
        return 5


@dataclass(frozen=True, slots=True, kw_only=True)
class BindApproval(Step):
    """Bind the volumes to the TPM together with a number that only the operator can send.

    The number is made from the recovery key: the operator holds that, the machine no longer does.
    """

    name: ClassVar[str] = "bind-approval"
    seconds: ClassVar[float] = 300.0
    destructive: ClassVar[bool] = True
    needs_key: ClassVar[bool] = True
    disk: str
    volumes: Sequence[str]
    pcrs: Sequence[int]
    signed_pcrs: Sequence[int]

    @property
    def text(self) -> str:
        return f"Bind {_and(self.volumes)} to this machine's TPM and an operator's approval"

    @property
    def weight(self) -> int:
        return 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ProveKey(Step):
    """Open every volume with the recovery key alone, without mounting anything."""

    name: ClassVar[str] = "prove-key"
    seconds: ClassVar[float] = 300.0
    needs_key: ClassVar[bool] = True
    disk: str
    volumes: Sequence[str]

    @property
    def text(self) -> str:
        return f"Prove that the recovery key opens {_and(self.volumes)}"

    @property
    def weight(self) -> int:
        return 10


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepConfig(Step):
    """Put on the first volume what the installed system needs: config, node key, lease.

    The volume stays open until the restart: what happens until then is kept there too.
    """

    name: ClassVar[str] = "keep-config"
    seconds: ClassVar[float] = 300.0
    destructive: ClassVar[bool] = True
    needs_key: ClassVar[bool] = True
    disk: str
    volume: str
    encrypted: bool

    @property
    def text(self) -> str:
        return f"Put the config and this node's lease on {self.volume}"

    @property
    def weight(self) -> int:
        return 5


@dataclass(frozen=True, slots=True, kw_only=True)
class FillBoot(Step):
    """Put the new system's kernel and records into boot files that stayed."""

    name: ClassVar[str] = "fill-boot"
    destructive: ClassVar[bool] = True
    disk: str

    @property
    def text(self) -> str:
        return f"Put the new system into the boot files of {self.disk}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBootEntries(Step):
    """Tell the firmware what to start, in this order, in one write of its boot order.

    The recovery system is started by the firmware itself, so that a refused image does not end
    in a dead screen.
    """

    name: ClassVar[str] = "boot-entries"
    destructive: ClassVar[bool] = True
    disk: str
    entries: Sequence[str]
    arch: str
    """As `uname -m`: loaders are named by it."""

    @property
    def text(self) -> str:
        return f"Set the firmware's boot order: {', then '.join(self.entries)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkComplete(Step):
    """Put the loader on the disk and flush: without it the firmware starts nothing of this disk."""

    name: ClassVar[str] = "mark-complete"
    destructive: ClassVar[bool] = True
    disk: str
    arch: str

    @property
    def text(self) -> str:
        return f"Mark the installation on {self.disk} as complete"


STEP_TYPES: Mapping[str, type[Step]] = MappingProxyType(
    {
        step.name: step
        for step in (
            CheckImage,
            CheckDisk,
            CheckMachine,
            CheckData,
            EscrowKey,
            MakeVolumes,
            WipeTables,
            ClearBoot,
            WriteDisk,
            KeepData,
            BindTang,
            BindApproval,
            ProveKey,
            KeepConfig,
            FillBoot,
            SetBootEntries,
            MarkComplete,
        )
    }
)
"""Every type of step by its name, in the order in which an installation runs them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be done to one disk, in order. Made by a planner, run by `node.execute`.

    `summary` and `warnings` are lines for people. `encryption` is the mode (`node.plan.encrypt`).
    `release` tells what was released (`node.plan.install.InstallOptions`).
    """

    kind: str
    disk: Disk
    encryption: str
    steps: Sequence[Step]
    summary: Sequence[str] = ()
    warnings: Sequence[str] = ()
    release: str = ""

    @property
    def text(self) -> tuple[str, ...]:
        """The whole plan for people, line by line. Whoever prints it escapes control characters."""
        lines = list(self.summary)
        for number, step in enumerate(self.steps, start=1):
            lines.append(f"{number}/{len(self.steps)} {step.name}: {step.text}")
            if isinstance(step, WriteDisk):
                lines += [f"    {partition.text}" for partition in step.partitions]
        return (*lines, *(f"warning: {warning}" for warning in self.warnings))

    def to_json(self) -> dict[str, Any]:
        """All of it, ready for `json.dumps`."""
        return {
            "kind": self.kind,
            "disk": self.disk.path,
            "encryption": self.encryption,
            "steps": [step.to_json() for step in self.steps],
            "summary": list(self.summary),
            "warnings": list(self.warnings),
            "release": self.release,
        }

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the plan: the same facts, config and options give the same one."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _and(words: Sequence[str]) -> str:
    return " and ".join(words)
