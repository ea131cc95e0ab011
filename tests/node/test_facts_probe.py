"""The probe on recorded machines: what the tools said and the kernel's files, replayed.

`tests/data/tools/<tool>-<version>/<machine>` is what a tool printed there; `linux-<version>` holds
the kernel's files as JSON. The `qemu-*` ones were recorded in a virtual machine by these commands.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.facts import Probe
from node.system import board
from node.system.disks import BOOT_PARTITION, disks
from node.system.nics import nics
from node.system.tpm import tpm
from pairing import errors
from pairing.facts import UNREADABLE, Disk, Facts, from_json
from pairing.process import Result

TOOLS = Path(__file__).parents[1] / "data/tools"


@dataclass
class Tools:
    """Answers of programs by their name, or by name and last argument. A missing one is missing."""

    answers: Mapping[str, str | bytes | None] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], *, seconds: float, check: bool = True) -> Result:
        assert 0 < seconds <= 60
        self.asked.append(tuple(argv))
        name = argv[0]
        answer = self.answers.get(f"{name} {argv[-1]}", self.answers.get(name, None))
        if answer is None:
            raise errors.CommandMissing(element=name)
        data = answer.encode() if isinstance(answer, str) else answer
        if name == "tpm2_createek":
            Path(argv[-1]).write_bytes(data)
        return Result(0, data, b"")


def plant(root: Path, tree: Mapping[str, Any]) -> Path:
    """Make files below `root`: a text, {"hex": ...}, {"link": target} or {"folder": true}."""
    for name, what in tree.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, str):
            path.write_text(what)
        elif "hex" in what:
            path.write_bytes(bytes.fromhex(what["hex"]))
        elif "link" in what:
            path.symlink_to(what["link"])
        else:
            path.mkdir(exist_ok=True)
    return root


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["blockdevices", "name", "path", "type", "size", "children", "tran",
                             "mountpoints", "signatures", "addr_info", "ifname", "maj:min"]),
            inner | st.just("disk") | st.just("part"),
        )
    ),
    max_leaves=12,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=JSON, second=JSON, noise=st.binary(max_size=40))
def test_odd_tools_never_raise(tmp_path: Path, first: Any, second: Any, noise: bytes) -> None:
    devices = json.dumps({"blockdevices": [{"type": "disk", "name": "sda", "size": 1}, first]})
    for answers in (
        {"lsblk": devices, "wipefs": json.dumps(second), "ip": json.dumps(first)},
        {"lsblk": noise, "wipefs": noise, "ip": noise, "uname": noise, "tpm2_getcap": noise},
        {"lsblk": json.dumps(first)},
    ):
        found = Probe(tmp_path, Tools(answers), lambda: -1.0).facts()
        assert from_json(json.loads(json.dumps(found.to_json()))) == found


# --- the rest of the machine ----------------------------------------------------------------------

DMI = "sys/class/dmi/id"


def test_identity_from_smbios_without_what_makers_leave_in(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            f"{DMI}/product_serial": "To Be Filled By O.E.M.\n",
            f"{DMI}/board_serial": "MB-77\n",
            f"{DMI}/sys_vendor": "System manufacturer\n",
            f"{DMI}/board_vendor": "ASRock\n",
            f"{DMI}/product_name": "N100DC-ITX  \n",
            f"{DMI}/product_uuid": "A0C4E9D2-38B1-11EB-8F2E-80E82C1F6B5D\n",
        },
    )
    uuid = "a0c4e9d2-38b1-11eb-8f2e-80e82c1f6b5d"
    expected = board.Identity(serial="MB-77", vendor="ASRock", product="N100DC-ITX", uuid=uuid)
    assert board.identity(tmp_path) == expected


def test_identity_from_the_device_tree(tmp_path: Path) -> None:
    tree = "proc/device-tree"
    plant(
        tmp_path,
        {
            f"{tree}/model": {"hex": b"Raspberry Pi 4 Model B Rev 1.4\0".hex()},
            f"{tree}/serial-number": {"hex": b"10000000a3d6f0b1\0".hex()},
            f"{tree}/compatible": {"hex": b"raspberrypi,4-model-b\0brcm,bcm2711\0".hex()},
        },
    )
    found = board.identity(tmp_path)
    assert (found.serial, found.vendor) == ("10000000a3d6f0b1", "raspberrypi")
    assert found.product == "Raspberry Pi 4 Model B Rev 1.4"
    assert board.firmware(tmp_path, "aarch64") == "devicetree"


@pytest.mark.parametrize(
    ("secure", "setup", "said"),
    [
        (None, None, ""),
        ("01", "00", "on"),
        ("00", "00", "off"),
        ("00", "01", "setup"),
        ("", "", ""),
    ],
)
def test_secure_boot(tmp_path: Path, secure: str | None, setup: str | None, said: str) -> None:
    folder = "sys/firmware/efi/efivars"
    values = {"SecureBoot": secure, "SetupMode": setup}
    tree = {
        f"{folder}/{name}-{board.EFI_GLOBAL}": {"hex": "06000000" + value}
        for name, value in values.items()
        if value is not None
    }
    assert board.secure_boot(plant(tmp_path, tree)) == said


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        ("quiet kairos.mode=recovery console=ttyS0", "recovery"),
        ("kairos.mode=installed", "installed"),
        ("kairos.mode=other", "live"),
        ('unclosed="', "live"),
        ("", "live"),
    ],
)
def test_mode(tmp_path: Path, line: str, mode: str) -> None:
    assert board.mode(plant(tmp_path, {"proc/cmdline": line + "\n"})) == mode


def test_medium(tmp_path: Path) -> None:
    assert board.medium(tmp_path) == ""
    plant(tmp_path, {"etc/os-release": 'ID=debian\nIMAGE_VERSION="1.4.0"\n'})
    assert board.medium(tmp_path) == "1.4.0"


def test_a_tpm_of_the_old_kind_counts_as_none(tmp_path: Path) -> None:
    assert tpm(tmp_path, Tools()) is None
    plant(tmp_path, {"sys/class/tpm/tpm0/tpm_version_major": "1\n"})
    assert tpm(tmp_path, Tools()) is None


def test_a_tpm_without_tools_has_a_version_only(tmp_path: Path) -> None:
    plant(tmp_path, {"sys/class/tpm/tpm0/tpm_version_major": "2\n"})
    found = tpm(tmp_path, Tools())
    assert found is not None
    assert (found.version, found.vendor, found.ek_hash) == ("2.0", "", "")


def test_nothing_is_made_persistent_in_the_tpm(tmp_path: Path) -> None:
    plant(tmp_path, {"sys/class/tpm/tpm0/tpm_version_major": "2\n"})
    tools = Tools({"tpm2_createek": b"\0\2ab"})
    found = tpm(tmp_path, tools)
    assert found is not None
    assert len(found.ek_hash) == 64
    argv = next(argv for argv in tools.asked if argv[0] == "tpm2_createek")
    context = argv[argv.index("--ek-context") + 1]
    assert context.startswith("/"), "a handle or `-` would store the key in the TPM"


@pytest.mark.parametrize("public", [b"", b"\0", b"\0\3ab", b"\0\1ab"])
def test_a_broken_public_area_is_no_hash(tmp_path: Path, public: bytes) -> None:
    plant(tmp_path, {"sys/class/tpm/tpm0/tpm_version_major": "2\n"})
    found = tpm(tmp_path, Tools({"tpm2_createek": public}))
    assert found is not None
    assert found.ek_hash == ""


def test_only_real_interfaces(tmp_path: Path) -> None:
    net = "sys/class/net"
    tree: dict[str, Any] = {}
    for name, real in (("eth0", True), ("br0", False), ("wwan0", True)):
        kind = "1\n" if name != "wwan0" else "65534\n"
        tree |= {f"{net}/{name}/type": kind, f"{net}/{name}/address": "52:54:00:AA:BB:CC\n"}
        tree |= {f"{net}/{name}/device": {"folder": True}} if real else {}
    tree |= {f"{net}/eth0/carrier": "1\n", f"{net}/eth0/speed": "-1\n"}
    found = nics(plant(tmp_path, tree), Tools())
    assert [(nic.name, nic.mac, nic.link, nic.speed) for nic in found] == [
        ("eth0", "52:54:00:aa:bb:cc", True, 0)
    ]


def test_this_machine_can_be_probed() -> None:
    found = Probe().facts()
    assert found.arch
    assert found.memory > 0
    assert from_json(found.to_json()) == found
    root_device = [disk for disk in found.disks if disk.content == () and not disk.in_use]
    assert all(disk.size > 0 for disk in root_device)


def test_an_empty_machine_is_empty(tmp_path: Path) -> None:
    assert replace(Probe(tmp_path, Tools()).facts(), clock=0) == Facts()


# --- recorded machines ----------------------------------------------------------------------------


def qemu(root: Path) -> Probe:
    """A virtual machine with every kind of disk, OVMF and swtpm, recorded on Debian trixie."""
    plant(root, json.loads((TOOLS / "linux-6.12/qemu.json").read_text()))
    answers: dict[str, str | bytes | None] = {
        "lsblk": (TOOLS / "lsblk-2.41.5/qemu.json").read_text(),
        "ip": (TOOLS / "ip-6.15.0/qemu.json").read_text(),
        "tpm2_getcap": (TOOLS / "tpm2-tools-5.7/qemu-properties-fixed.txt").read_text(),
        "tpm2_createek": bytes.fromhex((TOOLS / "tpm2-tools-5.7/qemu-ek.hex").read_text()),
        "uname": "x86_64\n",
    }
    for path in (TOOLS / "wipefs-2.41.5").glob("qemu-*.json"):
        answers[f"wipefs /dev/{path.stem.removeprefix('qemu-')}"] = path.read_text()
    return Probe(root, Tools(answers), lambda: 1.7e9)


def test_a_recorded_machine_as_a_whole(tmp_path: Path) -> None:
    found = qemu(tmp_path).facts()
    assert (found.vendor, found.product) == ("QEMU", "Recording machine")
    assert (found.serial, found.uuid) == ("KR-REC-0001", "11111111-2222-4333-8444-555555555555")
    assert (found.firmware, found.secure_boot, found.mode) == ("uefi", "setup", "live")
    assert (found.cores, found.arch, found.clock) == (2, "x86_64", 1_700_000_000)
    assert found.cpu.startswith("QEMU")
    assert 2**30 < found.memory < 2**31
    assert [(nic.name, nic.link, nic.addresses) for nic in found.nics] == [
        ("enp0s8", True, ("10.0.2.15/24",)),
        ("enp0s9", True, ()),
    ]
    assert found.tpm is not None
    assert (found.tpm.version, found.tpm.vendor) == ("2.0", "IBM")
    public_area = bytes.fromhex((TOOLS / "tpm2-tools-5.7/qemu-ek.hex").read_text())[2:]
    assert found.tpm.ek_hash == hashlib.sha256(public_area).hexdigest()


def test_a_recorded_machines_disks(tmp_path: Path) -> None:
    found = {disk.path: disk for disk in qemu(tmp_path).facts().disks}
    seen = {
        path: (disk.transport, disk.removable, disk.in_use, disk.content)
        for path, disk in found.items()
    }
    windows = ("gpt", 'vfat "SYSTEM"', "partition (Microsoft reserved partition)", 'ntfs "Windows"')
    assert seen == {
        "/dev/mmcblk0": ("mmc", True, False, ()),
        "/dev/nvme0n1": ("nvme", False, False, ()),
        "/dev/nvme1n1": ("nvme", False, True, ('swap "swap"',)),
        "/dev/sda": ("sata", False, False, windows),
        "/dev/sdb": ("usb", True, True, ("dos", 'vfat "KR_LIVE"', 'ext4 "live"')),
        "/dev/vda": ("virtio", False, False, ()),
        "/dev/vdb": ("virtio", False, False, ()),
    }
    sda = found["/dev/sda"]
    assert (sda.model, sda.serial, sda.size) == ("WDC WD20 Test", "NTFS1", 2**31)
    assert sda.by_id == ("/dev/disk/by-id/ata-WDC_WD20_Test_NTFS1",)
    assert found["/dev/nvme0n1"].by_id[0] == "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_NV0001"


def test_a_machine_without_udev_and_rights(tmp_path: Path) -> None:
    """Older lsblk, no permission for wipefs: the disk is not taken for empty."""
    answers = {"lsblk": (TOOLS / "lsblk-2.38.1/microvm.json").read_text()}
    (disk,) = disks(tmp_path, Tools(answers))
    assert (disk.path, disk.transport, disk.in_use) == ("/dev/vda", "virtio", True)
    assert disk.content == (UNREADABLE,)
