"""write-disk: one run of systemd-repart, which writes the partition table last; then file systems
inside of the encrypted volumes.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import trio

from node.execute import Handler, Work
from node.partition import Partition
from node.plan.install import VOLUMES
from node.plan.repart import SMALLEST_REST, Sources, command, definitions
from node.steps import WriteDisk
from node.system.booted import booted, disk_name, part
from node.system.install.doors import Doors
from node.system.install.handover import Handover
from node.system.install.let_go import MAPPED
from node.system.reading import number, read
from pairing import errors

LOADER_CONF = """timeout 3
console-mode keep
editor no
"""
"""loader.conf(5). No `default`: the loader itself prefers the newest slot that has tries left."""
OVERHEAD = 128 * 2**20
"""Bytes that file systems, headers and boot files add to the copies, roughly."""
SECONDS = 300.0
QUICK = "nodiscard,lazy_itable_init=1,lazy_journal_init=1"
"""mkfs.ext4(8), -E: nothing is written that does not have to be. What is below an encrypted volume
is no old journal, for it was never written with this key."""
FILLED = "kr_filled"
"""The name below /dev/mapper of a volume that gets its file system just now (`let_go`)."""
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
        add_records(doors.boot_files, handover)
        sources = Sources(
            root=came_from.root,
            hashes=came_from.hashes,
            boot=doors.boot_files,
            kept=doors.kept_files,
            volumes=doors.volumes,
            rest=_rest(doors, step),
        )
        folder = doors.own / "repart.d"
        _write_definitions(folder, step, sources)
        await _watched(doors, command(step, folder=folder), step, work)
        await doors.settle(work)
        for made in step.partitions:
            device = doors.partition(step.disk, made.label).device
            if made.encrypted and not made.kept:
                await _fill(doors, device, made, work)

    return handler


async def _fill(doors: Doors, device: Path, made: Partition, work: Work) -> None:
    """Put an empty file system into an encrypted volume, opened with the recovery key.

    The config's volume stays open: the config comes next.
    """
    stays = made.label == VOLUMES[0]
    name = MAPPED[0] if stays else FILLED
    opening = ("cryptsetup", "open", "--disable-external-tokens", "--key-file")
    await doors.tool((*opening, doors.key_file(work), device, name), work, seconds=SECONDS)
    try:
        words = (f"mkfs.{made.filesystem}", "-q", "-m", "0", "-b", "4096", "-E", QUICK)
        mapped = Path("/dev/mapper", name)
        await doors.tool((*words, "-L", made.label, mapped), work, seconds=SECONDS)
    except BaseException:
        stays = False
        raise
    finally:
        if not stays:
            with trio.CancelScope(shield=True):
                await doors.tool(("cryptsetup", "close", name), work, seconds=SECONDS)


def add_records(folder: Path, handover: Handover) -> None:
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


def _rest(doors: Doors, step: WriteDisk) -> int:
    """Bytes of the last partition as it is, where it is made anew; else the least that it needs."""
    label = step.partitions[-1].label
    disk = disk_name(doors.root, step.disk)
    found = part(doors.root, disk, label) if step.again else None
    if found is None:
        return SMALLEST_REST
    return number(doors.root / "sys/block" / disk / found.device.name / "size") * SECTOR


def _write_definitions(folder: Path, step: WriteDisk, sources: Sources) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    for name, lines in definitions(step, sources).items():
        (folder / name).write_text(lines, encoding="utf-8")


async def _watched(doors: Doors, argv: Sequence[str], step: WriteDisk, work: Work) -> None:
    """Run it while its progress is reported. Raises errors.MissingError."""
    failed: list[errors.MissingError] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, doors, step, work, _written(doors, step.disk))
        try:
            await doors.tool(argv, work, seconds=step.seconds - 60)
        except errors.MissingError as wrong:
            failed.append(wrong)  # raised here, it would come out in a group
        nursery.cancel_scope.cancel()
    if failed:
        raise failed[0]


async def _watch(doors: Doors, step: WriteDisk, work: Work, before: int) -> None:
    """Report how far it is: what reached the disk, by the kernel's count."""
    total = step.copied + OVERHEAD
    while True:
        await trio.sleep(LOOK)
        work.progress(min(_written(doors, step.disk) - before, total - 1), total)


def _written(doors: Doors, disk: str) -> int:
    """Bytes written to the disk since the machine started."""
    path = doors.root / "sys/block" / disk_name(doors.root, disk) / "stat"
    fields = read(path).split()
    return int(fields[6]) * SECTOR if len(fields) > 6 and fields[6].isdigit() else 0
