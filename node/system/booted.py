"""What the running system came from: its root's devices and their disk, as sysfs has them.

Names and labels of partitions are looked up on that one disk only, so a second stick with the same
labels changes nothing. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from node.system.board import kernel_words
from node.system.reading import link_name, names, number, read, text

BOOT_PARTITION = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
"""EFI variable in which systemd-boot or the stub names the partition it was started from."""
ROOT_NAME = "root"
"""The device-mapper name that systemd-veritysetup-generator(8) gives to the root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A partition: its device, number and label (`PARTNAME` in the kernel's uevent)."""

    device: Path
    number: int
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """The root that runs now. Reads of `root` are checked against the hash tree in `hashes`."""

    root: Path
    data: Path
    hashes: Path
    disk: str
    """The kernel's name of the disk, such as `vdb`."""


def booted(root: Path) -> Booted | None:
    """None unless the root is a verity device on partitions that the kernel line names."""
    mapped = _mapped(root)
    if not mapped:
        return None
    words = kernel_words(root)
    wanted = [
        words.get(f"systemd.verity_root_{what}", "").removeprefix("PARTLABEL=")
        for what in ("data", "hash")
    ]
    slaves = names(root / "sys/block" / mapped / "slaves")
    for disk in names(root / "sys/block"):
        own = {part.label: part for part in parts(root, disk) if part.device.name in slaves}
        if all(label in own for label in wanted):
            data, hashes = (own[label].device for label in wanted)
            return Booted(root=Path("/dev/mapper", ROOT_NAME), data=data, hashes=hashes, disk=disk)
    return None


def parts(root: Path, disk: str) -> Iterator[Part]:
    """The partitions of one disk (its kernel name), by number."""
    folder = root / "sys/block" / disk
    found = [name for name in names(folder) if (folder / name / "partition").is_file()]
    for name in sorted(found, key=lambda name: number(folder / name / "partition")):
        yield Part(
            device=Path("/dev", name),
            number=number(folder / name / "partition"),
            label=_label(folder / name),
        )


def part(root: Path, disk: str, label: str) -> Part | None:
    """The first partition of this disk with that label."""
    return next((one for one in parts(root, disk) if one.label == label), None)


def loader_partition(root: Path) -> str:
    """GPT id of the partition that this start was loaded from; empty if nobody said."""
    value = read(root / "sys/firmware/efi/efivars" / BOOT_PARTITION)[4:]
    return value.decode("utf-16-le", "replace").strip("\0").lower()


def loader_disk(root: Path) -> str:
    """The kernel's name of the disk with that partition, once udev has seen it; else empty."""
    name = loader_partition(root)
    found = link_name(root / "dev/disk/by-partuuid" / name) if name else ""
    disks = names(root / "sys/block")
    return next((disk for disk in disks if found in names(root / "sys/block" / disk)), "")


def disk_name(root: Path, path: str) -> str:
    """The kernel's name of the disk at this path (a name below /dev/disk is followed)."""
    device = root / path.lstrip("/")
    return device.resolve().name if device.is_symlink() else device.name


def _mapped(root: Path) -> str:
    for name in names(root / "sys/block"):
        folder = root / "sys/block" / name / "dm"
        verity = text(folder / "uuid").startswith("CRYPT-VERITY-")
        if verity and text(folder / "name") == ROOT_NAME:
            return name
    return ""


def _label(folder: Path) -> str:
    for line in read(folder / "uevent").decode("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        if key == "PARTNAME":
            return value
    return ""
