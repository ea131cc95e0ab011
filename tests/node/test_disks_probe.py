"""Disks as the probe sees them: in use, content and kind, each mistake of which could cost data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from node.system.booted import BOOT_PARTITION
from node.system.disks import disks
from pairing.facts import UNREADABLE, Disk
from pairing.testing.recorded_tools import RecordedTools as Tools
from pairing.testing.recorded_tools import plant


def lsblk(*rows: Mapping[str, Any]) -> str:
    return json.dumps({"blockdevices": list(rows)})


def row(name: str = "sda", **more: Any) -> dict[str, Any]:
    base = {"name": name, "path": f"/dev/{name}", "type": "disk", "size": 256 * 10**9}
    return {**base, "mountpoints": [None], "maj:min": "8:0", **more}


def part(name: str = "sda1", **more: Any) -> dict[str, Any]:
    return row(name, **{"type": "part", "maj:min": "8:1", **more})


NOTHING_FOUND = ""
"""What wipefs prints for a blank device."""


def one_disk(root: Path, *rows: Mapping[str, Any], wipefs: str | None = NOTHING_FOUND) -> Disk:
    found = disks(root, Tools({"lsblk": lsblk(*rows), "wipefs": wipefs}))
    assert len(found) == 1
    return found[0]


# --- in use: each source alone is enough ----------------------------------------------------------


def test_a_blank_disk_is_free_and_empty(tmp_path: Path) -> None:
    """The control for all that follows."""
    disk = one_disk(tmp_path, row())
    assert (disk.in_use, disk.removable, disk.content) == (False, False, ())


IN_USE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mounted": (row(mountpoints=["/"]), {}),
    "partition mounted": (row(children=[part(mountpoints=["/run/live"])]), {}),
    "swap": (row(children=[part(mountpoints=["[SWAP]"])]), {}),
    "mount table only": (
        row(children=[part()]),
        {"proc/self/mountinfo": "22 1 8:1 / /data rw,relatime shared:1 - ext4 /dev/x rw\n"},
    ),
    "swaps only": (
        row(children=[part()]),
        {"proc/swaps": "Filename Type Size Used Priority\n/dev/sda1 partition 1 0 -2\n"},
    ),
    "device mapper": (row(children=[part(children=[row("dm-0", type="crypt")])]), {}),
    "raid": (row(children=[part(children=[row("md0", type="raid1")])]), {}),
    "held, whole": (row(), {"sys/block/sda/holders/dm-0": {"folder": True}}),
    "held, part": (
        row(children=[part()]),
        {"sys/block/sda/sda1/holders/bcache0": {"folder": True}},
    ),
    "booted from, not mounted": (
        row(children=[part(partuuid="0A1B2C3D-0000-4000-8000-000000000001")]),
        {
            f"sys/firmware/efi/efivars/{BOOT_PARTITION}": {
                "hex": "06000000"
                + "0a1b2c3d-0000-4000-8000-000000000001\0".encode("utf-16-le").hex()
            }
        },
    ),
}


@pytest.mark.parametrize("case", IN_USE)
def test_in_use(tmp_path: Path, case: str) -> None:
    told, tree = IN_USE[case]
    assert one_disk(plant(tmp_path, tree), told).in_use


def test_a_neighbour_in_use_is_no_reason(tmp_path: Path) -> None:
    _, tree = IN_USE["booted from, not mounted"]
    plant(tmp_path, {**tree, "proc/self/mountinfo": "22 1 8:17 / / rw - ext4 /dev/sdb1 rw\n"})
    children = [part(partuuid="ffffffff-0000-4000-8000-000000000001")]
    assert not one_disk(tmp_path, row(children=children)).in_use


# --- content: never empty by mistake --------------------------------------------------------------

SIGNATURES = json.dumps(
    {
        "signatures": [
            {"device": "sda", "offset": "0x200", "type": "gpt", "uuid": None, "label": None},
            {"device": "sda", "offset": "0x1fe", "type": "PMBR", "uuid": None, "label": None},
            {"device": "sda", "offset": "0x438", "type": "ext4", "uuid": "x", "label": "old"},
        ]
    }
)


@pytest.mark.parametrize(
    ("told", "wipefs", "content"),
    [
        (row(), SIGNATURES, ("gpt", 'ext4 "old"')),
        (row(pttype="gpt"), SIGNATURES, ("gpt", 'ext4 "old"')),
        (row(fstype="ntfs", label="Data"), None, ('ntfs "Data"',)),
        (row(), None, (UNREADABLE,)),
        (
            row(pttype="gpt", children=[part(fstype="vfat"), part("sda2", partlabel="Microsoft")]),
            NOTHING_FOUND,
            ("gpt", "vfat", "partition (Microsoft)"),
        ),
        (row(children=[part(parttypename="Linux LVM")]), None, ("partition (Linux LVM)",)),
        (row(children=[part()]), NOTHING_FOUND, ("partition",)),
    ],
)
def test_content(
    tmp_path: Path, told: dict[str, Any], wipefs: str | None, content: tuple[str, ...]
) -> None:
    assert one_disk(tmp_path, told, wipefs=wipefs).content == content


def test_wipefs_is_only_ever_asked_not_to_act(tmp_path: Path) -> None:
    tools = Tools({"lsblk": lsblk(row(), row("sdb")), "wipefs": NOTHING_FOUND})
    disks(tmp_path, tools)
    wipes = [argv for argv in tools.asked if argv[0] == "wipefs"]
    assert len(wipes) == 2
    assert all("--no-act" in argv and "--all" not in argv for argv in wipes)


# --- which devices are disks ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [
        row("zram0"), row("loop0"), row("ram3"), row("sr0"), row("fd0"), row("nbd1"),
        row("mmcblk0boot0"), row("mmcblk0boot1"), row("mmcblk0rpmb"),
        row("sda", size=0), row("sda", type="rom"), row("", path=None),
    ],
)  # fmt: skip
def test_not_a_disk(tmp_path: Path, told: dict[str, Any]) -> None:
    assert disks(tmp_path, Tools({"lsblk": lsblk(told), "wipefs": ""})) == ()


@pytest.mark.parametrize(
    ("told", "tree", "removable", "transport"),
    [
        (row(tran="sata"), {}, False, "sata"),
        (row(rm=True), {}, True, ""),
        (row(rm="1"), {}, True, ""),
        (row(tran="usb", rm=False), {}, False, "usb"),
        (row(tran="usb", rm=True), {}, True, "usb"),
        (row("vda", subsystems="block:virtio:pci"), {}, False, "virtio"),
        (
            row("mmcblk0", subsystems="block:mmc:mmc_host:pci"),
            {"sys/block/mmcblk0/device/type": "MMC\n"},
            False,
            "mmc",
        ),
        (
            row("mmcblk0", subsystems="block:mmc:mmc_host:platform"),
            {"sys/block/mmcblk0/device/type": "SD\n"},
            True,
            "mmc",
        ),
    ],
)
def test_removable_and_transport(
    tmp_path: Path, told: dict[str, Any], tree: dict[str, Any], removable: bool, transport: str
) -> None:
    disk = one_disk(plant(tmp_path, tree), told)
    assert (disk.removable, disk.transport) == (removable, transport)


def test_by_id_names_readable_ones_first_and_no_partitions(tmp_path: Path) -> None:
    links = {
        "wwn-0x5002538e4034c1aa": "../../sda",
        "ata-Samsung_SSD_860": "../../sda",
        "ata-Samsung_SSD_860-part1": "../../sda1",
        "usb-Stick": "../../sdb",
    }
    tree = {f"dev/disk/by-id/{name}": {"link": target} for name, target in links.items()}
    assert one_disk(plant(tmp_path, tree), row()).by_id == (
        "/dev/disk/by-id/ata-Samsung_SSD_860",
        "/dev/disk/by-id/wwn-0x5002538e4034c1aa",
    )


# --- a disk that was reset ------------------------------------------------------------------------

RESET = (
    *(("KR_ESP", "vfat"), ("KR_OEM", None), ("_empty", "squashfs"), ("_empty", "DM_verity_hash")),
    *(("kr_recovery", "squashfs"), ("kr_recovery_v", "DM_verity_hash"), ("KR_PERSISTENT", None)),
)


def in_recovery(root: Path, parts: Any = RESET, mode: str = "recovery") -> Disk:
    """The recovery system of `vda`, whose partitions have these labels and file systems."""
    words = "systemd.verity_root_{}=PARTLABEL={}"
    data, hashes = words.format("data", "kr_recovery"), words.format("hash", "kr_recovery_v")
    tree: dict[str, Any] = {
        "proc/cmdline": f"kairos.mode={mode} {data} {hashes}\n",
        "sys/block/dm-0/dm/name": "root\n",
        "sys/block/dm-0/dm/uuid": "CRYPT-VERITY-0-root\n",
    }
    rows = []
    for number, (label, kind) in enumerate(parts, start=1):
        name = f"vda{number}"
        tree[f"sys/block/vda/{name}/partition"] = f"{number}\n"
        tree[f"sys/block/vda/{name}/uevent"] = f"PARTNAME={label}\n"
        if label.startswith("kr_recovery"):
            tree[f"sys/block/dm-0/slaves/{name}/size"] = "1"
        rows.append(part(name, partlabel=label, fstype=kind))
    return one_disk(plant(root, tree), row("vda", pttype="gpt", children=rows))


def test_a_disk_that_was_reset_is_empty_for_its_own_recovery_system(tmp_path: Path) -> None:
    disk = in_recovery(tmp_path)
    assert (disk.booted, disk.content) == (True, ())


@pytest.mark.parametrize(
    "parts",
    [
        [(label, "crypto_LUKS" if label == "KR_PERSISTENT" else kind) for label, kind in RESET],
        [("kr_root_1.0.0" if kind == "squashfs" else label, kind) for label, kind in RESET],
        [*RESET, ("photos", "ext4")],
        RESET[:-1],
    ],
    ids=["kept data", "an old system", "something else", "a volume is missing"],
)
def test_anything_more_is_content(tmp_path: Path, parts: Any) -> None:
    assert in_recovery(tmp_path, parts).content != ()


def test_from_a_stick_it_is_a_disk_with_a_system(tmp_path: Path) -> None:
    assert in_recovery(tmp_path, mode="live").content != ()


def test_an_opened_volume_is_no_further_content(tmp_path: Path) -> None:
    """A repair session has it open: the disk holds the same as when it was looked at before."""
    closed = row(children=[part(fstype="crypto_LUKS")])
    opened = row(
        children=[part(fstype="crypto_LUKS", children=[row("dm-1", type="crypt", fstype="ext4")])]
    )
    assert one_disk(tmp_path, opened).content == one_disk(tmp_path, closed).content != ()
