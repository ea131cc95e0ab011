"""QEMU's command for a machine, and a computer that is kept between its starts."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from pairing.testing import hardware
from pairing.testing.box import Box
from pairing.testing.hardware import Drive, Firmware, Hardware, Plug

BOARD = Hardware(serial="S", uuid="11111111-2222-3333-4444-555555555555", mac="52:54:00:00:00:01")
HOLE, DATA = 64 << 20, 4096


def words(board: Hardware, folder: Path) -> list[str]:
    return hardware.argv(board, None, folder, folder / "pid")


def after(option: str, argv: list[str]) -> list[str]:
    return [value for name, value in itertools.pairwise(argv) if name == option]


def test_a_firmware_machine_restarts_and_a_kernel_of_its_own_ends(tmp_path: Path) -> None:
    boot = hardware.Boot(kernel=tmp_path / "k", initramfs=tmp_path / "i")
    assert "-no-reboot" in hardware.argv(BOARD, boot, tmp_path, tmp_path / "pid")
    assert "-no-reboot" not in words(replace(BOARD, firmware=Firmware.UEFI), tmp_path)


def test_secure_boot_needs_a_machine_whose_variables_are_protected(tmp_path: Path) -> None:
    secure = words(replace(BOARD, firmware=Firmware.SECURE), tmp_path)
    assert "driver=cfi.pflash01,property=secure,value=on" in after("-global", secure)
    assert after("-machine", secure) == ["q35,smm=on"]
    plain = words(replace(BOARD, firmware=Firmware.UEFI), tmp_path)
    assert after("-global", plain) == []


def test_commas_in_kernel_words_stay_commas(tmp_path: Path) -> None:
    (value,) = (
        value
        for value in after("-smbios", words(replace(BOARD, words=("a=b,c", "d")), tmp_path))
        if value.startswith("type=11")
    )
    assert value == "type=11,value=io.systemd.stub.kernel-cmdline-extra=a=b,,c d"


def test_credentials_come_in_the_firmwares_tables(tmp_path: Path) -> None:
    board = replace(BOARD, words=("a",), credentials={"tmpfiles.extra": "f /thief"})
    values = [value for value in after("-smbios", words(board, tmp_path)) if "type=11" in value]
    assert values == [
        "type=11,value=io.systemd.stub.kernel-cmdline-extra=a",
        "type=11,value=io.systemd.credential.binary:tmpfiles.extra=ZiAvdGhpZWY=",
    ]


def test_each_drive_is_plugged_in_once_and_the_log_lies_below_the_disk(tmp_path: Path) -> None:
    drives = (
        Drive(image=tmp_path / "disk", log=tmp_path / "log"),
        Drive(image=tmp_path / "stick", plug=Plug.STICK, order=1),
        Drive(image=tmp_path / "cd", plug=Plug.CD),
    )
    argv = words(replace(BOARD, firmware=Firmware.UEFI, drives=drives), tmp_path)
    devices = [device for device in after("-device", argv) if "drive=" in device]
    assert devices == [
        "virtio-blk-pci,drive=drive0,serial=E2E-DISK",
        "usb-storage,drive=drive1,bus=usb.0,bootindex=1",
        "ide-cd,drive=drive2",
    ]
    nodes = after("-blockdev", argv)
    assert [node for node in nodes if "driver=raw,node-name=drive0,file=drive0-log" in node]
    assert [node for node in nodes if "node-name=drive2-file" in node and "read-only=on" in node]


def test_a_copied_computer_has_the_same_disk_chip_and_holes(tmp_path: Path) -> None:
    box = Box.new(tmp_path / "one", BOARD, (HOLE,))
    with box.disk().open("r+b") as file:
        file.seek(HOLE // 2)
        file.write(b"x" * DATA)
    (box.tpm / "state").write_bytes(b"chip")
    other = box.copy(tmp_path / "other", tap="tap7")
    assert other.disk().read_bytes() == box.disk().read_bytes()
    assert other.disk().stat().st_blocks * 512 < HOLE // 8
    assert (other.tpm / "state").read_bytes() == b"chip"
    assert (other.hardware.tap, other.hardware.serial) == ("tap7", "S")
    other.change_tpm()
    assert list(other.tpm.iterdir()) == []
    assert (box.tpm / "state").exists()
