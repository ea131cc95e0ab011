"""The disk that this system was started from, its partitions and its volumes. Reads only.

Labels and file systems are read from the disk itself by blkid(8): what udev remembers is older
than the last upgrade.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from node.plan.boot import MAPPED, BootFacts, Found
from node.plan.header import Header, read_header
from node.system.disks import boot_partition
from node.system.door import Door
from node.system.reading import link_name, names, read, text
from pairing import errors

BLKID_SECONDS = 20.0
SETTLE_SECONDS = 60.0
DUMP_SECONDS = 20.0
KEPT_FILE = "usr/lib/kairos-register/persistent.conf"
ESP_LABEL = "KR_ESP"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionFound:
    """A partition as blkid sees it: device path, GPT label and id, what is in it. Size in bytes."""

    device: str
    label: str
    partition: str
    filesystem: str = ""
    uuid: str = ""
    size: int = 0


def boot_facts(root: Path, run: Door) -> BootFacts:
    """What `plan_boot` needs. Waits for udev, so that device links are there."""
    run(
        ("udevadm", "settle", f"--timeout={SETTLE_SECONDS:g}"),
        seconds=SETTLE_SECONDS + 10,
        check=False,
    )
    parts = partitions(root, run)
    return BootFacts(
        volumes=tuple(_volume(part, root, run) for part in parts if part.label in MAPPED),
        esp=next((part.device for part in parts if part.label == ESP_LABEL), ""),
        esp_mounted=is_mounted(root, "/boot"),
        tpm=text(root / "sys/class/tpm/tpm0/tpm_version_major") == "2",
        kept=kept_paths(root),
    )


def booted_disk(root: Path) -> str:
    """Kernel name of the disk whose loader was started, such as `vda`; empty if it is not known.

    The firmware's variable comes first: with two alike disks it is the only thing that tells them
    apart. Without it, the disk that the root file system lies on.
    """
    name = link_name(root / "dev/disk/by-partuuid" / (boot_partition(root) or "none"))
    candidates = (name, *_root_devices(root))
    return next((disk for one in candidates if (disk := _disk_of(root, one))), "")


def partitions(root: Path, run: Door) -> tuple[PartitionFound, ...]:
    """All partitions of the booted disk, in their order."""
    disk = booted_disk(root)
    folder = root / "sys/class/block" / disk
    found = [name for name in names(folder) if (folder / name / "partition").is_file()]
    found.sort(key=lambda name: int(text(folder / name / "partition") or 0))
    return tuple(_partition(name, folder, run) for name in found) if disk else ()


def kept_paths(root: Path) -> tuple[str, ...]:
    """The paths of persistent.conf; lines that are no plain absolute path are left out."""
    lines = read(root / KEPT_FILE).decode("utf-8", "replace").splitlines()
    paths = (line.partition("#")[0].strip().rstrip("/") for line in lines)
    return tuple(dict.fromkeys(path for path in paths if _is_plain(path)))


def is_mounted(root: Path, where: str) -> bool:
    """Whether something is mounted there (proc_pid_mountinfo(5)); an automount counts."""
    lines = read(root / "proc/self/mountinfo").decode("utf-8", "replace").splitlines()
    return any(len(fields := line.split()) > 4 and fields[4] == where for line in lines)


def header_of(device: str, run: Door) -> Header | None:
    """The LUKS2 header's tokens; None if there is none that can be read."""
    argv = ("cryptsetup", "luksDump", "--dump-json-metadata", device)
    try:
        return read_header(run(argv, seconds=DUMP_SECONDS).stdout)
    except (errors.MissingError, ValueError):
        return None


def _volume(part: PartitionFound, root: Path, run: Door) -> Found:
    encrypted = part.filesystem == "crypto_LUKS"
    return Found(
        label=part.label,
        device=part.device,
        filesystem=part.filesystem,
        header=header_of(part.device, run) if encrypted else None,
        uuid=part.uuid,
        is_open=(root / "dev/mapper" / MAPPED[part.label]).exists(),
    )


def _partition(name: str, folder: Path, run: Door) -> PartitionFound:
    device = f"/dev/{name}"
    # Low-level: from the disk, not from a cache. 2 = nothing found, 8 = contradictory signatures.
    told = _pairs(
        run(
            ("blkid", "--probe", "--output", "export", device), seconds=BLKID_SECONDS, check=False
        ).text()
    )
    return PartitionFound(
        device=device,
        label=told.get("PART_ENTRY_NAME", ""),
        partition=told.get("PART_ENTRY_UUID", ""),
        filesystem=told.get("TYPE", ""),
        uuid=told.get("UUID", ""),
        size=512 * int(text(folder / name / "size") or 0),
    )


def _pairs(printed: str) -> Mapping[str, str]:
    lines = (line.partition("=") for line in printed.splitlines())
    return {name: value.replace("\\", "") for name, _, value in lines}


def _root_devices(root: Path) -> Iterator[str]:
    """Kernel names below the root file system: of a dm-verity device its data partition."""
    for line in read(root / "proc/self/mountinfo").decode("utf-8", "replace").splitlines():
        fields = line.split()
        if len(fields) > 4 and fields[4] == "/":
            device = root / "sys/dev/block" / fields[2]
            yield from names(device / "slaves") or [device.resolve().name]


def _disk_of(root: Path, partition: str) -> str:
    """The disk of a partition: its parent in sysfs; empty if it is none."""
    device = root / "sys/class/block" / partition
    if not partition or not (device / "partition").is_file():
        return ""
    return device.resolve().parent.name


def _is_plain(path: str) -> bool:
    parts = path.split("/")
    return path.startswith("/") and len(parts) > 1 and not {"", ".", ".."} & set(parts[1:])
