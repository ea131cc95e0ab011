"""The boot partition of the disk that runs: an installed system has it open at /boot. The recovery
system reads from it elsewhere, and opens it for writing only as long as it changes something.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from node.system import board, medium
from node.system.door import Door
from node.system.reading import read
from node.system.volumes import ESP_LABEL, is_mounted, partitions

BOOT = "/boot"
MOUNT_SECONDS = 30.0


def boot_files(root: Path, run: Door) -> Path | None:
    """The folder to read it from; None on a stick, and where it cannot be mounted."""
    mode = board.mode(root)
    if mode == "installed":
        return root / BOOT.lstrip("/")
    return medium.mounted(root, run) if mode == "recovery" else None


@contextlib.contextmanager
def boot_partition(root: Path, run: Door) -> Iterator[None]:
    """With it at /boot, writable; as it was before at the end. A disk that has none, as a stick,
    has nothing there: whoever looks refuses then.

    Raises errors.MissingError.
    """
    device = "" if _is_there(root) else _device(root, run)
    if not device:
        yield
        return
    _mount(root, run, device)
    try:
        yield
    finally:
        run(("umount", BOOT), seconds=MOUNT_SECONDS, check=False)


def _device(root: Path, run: Door) -> str:
    return next((one.device for one in partitions(root, run) if one.label == ESP_LABEL), "")


def _is_there(root: Path) -> bool:
    """Whether the boot partition itself is at /boot, and can be written: systemd mounts it there
    on demand, read-only where it is read-only elsewhere."""
    if board.mode(root) == "installed":
        return True
    lines = read(root / "proc/self/mountinfo").decode("utf-8", "replace").splitlines()
    here = [line for line in lines if line.split()[4:5] == [BOOT] and " - vfat " in line]
    return any(
        "rw" in line.split()[5].split(",") and "rw" in line.split()[-1].split(",") for line in here
    )


def _mount(root: Path, run: Door, device: str) -> None:
    # What systemd mounts on demand, and what the recovery system reads from (it opens it again).
    for unit in ("boot.automount", "boot.mount"):
        run(("systemctl", "stop", unit), seconds=MOUNT_SECONDS, check=False)
    if is_mounted(root, str(medium.FOLDER)):
        run(("umount", str(medium.FOLDER)), seconds=MOUNT_SECONDS)
    options = "nodev,nosuid,noexec,umask=0077"
    run(("mount", "-t", "vfat", "-o", options, device, BOOT), seconds=MOUNT_SECONDS)
