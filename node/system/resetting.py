"""Carries out the steps of a reset. Each can be run again; each is flushed before the next."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.plan.boot import DATA_FOLDER, MAPPED, OEM_FOLDER
from node.plan.install import LUKS_HEADER
from node.plan.reset import (
    OEM,
    RECOVERY,
    RECOVERY_HASHES,
    CheckRecovery,
    Data,
    EraseKeys,
    ForgetRecords,
    MarkReset,
    ResetFacts,
    UnmarkReset,
    VolumeFound,
    WipeVolume,
)
from node.plan.slots import RECOVERY as RECOVERY_KERNEL
from node.plan.slots import entries
from node.plan.upgrade import ClearSlot, RemoveEntry, Slot
from node.step import Step
from node.system import board
from node.system.bootpartition import BOOT
from node.system.door import Door
from node.system.install.check_image import checked_sums
from node.system.kernels import line_words
from node.system.reading import names, read
from node.system.upgrading import ENTRIES, clear_slot, remove_entry
from node.system.volumes import PartitionFound, is_mounted, partitions
from pairing import errors
from pairing.durable import flush_volume, write_durably

MARK = "boot/kairos/reset.json"
ERASE_SECONDS, VERIFY_SECONDS, WIPE_SECONDS = 60.0, 880.0, 590.0
PLACES = {OEM: OEM_FOLDER, "KR_PERSISTENT": DATA_FOLDER}


def reset_facts(root: Path, run: Door) -> ResetFacts:
    """What is on the disk now, with its boot partition at /boot."""
    parts = partitions(root, run)
    devices = {one.label: one.device for one in parts}
    return ResetFacts(
        mode=board.mode(root),
        version=board.medium(root),
        entries=entries(names(root / ENTRIES)),
        slots=tuple(Slot(device=one.device, label=one.label) for one in parts),
        volumes=tuple(_volume(one, root) for one in parts if one.label in PLACES),
        recovery=devices.get(RECOVERY, ""),
        recovery_hashes=devices.get(RECOVERY_HASHES, ""),
        roothash=_recovery_hash(root / ENTRIES / RECOVERY_KERNEL),
        begun=begun(root),
    )


def begun(root: Path) -> Data | None:
    """The reset that was begun and not completed, by its mark. A damaged mark counts as `keep`:
    what cannot be undone has to be asked for again."""
    path = root / MARK
    if not path.exists():
        return None
    try:
        return Data(json.loads(read(path))["data"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return Data.KEEP


def _volume(found: PartitionFound, root: Path) -> VolumeFound:
    mapped = (root / "dev/mapper" / MAPPED[found.label]).exists()
    return VolumeFound(
        label=found.label,
        device=found.device,
        encrypted=found.filesystem == "crypto_LUKS",
        in_use=mapped or is_mounted(root, PLACES[found.label]),
    )


def _recovery_hash(kernel: Path) -> str:
    """The root hash that this kernel's own line names; empty if it is not a recovery kernel."""
    try:
        words = line_words(kernel)
    except (ValueError, OSError):
        return ""
    return words.get("roothash", "") if words.get("kairos.mode") == "recovery" else ""


def _write_over_header(device: Path) -> None:
    """Zeros over all of a LUKS header, on the disk at the end. Raises OSError."""
    with device.open("r+b") as file:
        size = min(LUKS_HEADER, file.seek(0, os.SEEK_END))
        file.seek(0)
        file.write(bytes(size))
        file.flush()
        os.fsync(file.fileno())


@dataclass(frozen=True, slots=True)
class Resetter:
    """Carries out the steps below `root`, with the boot partition at /boot."""

    root: Path
    run: Door

    def handlers(self) -> Mapping[type[Step], Callable[[Any], None]]:
        """By type of step. Each raises errors.KnownError or OSError."""
        return {
            CheckRecovery: self.check_recovery,
            MarkReset: self.mark,
            RemoveEntry: lambda step: remove_entry(self.root, step.entry),
            ForgetRecords: self.forget,
            EraseKeys: self.erase_keys,
            ClearSlot: lambda step: clear_slot(self.root, self.run, step.device),
            WipeVolume: self.wipe,
            UnmarkReset: self.unmark,
        }

    def check_recovery(self, step: CheckRecovery) -> None:
        """See `CheckRecovery`. Raises errors.ResetRefused: nothing was changed yet."""
        kernel = self.root / ENTRIES / RECOVERY_KERNEL
        listed = {Path(one.path).name: one.sha256 for one in checked_sums(self.root, self._boot)}
        found = hashlib.sha256(kernel.read_bytes()).hexdigest()
        if listed.get(RECOVERY_KERNEL, found) != found:
            raise errors.ResetRefused("The kernel of its recovery system is damaged.")
        argv = ("veritysetup", "verify", step.data, step.hashes, step.roothash)
        if self.run(argv, seconds=VERIFY_SECONDS, check=False).status:
            raise errors.ResetRefused("Its recovery system is damaged.")

    def mark(self, step: MarkReset) -> None:
        """See `MarkReset`."""
        (self.root / MARK).parent.mkdir(exist_ok=True)
        write_durably(
            self.root / MARK, json.dumps({"schema": 1, "data": step.wanted}).encode(), 0o600
        )

    def forget(self, step: ForgetRecords) -> None:
        """See `ForgetRecords`."""
        for name in step.files:
            (self._boot / name).unlink(missing_ok=True)
        flush_volume(self._boot / "kairos")

    def erase_keys(self, step: EraseKeys) -> None:
        """See `EraseKeys`. Open or not: what is open stays open until the restart.

        Where cryptsetup cannot, or leaves a slot, the header is written over: it holds the keys.
        Raises OSError if that fails too.
        """
        with contextlib.suppress(errors.MissingError, ValueError, KeyError, TypeError):
            self.run(("cryptsetup", "erase", "--batch-mode", step.device), seconds=ERASE_SECONDS)
            dump = ("cryptsetup", "luksDump", "--dump-json-metadata", step.device)
            if not json.loads(self.run(dump, seconds=ERASE_SECONDS).stdout)["keyslots"]:
                return
        _write_over_header(self.root / step.device.lstrip("/"))

    def wipe(self, step: WipeVolume) -> None:
        """See `WipeVolume`. Not every disk can be told that blocks are free: no failure."""
        self.run(("blkdiscard", "--force", step.device), seconds=WIPE_SECONDS, check=False)
        self.run(("wipefs", "--all", "--force", step.device), seconds=ERASE_SECONDS)

    def unmark(self, step: UnmarkReset) -> None:
        """See `UnmarkReset`. What was written to the disk before it is there before it goes."""
        self.run(("sync",), seconds=WIPE_SECONDS)
        # What udev knows of the partitions is older: whoever looks next sees them as they are.
        trigger = ("udevadm", "trigger", "--settle", "--action=change", "--subsystem-match=block")
        self.run(trigger, seconds=ERASE_SECONDS, check=False)
        (self.root / MARK).unlink(missing_ok=True)
        flush_volume(self._boot / "kairos")

    @property
    def _boot(self) -> Path:
        return self.root / BOOT.lstrip("/")
