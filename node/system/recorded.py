"""A recorded machine that carries out plans: its disk and firmware are a model in memory.

Every step is run for real as far as its order, its key and its effects go; nothing outside this
object changes. Tests stop it at any write; a simulated fleet is made of these.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import trio

from node.execute import Handler, ProvedVolume, Work
from node.steps import (
    BindApproval,
    BindTang,
    CheckDisk,
    CheckImage,
    CheckMachine,
    ClearBoot,
    FillBoot,
    KeepConfig,
    MakeVolumes,
    MarkComplete,
    ProveKey,
    SetBootEntries,
    Step,
    WipeTables,
    WriteDisk,
)
from node.system.check import require_same
from pairing import errors
from pairing.facts import Facts


@dataclass(slots=True)
class DiskModel:
    """What the disk and the firmware hold now. `volumes` maps a name to its key's fingerprint."""

    table: bool = True
    partitions: tuple[str, ...] = ()
    volumes: dict[str, str] = field(default_factory=dict)
    tang: tuple[str, ...] = ()
    by_approval: bool = False
    config: bool = False
    boot_order: tuple[str, ...] = ()
    complete: bool = False


def _nothing(write: str) -> None:
    """The default for `before_write`: every write goes well."""


class RecordedMachine:
    """Recorded facts and the model of the chosen disk. `writes` lists every write, in order."""

    def __init__(self, facts: Facts, before_write: Callable[[str], None] = _nothing) -> None:
        """`before_write` is called with each write's name and may raise to stop it."""
        self.facts = facts
        self.disk = DiskModel()
        self.writes: list[str] = []
        self._before_write = before_write
        self._made: dict[str, str] = {}

    @property
    def handlers(self) -> Mapping[type[Step], Handler]:
        """For `node.execute.execute`."""
        return {
            CheckImage: self._check_image,
            CheckDisk: self._check_disk,
            CheckMachine: self._check_machine,
            MakeVolumes: self._make_volumes,
            WipeTables: self._wipe_tables,
            ClearBoot: self._clear_boot,
            WriteDisk: self._write_disk,
            BindTang: self._bind_tang,
            BindApproval: self._bind_approval,
            ProveKey: self._prove_key,
            KeepConfig: self._keep_config,
            FillBoot: self._fill_boot,
            SetBootEntries: self._set_boot_entries,
            MarkComplete: self._mark_complete,
        }

    async def _write(self, what: str) -> None:
        await trio.lowlevel.checkpoint()
        self._before_write(what)
        self.writes.append(what)

    async def _check_image(self, step: CheckImage, work: Work) -> None:
        await trio.lowlevel.checkpoint()

    async def _check_disk(self, step: CheckDisk, work: Work) -> None:
        await trio.lowlevel.checkpoint()
        require_same(step, self.facts)

    async def _check_machine(self, step: CheckMachine, work: Work) -> None:
        await trio.lowlevel.checkpoint()
        if step.tpm and self.facts.tpm is None:
            raise errors.CommandFailed("No TPM.", element="systemd-cryptenroll")

    async def _make_volumes(self, step: MakeVolumes, work: Work) -> None:
        await trio.lowlevel.checkpoint()
        self._made = dict.fromkeys(step.volumes, work.key.fingerprint)

    async def _wipe_tables(self, step: WipeTables, work: Work) -> None:
        for copy in ("primary table", "backup table"):
            await self._write(f"wipe {copy}")
        self.disk = DiskModel(table=False, boot_order=self.disk.boot_order)

    async def _clear_boot(self, step: ClearBoot, work: Work) -> None:
        await self._write("take the loader away")
        self.disk = DiskModel(boot_order=self.disk.boot_order)

    async def _fill_boot(self, step: FillBoot, work: Work) -> None:
        await self._write("boot files")

    async def _write_disk(self, step: WriteDisk, work: Work) -> None:
        if self.disk.table and not step.again:
            raise errors.CommandFailed("The disk has a partition table.", element="systemd-repart")
        volumes = {}
        for number, partition in enumerate(step.partitions, start=1):
            await self._write(f"partition {partition.label}")
            if partition.encrypted:
                volumes[partition.label] = self._made[partition.label]
            work.progress(number, len(step.partitions))
        await self._write("partition table")
        self.disk.table, self.disk.volumes = True, volumes
        self.disk.partitions = tuple(partition.label for partition in step.partitions)

    async def _bind_tang(self, step: BindTang, work: Work) -> None:
        for volume in step.volumes:
            self._open(volume, work)
            await self._write(f"bind {volume}")
        self.disk.tang = tuple(step.servers)

    async def _bind_approval(self, step: BindApproval, work: Work) -> None:
        for volume in step.volumes:
            self._open(volume, work)
            await self._write(f"approval {volume}")
        self.disk.by_approval = True

    async def _keep_config(self, step: KeepConfig, work: Work) -> None:
        if step.encrypted:
            self._open(step.volume, work)
        await self._write("config")
        self.disk.config = True

    async def _prove_key(self, step: ProveKey, work: Work) -> None:
        for volume in step.volumes:
            await trio.lowlevel.checkpoint()
            self._open(volume, work)
            slot = hashlib.sha256(f"{volume} {work.key.fingerprint}".encode()).digest()
            work.proved(ProvedVolume(volume, str(uuid.UUID(bytes=slot[:16])), slot.hex()))

    async def _set_boot_entries(self, step: SetBootEntries, work: Work) -> None:
        await self._write("boot order")
        self.disk.boot_order = tuple(step.entries)

    async def _mark_complete(self, step: MarkComplete, work: Work) -> None:
        await self._write("completion marker")
        self.disk.complete = True

    def _open(self, volume: str, work: Work) -> None:
        if self.disk.volumes.get(volume) != work.key.fingerprint:
            work.log(f"{volume}: No key available with this passphrase.")
            raise errors.CommandFailed("Status 2", element="cryptsetup")
