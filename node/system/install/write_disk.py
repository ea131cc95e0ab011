"""write-disk: one run of systemd-repart, which writes the partition table last."""

from __future__ import annotations

import shutil
from pathlib import Path

import trio

from node.execute import Handler, Work
from node.plan.repart import Sources, command, definitions
from node.steps import WriteDisk
from node.system.booted import booted, disk_name
from node.system.install.doors import PUBLIC_KEY, Doors
from node.system.install.handover import Handover
from node.system.reading import read
from pairing import errors

LOADER_CONF = """timeout 3
console-mode keep
editor no
"""
"""loader.conf(5). No `default`: the loader itself prefers the newest slot that has tries left."""
OVERHEAD = 96 * 2**20
"""Bytes that file systems, headers and boot files add to the copies, roughly."""
LOOK = 1.0
"""Seconds between two looks at how much was written."""
SECTOR = 512
"""Bytes of a sector in the kernel's counters, on any disk (Documentation/block/stat)."""


def write_disk(doors: Doors, handover: Handover) -> Handler:
    """The handler of `WriteDisk`."""

    async def handler(step: WriteDisk, work: Work) -> None:
        came_from = booted(doors.root)
        if came_from is None or not (doors.staging / "loader.efi").exists():
            raise errors.ImageMissing
        _fill_boot_files(doors.boot_files, handover)
        sources = Sources(root=came_from.root, hashes=came_from.hashes, boot=doors.boot_files)
        folder = doors.own / "repart.d"
        _write_definitions(folder, step, sources)
        key = doors.key_file(work) if work.plan.encryption != "none" else None
        argv = command(step, folder=folder, key=key, public_key=PUBLIC_KEY)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, doors, step, work)
            await doors.tool(argv, work, seconds=step.seconds - 60)
            nursery.cancel_scope.cancel()
        await doors.settle(work)
        for part in step.partitions:
            doors.partition(step.disk, part.label)

    return handler


def _fill_boot_files(folder: Path, handover: Handover) -> None:
    """Add to the checked files of the medium what belongs to this installation."""
    files = {
        "loader/loader.conf": LOADER_CONF.encode(),
        "kairos/escrow.json": handover.escrow(),
        "kairos/report.json": handover.report(),
    }
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if data:
            path.write_bytes(data)


def _write_definitions(folder: Path, step: WriteDisk, sources: Sources) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    for name, text in definitions(step, sources).items():
        (folder / name).write_text(text, encoding="utf-8")


async def _watch(doors: Doors, step: WriteDisk, work: Work) -> None:
    """Report what reached the disk since we began, by the kernel's count."""
    total = step.copied + OVERHEAD
    began = _written(doors, step.disk)
    while True:
        await trio.sleep(LOOK)
        work.progress(min(_written(doors, step.disk) - began, total - 1), total)


def _written(doors: Doors, disk: str) -> int:
    """Bytes written to the disk since the machine started."""
    path = doors.root / "sys/block" / disk_name(doors.root, disk) / "stat"
    fields = read(path).split()
    return int(fields[6]) * SECTOR if len(fields) > 6 and fields[6].isdigit() else 0
