"""mark-complete: put the loader on the ESP. Without it the firmware starts nothing of this disk."""

from __future__ import annotations

import os
from pathlib import Path

import trio

from node.execute import Handler, Work
from node.steps import MarkComplete
from node.system.install.boot_entries import ARCHES
from node.system.install.doors import Doors, write_durably
from node.system.install.let_go import is_mounted
from pairing import errors

SECONDS = 120.0


def mark_complete(doors: Doors) -> Handler:
    """The handler of `MarkComplete`."""

    async def handler(step: MarkComplete, work: Work) -> None:
        device = doors.partition(step.disk, "KR_ESP").device
        folder = doors.own / "esp"
        if not is_mounted(doors, folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            options = ("--types", "vfat", "--options", "nodev,nosuid,noexec")
            await doors.tool(("mount", *options, device, folder), work, seconds=SECONDS)
        try:
            await trio.to_thread.run_sync(_copy_loader, doors, folder, step.arch)
        finally:
            with trio.CancelScope(shield=True):
                await doors.tool(("umount", folder), work, seconds=SECONDS)
        await trio.to_thread.run_sync(_flush, doors.at(step.disk))

    return handler


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
