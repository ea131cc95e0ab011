"""What a machine is: the frozen snapshot that a node sends and every planner reads.

The probe is `node.facts`; recorded snapshots lie in `examples/machines`. Every text comes from
hardware or a stranger's disk: capped here, escaped where it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = 1
TEXT_LIMIT = 200
LIST_LIMIT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A whole block device. `size` in bytes; `content` is what was found on it, empty = nothing."""

    path: str
    size: int
    model: str = ""
    serial: str = ""
    transport: str = ""
    """nvme, sata, usb, mmc, virtio, ..."""
    by_id: Sequence[str] = ()
    sector: int = 512
    removable: bool = False
    rotational: bool = False
    read_only: bool = False
    in_use: bool = False
    """Mounted, swap, or the medium that was booted."""
    content: Sequence[str] = ()
    """Partition and filesystem signatures, one short text each, such as `gpt` or `ntfs "Data"`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A network interface that is real hardware (or a VM's)."""

    name: str
    mac: str
    link: bool = False
    speed: int = 0
    """Mbit/s, 0 if unknown."""
    addresses: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tpm:
    """A TPM 2.0. `ek_hash` is hex SHA-256 of the endorsement key's public area, empty if unread."""

    version: str
    vendor: str = ""
    ek_hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A machine at one moment. Memory in bytes, clock in Unix seconds."""

    serial: str = ""
    vendor: str = ""
    product: str = ""
    uuid: str = ""
    arch: str = ""
    """As `uname -m`: x86_64, aarch64."""
    cpu: str = ""
    cores: int = 0
    memory: int = 0
    firmware: str = ""
    """`uefi`, `bios` or `devicetree`."""
    secure_boot: str = ""
    """`on`, `off`, `setup`, or empty where there is none."""
    tpm: Tpm | None = None
    disks: Sequence[Disk] = ()
    nics: Sequence[Nic] = ()
    medium: str = ""
    """Version of the booted medium."""
    mode: str = "live"
    """`live`, `installed` or `recovery`."""
    clock: int = 0
    schema: int = SCHEMA
    unknown: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Fields that a newer node sent and this version does not know."""

    def to_json(self) -> dict[str, Any]:
        body = asdict(self)
        del body["unknown"]
        return body
