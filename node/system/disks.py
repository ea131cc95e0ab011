"""The machine's disks as lsblk(8), wipefs(8) and the kernel see them. Reads only.

Two rules keep data safe. A disk counts as in use if any of three sources says so: lsblk, the mount
table with the swaps, or the kernel's holders. A disk whose content could not be looked at counts
as `unreadable`, never as empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from node.plan.slots import EMPTY
from node.system.board import mode
from node.system.booted import booted as running_root
from node.system.booted import loader_partition
from node.system.reading import Run, link_name, names, output, read, short, text
from pairing.facts import LIST_LIMIT, UNREADABLE, Disk

LSBLK_SECONDS = 20.0
WIPEFS_SECONDS = 20.0
COLUMNS = (
    "NAME,PATH,TYPE,SIZE,MODEL,SERIAL,TRAN,LOG-SEC,RM,ROTA,RO,MAJ:MIN,MOUNTPOINTS,"
    "FSTYPE,LABEL,PARTLABEL,PARTTYPENAME,PARTUUID,PTTYPE,SUBSYSTEMS"
)
LSBLK = ("lsblk", "--json", "--bytes", "--output", COLUMNS)
RECOVERY_PARTS = ("KR_ESP", "kr_recovery", "kr_recovery_v")
VOLUMES = ("KR_OEM", "KR_PERSISTENT")
_NOT_DISKS = re.compile(r"(?:zram|ram|loop|fd|sr|nbd|mtdblock)\d+|mmcblk\d+(?:boot\d+|rpmb)")
_STACKED = frozenset({"crypt", "lvm", "dm", "mpath"})

Row = Mapping[str, Any]


def disks(root: Path, run: Run) -> tuple[Disk, ...]:
    """All real disks, by path; none if lsblk is missing or fails."""
    printed = output(run, LSBLK, seconds=LSBLK_SECONDS)
    rows = [row for row in _rows(printed) if _is_disk(row)]
    mounted = _mounted(root)
    booted = loader_partition(root)
    links = _links(root)
    found = [_disk(row, root, run, mounted, booted, links) for row in rows]
    if (running := running_root(root)) is not None:
        own = f"/dev/{running.disk}"
        found = [replace(disk, booted=disk.path == own) for disk in found]
        blank = {short(row.get("path")) for row in rows if _is_reset(row)}
        if own in blank and mode(root) == "recovery":
            found = [replace(one, content=()) if one.booted else one for one in found]
    return tuple(sorted(found, key=lambda disk: disk.path)[:LIST_LIMIT])


def _disk(
    row: Row,
    root: Path,
    run: Run,
    mounted: frozenset[str],
    booted: str,
    links: Mapping[str, tuple[str, ...]],
) -> Disk:
    name = short(row.get("name"))
    path = short(row.get("path")) or f"/dev/{name}"
    return Disk(
        path=path,
        size=_number(row, "size"),
        model=short(row.get("model")),
        serial=short(row.get("serial")),
        transport=_transport(row),
        by_id=links.get(name, ()),
        sector=_number(row, "log-sec") or 512,
        removable=_flag(row, "rm") or _is_card(root, name),
        rotational=_flag(row, "rota"),
        read_only=_flag(row, "ro"),
        in_use=_in_use(row, root, mounted, booted),
        content=_content(row, path, run),
    )


def _is_card(root: Path, name: str) -> bool:
    """A memory card, not a soldered eMMC. lsblk's HOTPLUG says the same of both."""
    return text(root / "sys/block" / name / "device/type") in ("SD", "SDIO", "SDcombo")


# --- in use -------------------------------------------------------------------------------------


def _in_use(row: Row, root: Path, mounted: frozenset[str], booted: str) -> bool:
    disk = short(row.get("name"))
    for part in _tree(row):
        name = short(part.get("name"))
        where = root / "sys/block" / disk
        points = part.get("mountpoints")
        folder = where / "holders" if name == disk else where / name / "holders"
        if any(
            (
                any(points) if isinstance(points, list) else points,
                part.get("type") in _STACKED or str(part.get("type")).startswith("raid"),
                short(part.get("maj:min")) in mounted or short(part.get("path")) in mounted,
                names(folder),
                booted and short(part.get("partuuid")).lower() == booted,
            )
        ):
            return True
    return False


def _mounted(root: Path) -> frozenset[str]:
    """Device numbers of mounts (proc_pid_mountinfo(5)) and paths of swaps."""
    mounts = read(root / "proc/self/mountinfo").decode("utf-8", "replace").splitlines()
    swaps = read(root / "proc/swaps").decode("utf-8", "replace").splitlines()[1:]
    numbers = {fields[2] for line in mounts if len(fields := line.split()) > 2}
    return frozenset(numbers | {fields[0] for line in swaps if (fields := line.split())})


# --- content ------------------------------------------------------------------------------------


def _content(row: Row, path: str, run: Run) -> tuple[str, ...]:
    """What udev told lsblk, and what wipefs finds itself: both, for either may know less."""
    found = list(_told(row))
    probed = output(run, ("wipefs", "--json", "--no-act", path), seconds=WIPEFS_SECONDS)
    if probed is None:
        found += [] if found else [UNREADABLE]
    else:
        found += [one for one in _signatures(probed) if one not in found]
    return tuple(short(one) for one in found[:LIST_LIMIT])


def _told(row: Row) -> Iterator[str]:
    if row.get("pttype"):
        yield short(row["pttype"])
    for part in _tree(row):
        if part.get("type") in _STACKED:
            continue  # its partition says it: open or closed, a volume is the same content
        kind, label = short(part.get("fstype")), short(part.get("label"))
        if kind:
            yield f'{kind} "{label}"' if label else kind
        elif part is not row and part.get("type") == "part":
            about = short(part.get("partlabel")) or short(part.get("parttypename"))
            yield f"partition ({about})" if about else "partition"


def _signatures(printed: str) -> Iterator[str]:
    for signature in _list(_json(printed), "signatures"):
        kind, label = short(signature.get("type")), short(signature.get("label"))
        if kind and kind != "PMBR":
            yield f'{kind} "{label}"' if label else kind


def _is_reset(row: Row) -> bool:
    """Whether a disk of ours holds nothing but its recovery system, as a reset leaves it."""
    parts = [part for part in _tree(row) if part.get("type") == "part"]
    labels = [short(part.get("partlabel")) for part in parts]
    return set(labels) == {*RECOVERY_PARTS, *VOLUMES, EMPTY} and not any(
        label in VOLUMES and part.get("fstype") for label, part in zip(labels, parts, strict=True)
    )


# --- lsblk's rows -------------------------------------------------------------------------------


def _rows(printed: str | None) -> list[Row]:
    return _list(_json(printed or ""), "blockdevices")


def _is_disk(row: Row) -> bool:
    name = short(row.get("name"))
    real = row.get("type") == "disk" and not _NOT_DISKS.fullmatch(name)
    return bool(name) and real and _number(row, "size") > 0


def _tree(row: Row, depth: int = 0) -> Iterator[Row]:
    yield row
    for child in _list(row, "children") if depth < 16 else ():
        yield from _tree(child, depth + 1)


def _transport(row: Row) -> str:
    told = short(row.get("tran"))
    if told:
        return told
    subsystems = short(row.get("subsystems")).split(":")
    return next((one for one in ("usb", "virtio", "mmc", "nvme") if one in subsystems), "")


def _links(root: Path) -> dict[str, tuple[str, ...]]:
    """Names below /dev/disk/by-id for every kernel name. WWN-like names come last."""
    links: dict[str, tuple[str, ...]] = {}
    opaque = ("wwn-", "nvme-eui", "nvme-uuid", "nvme-nvme.")
    by_id = sorted(names(root / "dev/disk/by-id"), key=lambda name: (name.startswith(opaque), name))
    for name in by_id:
        target = link_name(root / "dev/disk/by-id" / name)
        links[target] = (*links.get(target, ()), short(f"/dev/disk/by-id/{name}"))[:LIST_LIMIT]
    return links


def _json(printed: str) -> object:
    try:
        return json.loads(printed)
    except (ValueError, RecursionError):
        return None


def _list(body: object, key: str) -> list[Row]:
    values = body.get(key) if isinstance(body, Mapping) else None
    return [one for one in values if isinstance(one, Mapping)] if isinstance(values, list) else []


def _number(row: Row, key: str) -> int:
    # Older lsblk writes numbers as text.
    value = row.get(key)
    try:
        return max(0, int(value)) if isinstance(value, (int, str)) else 0
    except ValueError:
        return 0


def _flag(row: Row, key: str) -> bool:
    return row.get(key) in (True, "1", 1)
