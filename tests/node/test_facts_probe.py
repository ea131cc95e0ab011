"""The probe on recorded machines: what the tools said and the kernel's files, replayed.

`tests/data/tools/<tool>-<version>/<machine>` is what a tool printed there; `linux-<version>` holds
the kernel's files as JSON. The `qemu-*` ones were recorded in a virtual machine by these commands.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.facts import Probe
from node.system import board
from node.system.disks import disks
from node.system.nics import nics
from node.system.tpm import tpm
from pairing.facts import UNREADABLE, Facts, from_json
from pairing.testing.recorded_tools import RecordedTools as Tools
from pairing.testing.recorded_tools import plant

TOOLS = Path(__file__).parents[1] / "data/tools"


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
