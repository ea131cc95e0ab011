"""wipe-tables: zero both copies of the partition table, flush, and have the kernel look again."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import trio

from node.execute import Handler, Work
from node.steps import WipeTables
from node.system.install.doors import Doors
from node.system.install.let_go import let_go, mark_begun
from pairing import errors

ROOM = 2**20
"""Bytes zeroed at each end: a GPT with its header takes 17 KiB, or 20 KiB with 4 KiB sectors."""
BLKRRPART = 0x125F
"""Re-read the partition table (linux/fs.h)."""
TRIES, PAUSE = 20, 0.5
"""udev may have the disk open for a moment; seconds between two tries."""


def wipe_tables(doors: Doors) -> Handler:
    """The handler of `WipeTables`."""

    async def handler(step: WipeTables, work: Work) -> None:
        await let_go(doors, work)
        mark_begun(doors, step.disk)
        handle = _open(doors.at(step.disk))
        try:
            await trio.to_thread.run_sync(_zero, handle)
            if stat.S_ISBLK(os.fstat(handle).st_mode):
                await _read_again(handle, step.disk)
        finally:
            os.close(handle)
        await doors.settle(work)

    return handler


def _open(path: Path) -> int:
    """O_EXCL on a block device: refused while anything of it is mounted or mapped (open(2))."""
    try:
        return os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    except OSError as wrong:
        if wrong.errno == errno.EBUSY:
            raise errors.DiskBusy(element=str(path)) from None
        raise


def _zero(handle: int) -> None:
    """The backup first: until it is gone the old table is whole, and then it is not there."""
    size = os.lseek(handle, 0, os.SEEK_END)
    for offset in (max(0, size - ROOM), 0):
        length, done = min(ROOM, size - offset), 0
        while done < length:
            done += os.pwrite(handle, bytes(length - done), offset + done)
        os.fsync(handle)


async def _read_again(handle: int, disk: str) -> None:
    for _ in range(TRIES):
        try:
            fcntl.ioctl(handle, BLKRRPART)
            return
        except OSError as wrong:
            if wrong.errno != errno.EBUSY:
                raise
        await trio.sleep(PAUSE)
    raise errors.DiskBusy("The kernel keeps its old partitions.", element=disk)
