"""What an earlier attempt of this boot left behind: a mark on the disk, open volumes, mounts.

The mark says that a disk was begun by us since the machine started: what is on it now is ours, not
somebody's data, so a further attempt needs no `wipe`.
"""

from __future__ import annotations

from pathlib import Path

from node.execute import Work
from node.system.booted import disk_name
from node.system.install.doors import Doors
from node.system.reading import read

SECONDS = 60.0
MAPPED = ("kr_oem", "kr_persistent", "kr_filled")
"""Names below /dev/mapper: the first stays open while we install, the last gets its files."""
REPAIR = ("/oem", "/usr/local")
"""Where `kairos-node unlock` mounts them."""


def mark_begun(doors: Doors, disk: str) -> None:
    """From now on what this disk holds is ours. Kept in memory, until the next restart."""
    _mark(doors, disk).touch(mode=0o600)


def was_begun(doors: Doors, disk: str) -> bool:
    """Whether an attempt of this boot has begun to write this disk."""
    return _mark(doors, disk).exists()


async def let_go(doors: Doors, work: Work) -> None:
    """Unmount and close what an earlier attempt, or a repair session, left open."""
    own = [doors.own / name for name in ("esp", "oem", "data")]
    for folder in (*own, *map(doors.at, REPAIR)):
        if is_mounted(doors, folder):
            await doors.tool(("umount", folder), work, seconds=SECONDS)
    for name in MAPPED:
        if doors.at(Path("/dev/mapper", name)).exists():
            await doors.tool(("cryptsetup", "close", name), work, seconds=SECONDS)


def is_mounted(doors: Doors, folder: Path) -> bool:
    """Whether something is mounted on this folder."""
    inside = str(Path("/") / folder.relative_to(doors.root))
    lines = read(doors.at("/proc/self/mountinfo")).decode("utf-8", "replace").splitlines()
    return any(fields[4] == inside for line in lines if len(fields := line.split()) > 4)


def _mark(doors: Doors, disk: str) -> Path:
    return doors.own / f"begun-{disk_name(doors.root, disk)}"
