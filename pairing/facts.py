"""What a machine is: the frozen snapshot that a node sends and every planner reads.

The probe is `node.facts`; recorded snapshots lie in `examples/machines`. Every text comes from
hardware or a stranger's disk: capped here, escaped where it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

SCHEMA = 1
TEXT_LIMIT = 200
LIST_LIMIT = 64
NUMBER_LIMIT = 2**53 - 1
UNKNOWN_LIMIT = 16
"""Unknown fields that are kept, each of at most `UNKNOWN_BYTES` as JSON."""
UNKNOWN_BYTES = 2048
UNREADABLE = "unreadable"
"""The content of a disk that could not be looked at: never to be taken for empty."""

T = TypeVar("T")


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
    booted: bool = False
    """The system that runs now was started from it."""
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
class Image:
    """The image on the booted medium, which an installation copies. Sizes in bytes.

    `root` is its file system, `verity` the hash tree, `kernel` one unified kernel image with its
    initrd. `roothash` is hex; `secure_boot` is what its recipe asks: `off`, `signed` or `enroll`.
    """

    version: str
    arch: str = ""
    """As `uname -m`."""
    root: int = 0
    verity: int = 0
    kernel: int = 0
    roothash: str = ""
    secure_boot: str = ""
    policies: bool = False
    """Its kernels carry signed policies by which a TPM knows them, and it has the key to these."""


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
    image: Image | None = None
    """What can be installed from it; None where nothing can."""
    mode: str = "live"
    """`live`, `installed` or `recovery`."""
    clock: int = 0
    schema: int = SCHEMA
    unknown: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Fields that a newer node sent and this version does not know."""

    def to_json(self) -> dict[str, Any]:
        """All fields, ready for `json.dumps`; `from_json` reads it back."""
        body = asdict(self)
        del body["unknown"]
        lists: dict[str, Any] = _lists(body)
        return lists


def from_json(body: object) -> Facts:
    """Read what `to_json` wrote, here or on a node that is older or newer.

    Absent fields take their defaults; unknown ones end up in `unknown` (at most `UNKNOWN_LIMIT`).
    Raises ValueError naming the field that has a wrong type, is too long or is missing.
    """
    if not isinstance(body, Mapping):
        raise ValueError("facts are not a map")
    return Facts(
        serial=_text(body, "serial"),
        vendor=_text(body, "vendor"),
        product=_text(body, "product"),
        uuid=_text(body, "uuid"),
        arch=_text(body, "arch"),
        cpu=_text(body, "cpu"),
        cores=_number(body, "cores"),
        memory=_number(body, "memory"),
        firmware=_text(body, "firmware"),
        secure_boot=_text(body, "secure_boot"),
        tpm=_tpm(body["tpm"], "tpm") if body.get("tpm") is not None else None,
        disks=_each(body, "disks", "", _disk),
        nics=_each(body, "nics", "", _nic),
        medium=_text(body, "medium"),
        image=_image(body["image"], "image") if body.get("image") is not None else None,
        mode=_text(body, "mode", default="live"),
        clock=_number(body, "clock"),
        schema=_number(body, "schema", default=SCHEMA),
        unknown=_unknown(body),
    )


def _disk(body: object, where: str) -> Disk:
    disk = _map(body, where)
    return Disk(
        path=_text(disk, "path", where, required=True),
        size=_number(disk, "size", where, required=True),
        model=_text(disk, "model", where),
        serial=_text(disk, "serial", where),
        transport=_text(disk, "transport", where),
        by_id=_each(disk, "by_id", where, _plain_text),
        sector=_number(disk, "sector", where, default=512),
        removable=_flag(disk, "removable", where),
        rotational=_flag(disk, "rotational", where),
        read_only=_flag(disk, "read_only", where),
        in_use=_flag(disk, "in_use", where),
        booted=_flag(disk, "booted", where),
        content=_each(disk, "content", where, _plain_text),
    )


def _nic(body: object, where: str) -> Nic:
    nic = _map(body, where)
    return Nic(
        name=_text(nic, "name", where, required=True),
        mac=_text(nic, "mac", where, required=True),
        link=_flag(nic, "link", where),
        speed=_number(nic, "speed", where),
        addresses=_each(nic, "addresses", where, _plain_text),
    )


def _tpm(body: object, where: str) -> Tpm:
    tpm = _map(body, where)
    return Tpm(
        version=_text(tpm, "version", where, required=True),
        vendor=_text(tpm, "vendor", where),
        ek_hash=_text(tpm, "ek_hash", where),
    )


def _image(body: object, where: str) -> Image:
    image = _map(body, where)
    return Image(
        version=_text(image, "version", where, required=True),
        arch=_text(image, "arch", where),
        root=_number(image, "root", where),
        verity=_number(image, "verity", where),
        kernel=_number(image, "kernel", where),
        roothash=_text(image, "roothash", where),
        secure_boot=_text(image, "secure_boot", where),
        policies=_flag(image, "policies", where),
    )


def _unknown(body: Mapping[str, Any]) -> dict[str, Any]:
    known = {f.name for f in fields(Facts)} - {"unknown"}
    strange = [key for key in body if key not in known]
    if len(strange) > UNKNOWN_LIMIT:
        raise ValueError(f"facts have more than {UNKNOWN_LIMIT} unknown fields")
    for key in strange:
        if len(key) > TEXT_LIMIT:
            raise ValueError("facts have an unknown field with a long name")
        if len(json.dumps(body[key])) > UNKNOWN_BYTES:
            raise ValueError(f"facts field {key} is unknown and larger than {UNKNOWN_BYTES} bytes")
    return {key: body[key] for key in strange}


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, (tuple, list)) else value


def _name(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _map(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"facts field {where} is not a map")
    return value


def _plain_text(value: object, where: str) -> str:
    if not isinstance(value, str) or len(value) > TEXT_LIMIT:
        raise ValueError(f"facts field {where} is not a text of at most {TEXT_LIMIT} characters")
    return value


def _value(body: Mapping[str, Any], key: str, where: str, default: Any, required: bool) -> Any:
    if required and key not in body:
        raise ValueError(f"facts lack {_name(where, key)}")
    return body.get(key, default)


def _text(
    body: Mapping[str, Any], key: str, where: str = "", *, default: str = "", required: bool = False
) -> str:
    return _plain_text(_value(body, key, where, default, required), _name(where, key))


def _number(
    body: Mapping[str, Any], key: str, where: str = "", *, default: int = 0, required: bool = False
) -> int:
    value = _value(body, key, where, default, required)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= NUMBER_LIMIT:
        raise ValueError(
            f"facts field {_name(where, key)} is not a whole number from 0 to 2^53 - 1"
        )
    return value


def _flag(body: Mapping[str, Any], key: str, where: str) -> bool:
    value = body.get(key, False)
    if not isinstance(value, bool):
        raise ValueError(f"facts field {_name(where, key)} is not true or false")
    return value


def _each(
    body: Mapping[str, Any], key: str, where: str, read: Callable[[object, str], T]
) -> tuple[T, ...]:
    values = body.get(key, ())
    name = _name(where, key)
    if not isinstance(values, (list, tuple)) or len(values) > LIST_LIMIT:
        raise ValueError(f"facts field {name} is not a list of at most {LIST_LIMIT}")
    return tuple(read(value, f"{name}[{index}]") for index, value in enumerate(values))


# --- for people ---------------------------------------------------------------------------------


def facts_text(facts: Facts) -> list[str]:
    """The machine in a few lines for people. Whoever prints them escapes control characters."""
    lines = [
        _line("machine", machine_name(facts)),
        _line("serial", facts.serial or "unknown"),
        _line("cpu", f"{facts.cpu or 'unknown'}, {facts.cores} cores, {facts.arch or 'unknown'}"),
        _line("memory", binary_size(facts.memory)),
        _line("firmware", _firmware(facts)),
        _line("tpm", _tpm_text(facts.tpm)),
    ]
    lines += [_line("disk", disk_text(disk)) for disk in facts.disks] or [_line("disk", "none")]
    lines += [_line("network", _nic_text(nic)) for nic in facts.nics] or [_line("network", "none")]
    lines += [_line("booted", f"{facts.mode} {facts.medium}".strip())]
    return lines


def machine_name(facts: Facts) -> str:
    """Vendor and product; many makers put their name into both."""
    if facts.product.lower().startswith(facts.vendor.lower()):
        return facts.product or "unknown"
    return " ".join(filter(None, (facts.vendor, facts.product)))


def disk_text(disk: Disk) -> str:
    """One disk in one line: path, size, model, what is on it, why it is not to be touched."""
    states = {
        "in use": disk.in_use,
        "removable": disk.removable,
        "read-only": disk.read_only,
    }
    notes = [name for name, holds in states.items() if holds]
    if UNREADABLE in disk.content:
        notes.append("content could not be read")
    elif disk.content:
        notes.append("holds " + ", ".join(disk.content))
    else:
        notes.append("empty")
    about = [decimal_size(disk.size), disk.transport, disk.model]
    serial = f" (serial {disk.serial})" if disk.serial else ""
    return f"{disk.path} {' '.join(filter(None, about))}{serial}: {'; '.join(notes)}"


def decimal_size(size: int) -> str:
    """Bytes as disks are sold: 256 GB, 1.0 TB."""
    for factor, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if size >= factor:
            return f"{size / factor:.{1 if size < 10 * factor else 0}f} {unit}"
    return f"{size} B"


def binary_size(size: int) -> str:
    """Bytes as memory and partitions are counted: 7.6 GiB, 512 MiB."""
    for factor, unit in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB")):
        if size >= factor:
            whole = size % factor == 0 or size >= 100 * factor
            return f"{size / factor:.{0 if whole else 1}f} {unit}"
    return f"{size} B"


def _line(label: str, text: str) -> str:
    return f"{label:<9} {text}"


def _firmware(facts: Facts) -> str:
    names = {"uefi": "UEFI", "bios": "BIOS", "devicetree": "device tree"}
    secure = f", Secure Boot {facts.secure_boot}" if facts.secure_boot else ""
    return names.get(facts.firmware, facts.firmware or "unknown") + secure


def _tpm_text(tpm: Tpm | None) -> str:
    if tpm is None:
        return "none"
    key = f", endorsement key {tpm.ek_hash[:16]}" if tpm.ek_hash else ""
    return " ".join(filter(None, (tpm.version, tpm.vendor))) + key


def _nic_text(nic: Nic) -> str:
    if not nic.link:
        return f"{nic.name} {nic.mac}: no cable"
    speed = f"{nic.speed} Mbit/s" if nic.speed else "link"
    return f"{nic.name} {nic.mac}: {', '.join((speed, *nic.addresses))}"
