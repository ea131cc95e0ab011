"""clear-boot, fill-boot, mark-complete: boot files, and the order in which they change.

The firmware starts whatever loader it finds. So the loader goes first where an old system is taken
away, and comes last where a new one is put there: in between there is nothing to start but the
recovery system, which the firmware has an entry for.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from node.execute import Handler, Work
from node.plan.reset import OWNER
from node.steps import ClearBoot, FillBoot, MarkComplete
from node.system import medium
from node.system.install.boot_entries import ARCHES
from node.system.install.doors import Doors
from node.system.install.handover import Handover
from node.system.install.let_go import is_mounted, let_go, mark_begun
from node.system.install.write_disk import add_records
from pairing import errors
from pairing.durable import flush_volume, write_durably

SECONDS = 120.0
ESP = "KR_ESP"
RECOVERY = "recovery.efi"


def clear_boot(doors: Doors) -> Handler:
    """The handler of `ClearBoot`."""

    async def handler(step: ClearBoot, work: Work) -> None:
        await let_go(doors, work)
        mark_begun(doors, step.disk)
        async with boot_partition(doors, step.disk, work) as folder:
            await trio.to_thread.run_sync(_clear, folder, step.forgets)
        await trio.to_thread.run_sync(_flush, doors.at(step.disk))

    return handler


def fill_boot(doors: Doors, handover: Handover) -> Handler:
    """The handler of `FillBoot`."""

    async def handler(step: FillBoot, work: Work) -> None:
        add_records(doors.boot_files, handover)
        async with boot_partition(doors, step.disk, work) as folder:
            await trio.to_thread.run_sync(_fill, doors, folder)

    return handler


def mark_complete(doors: Doors) -> Handler:
    """The handler of `MarkComplete`."""

    async def handler(step: MarkComplete, work: Work) -> None:
        async with boot_partition(doors, step.disk, work) as folder:
            await trio.to_thread.run_sync(_copy_loader, doors, folder, step.arch)
        await trio.to_thread.run_sync(_flush, doors.at(step.disk))

    return handler


@asynccontextmanager
async def boot_partition(doors: Doors, disk: str, work: Work) -> AsyncIterator[Path]:
    """The folder of the disk's ESP, writable, and unmounted at the end."""
    device = doors.partition(disk, ESP).device
    folder = doors.own / "esp"
    read_only = doors.at(medium.FOLDER)
    if medium.source(doors.root) == device and is_mounted(doors, read_only):
        # The recovery system has it open to read from.
        await doors.tool(("umount", read_only), work, seconds=SECONDS)
    if not is_mounted(doors, folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        options = ("--types", "vfat", "--options", "nodev,nosuid,noexec")
        await doors.tool(("mount", *options, device, folder), work, seconds=SECONDS)
    try:
        yield folder
    finally:
        with trio.CancelScope(shield=True):
            await doors.tool(("umount", folder), work, seconds=SECONDS)


def _clear(folder: Path, records: Sequence[str]) -> None:
    """The loader first, flushed, before anything that it starts."""
    for name in ("EFI/BOOT", "EFI/systemd"):
        shutil.rmtree(folder / name, ignore_errors=True)
    flush_volume(folder / "EFI")
    kernels = [path for path in (folder / "EFI/Linux").iterdir() if path.name != RECOVERY]
    for path in (*kernels, *(folder / name for name in records)):
        path.unlink(missing_ok=True)
    flush_volume(folder / "EFI/Linux")


def _fill(doors: Doors, folder: Path) -> None:
    """What is there already, the recovery system, is not written again. Records of an owner that
    there are no others for go: with kept data they are those of before.
    """
    for source in sorted(doors.boot_files.rglob("*")):
        target = folder / source.relative_to(doors.boot_files)
        if source.is_file() and source.name != RECOVERY:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_durably(target, source.read_bytes(), 0o644)
    for name in OWNER:
        if not (doors.boot_files / name).exists():
            (folder / name).unlink(missing_ok=True)
    flush_volume(folder)


def _copy_loader(doors: Doors, folder: Path, arch: str) -> None:
    """The name that every firmware starts by itself comes last."""
    try:
        loader = (doors.staging / "loader.efi").read_bytes()
    except FileNotFoundError:
        raise errors.ImageMissing from None
    name = ARCHES.get(arch, arch)
    for place in (f"EFI/systemd/systemd-boot{name}.efi", f"EFI/BOOT/BOOT{name.upper()}.EFI"):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, loader, 0o644)


def _flush(disk: Path) -> None:
    """Everything that the disk still holds back (fsync(2) on a block device flushes its cache)."""
    handle = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
