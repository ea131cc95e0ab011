"""The disk that this system was started from, its partitions and its volumes. Reads only.

Labels and file systems are read from the disk itself by blkid(8): what udev remembers is older
than the last upgrade.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from node.plan.boot import MAPPED, OEM, BootFacts, Found
from node.plan.header import Header, read_header
from node.system.booted import booted, loader_disk, part, parts
from node.system.door import Door
from node.system.reading import number, read, text
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
    """What `plan_boot` needs. Waits for udev, so that device links are there.

    Raises errors.TwoInstallations.
    """
    run(
        ("udevadm", "settle", f"--timeout={SETTLE_SECONDS:g}"),
        seconds=SETTLE_SECONDS + 10,
        check=False,
    )
    _require_one(root)
    parts = partitions(root, run)
    return BootFacts(
        volumes=tuple(_volume(part, root, run) for part in parts if part.label in MAPPED),
        esp=next((part.device for part in parts if part.label == ESP_LABEL), ""),
        esp_mounted=is_mounted(root, "/boot"),
        tpm=text(root / "sys/class/tpm/tpm0/tpm_version_major") == "2",
        kept=kept_paths(root),
    )


def _require_one(root: Path) -> None:
    """The root is found by its partition's label, and a second disk with the same version has it
    too. Raises errors.TwoInstallations if that is whose root, or half of it, was taken."""
    loader, found = loader_disk(root), booted_disk(root)
    if loader and loader != found and part(root, loader, OEM):
        raise errors.TwoInstallations(f"Loaded from {loader}, its root from {found or 'both'}.")


def booted_disk(root: Path) -> str:
    """Kernel name of the disk that the root lies on, such as `vda`; empty if it is not known."""
    found = booted(root)
    return found.disk if found else ""


def partitions(root: Path, run: Door) -> tuple[PartitionFound, ...]:
    """All partitions of the booted disk, in their order."""
    disk = booted_disk(root)
    found = parts(root, disk) if disk else ()
    return tuple(_partition(one.device.name, root / "sys/block" / disk, run) for one in found)


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
        size=512 * number(folder / name / "size"),
    )


def _pairs(printed: str) -> Mapping[str, str]:
    lines = (line.partition("=") for line in printed.splitlines())
    return {name: value.replace("\\", "") for name, _, value in lines}


def _is_plain(path: str) -> bool:
    parts = path.split("/")
    return path.startswith("/") and len(parts) > 1 and not {"", ".", ".."} & set(parts[1:])
