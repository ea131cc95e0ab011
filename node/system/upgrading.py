"""Carries out an upgrade's steps, and a rollback. Every file on the boot partition is changed by
one rename or one removal, each flushed: a power cut leaves entries whose slots are whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from node.plan.slots import EMPTY, Entry, entries
from node.plan.upgrade import (
    CheckKernel,
    ClearSlot,
    FetchFiles,
    RemoveEntry,
    Slot,
    UpgradeFacts,
    WriteSlot,
    definitions,
)
from node.step import Step
from node.system import board
from node.system.door import Door
from node.system.kernels import unfit
from node.system.reading import names, read, short
from node.system.updatesource import Signed, fetch_version
from node.system.volumes import booted_disk, partitions
from pairing import errors
from pairing.durable import flush_volume, write_durably

ENTRIES = "boot/EFI/Linux"
RECORD = "usr/local/.kairos/upgrade.json"
CHECK = "usr/local/.kairos/update-check.json"
IMAGE = "usr/lib/kairos-register/image.json"
TRIES = 3
DEFINITIONS = "run/kairos-register/upgrade/definitions"
SFDISK_SECONDS, UPDATE_SECONDS, SYNC_SECONDS = 30.0, 3500.0, 120.0
LEFTOVERS = (".#", ".sysupdate")
"""Unfinished files of systemd-sysupdate."""
FILE_LIMIT = 4 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class LastUpgrade:
    """The last upgrade that was tried here. `at`: Unix seconds. `reason`: why it failed."""

    before: str
    version: str
    source: str
    at: int
    reason: str = ""

    @property
    def text(self) -> str:
        """One line for people."""
        how = f"failed: {self.reason}" if self.reason else "written"
        return f"{self.before} to {self.version} from {self.source}: {how}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LastCheck:
    """The last time that a source was looked at. `at`: Unix seconds. `version`: what it would be
    upgraded to; `reason`: why to nothing.

    A source can withhold updates by showing an old list, signed as it is: its age is what tells.
    """

    source: str
    at: int
    version: str = ""
    reason: str = ""

    def text(self, now: int) -> str:
        """One line for people."""
        found = f"{self.version} is there" if self.version else self.reason
        return f"{_age(now - self.at)}, {self.source}: {found}"


def _age(seconds: int) -> str:
    if seconds < 0:
        return "at a time that is not yet (the clock was changed)"
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return "just now"


def upgrade_facts(root: Path, run: Door) -> UpgradeFacts:
    """What is on the disk now. Raises errors.UpgradeRefused if that cannot be told."""
    disk = booted_disk(root)
    folder = root / ENTRIES
    if not disk or not folder.is_dir():
        raise errors.UpgradeRefused("There is no installed disk, or its boot partition is closed.")
    version = board.medium(root)
    found = entries(names(folder))
    own = [entry for entry in found if entry.version == version] or list(found)
    room = os.statvfs(folder)
    return UpgradeFacts(
        mode=board.mode(root),
        version=version,
        disk=f"/dev/{disk}",
        entries=found,
        slots=tuple(Slot(device=part.device, label=part.label) for part in partitions(root, run)),
        room=room.f_bavail * room.f_frsize,
        kernel=max((_size(folder / entry.name) for entry in own), default=0),
        tries=_tries(root),
    )


def _tries(root: Path) -> int:
    """What the recipe of the running image asks for; its default where that cannot be read."""
    try:
        return max(1, min(9, int(json.loads(read(root / IMAGE))["tries"])))
    except (ValueError, TypeError, KeyError):
        return TRIES


def records_open(root: Path) -> bool:
    """Whether the volume with both records is open: without it nothing is known of either."""
    return (root / RECORD).parent.is_dir()


def last_upgrade(root: Path) -> LastUpgrade | None:
    """None if there was none, or the volume with the record is not open."""
    try:
        body = json.loads(read(root / RECORD))
        words = {name: short(body[name]) for name in ("before", "version", "source", "reason")}
        return LastUpgrade(**words, at=int(body["at"]))
    except (ValueError, TypeError, KeyError):
        return None


def last_check(root: Path) -> LastCheck | None:
    """None if no source was looked at yet, or the volume with the record is not open."""
    try:
        body = json.loads(read(root / CHECK))
        words = {name: short(body[name]) for name in ("source", "version", "reason")}
        return LastCheck(**words, at=int(body["at"]))
    except (ValueError, TypeError, KeyError):
        return None


def keep_record(root: Path, record: LastUpgrade | LastCheck) -> None:
    """For `kairos-node state`. Never raises: with a closed volume there is no place for it."""
    place = root / (RECORD if isinstance(record, LastUpgrade) else CHECK)
    if records_open(root):
        with contextlib.suppress(OSError):
            write_durably(place, json.dumps(asdict(record)).encode())


@dataclass(frozen=True, slots=True)
class Upgrader:
    """`found` is the source, `room` a folder for what is fetched first."""

    root: Path
    run: Door
    found: Signed
    room: Path

    def handlers(self) -> Mapping[type[Step], Callable[[Any], None]]:
        """By type of step. Each raises errors.KnownError or OSError."""
        return {
            FetchFiles: self.fetch,
            RemoveEntry: self.remove_entry,
            ClearSlot: self.clear_slot,
            WriteSlot: self.write_slot,
            CheckKernel: self.check_kernel,
        }

    def fetch(self, step: FetchFiles) -> None:
        """See `FetchFiles`."""
        fetch_version(self.found, step.version, step.kinds, self.room, FILE_LIMIT)

    def remove_entry(self, step: RemoveEntry) -> None:
        """See `RemoveEntry`."""
        remove_entry(self.root, step.entry)

    def clear_slot(self, step: ClearSlot) -> None:
        """See `ClearSlot`."""
        clear_slot(self.root, self.run, step.device)

    def write_slot(self, step: WriteSlot) -> None:
        """See `WriteSlot`. Raises errors.UpgradeFailed."""
        _remove_leftovers(self.root)
        folder = self.root / DEFINITIONS
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        for name, text in definitions(step, str(self.root / ENTRIES)).items():
            (folder / name).write_text(text, encoding="utf-8")
        argv = ("/usr/lib/systemd/systemd-sysupdate", f"--definitions={folder}", "--verify=yes")
        result = self.run((*argv, "update", step.version), seconds=UPDATE_SECONDS, check=False)
        if result.status:
            said = result.stderr.decode("utf-8", "replace").strip()[-400:]
            raise errors.UpgradeFailed(said, element="systemd-sysupdate")
        self.run(("sync",), seconds=SYNC_SECONDS)
        flush_volume(self.root / ENTRIES)

    def check_kernel(self, step: CheckKernel) -> None:
        """See `CheckKernel`. Raises errors.KernelUnfit."""
        if reason := unfit(self.room / f"kr_{step.version}.efi", self.root):
            raise errors.KernelUnfit(reason, element=step.version)


def remove_entry(root: Path, name: str) -> None:
    """Remove a boot entry for good. Leftovers of an interrupted upgrade go with it."""
    _remove_leftovers(root)
    (root / ENTRIES / name).unlink(missing_ok=True)
    flush_volume(root / ENTRIES)


def clear_slot(root: Path, run: Door, device: str) -> None:
    """Mark a slot's partition as empty."""
    disk, number = _disk_and_number(root, device)
    # The disk is in use: its other partitions stay as the kernel knows them.
    argv = ("sfdisk", "--no-reread", "--no-tell-kernel", "--part-label", disk, number, EMPTY)
    run(argv, seconds=SFDISK_SECONDS)


def _remove_leftovers(root: Path) -> None:
    for name in names(root / ENTRIES):
        if name.startswith(LEFTOVERS):
            (root / ENTRIES / name).unlink(missing_ok=True)


def exhaust(root: Path, entry: Entry) -> None:
    """Mark a version as one without tries left: the loader prefers every other one."""
    folder = root / ENTRIES
    (folder / entry.name).rename(folder / f"kr_{entry.version}+0-{entry.done}.efi")
    flush_volume(folder)


def _disk_and_number(root: Path, device: str) -> tuple[str, str]:
    name = device.removeprefix("/dev/")
    disk = booted_disk(root)
    number = read(root / "sys/block" / disk / name / "partition").decode().strip()
    if not number.isdigit():
        raise errors.UpgradeFailed("It is not a partition of this disk.", element=device)
    return f"/dev/{disk}", number


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
