"""A config against recorded machines: what fits, what does not and why, and which disk is meant."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import errors
from pairing.config.document import Document
from pairing.config.load import load, load_file
from pairing.config.machine import MINIMUM_DISK, against, choose_disk, describe, require_fit
from pairing.config.merge import set_value
from pairing.facts import Disk, Facts, Nic, Tpm, from_json

ROOT = Path(__file__).parents[2]
GIB = 1024**3


def machine(name: str) -> Facts:
    return from_json(json.loads((ROOT / f"examples/machines/{name}.json").read_text("utf-8")))


def example(name: str) -> Document:
    return load_file(ROOT / f"examples/configs/{name}.yaml")


def config(text: str = "") -> Document:
    return load(f"#cloud-config\n{text}\n", "c.yaml")


def said(document: Document, facts: Facts) -> list[str]:
    return [str(problem) for problem in against(document, facts)]


FITS = [
    ("kairos-usual", "fanless-emmc", "/dev/mmcblk0"),
    ("minimal", "virtio-vm", "/dev/vda"),
    ("two-disks", "nvme-server-two-disks", "/dev/nvme0n1"),
    ("raspberry-pi", "raspberry-pi-no-tpm", "/dev/mmcblk0"),
    ("reinstall-till", "till-with-data", "/dev/sda"),
    ("minimal", "till-with-data", "/dev/sdb"),
    ("expect", "fanless-emmc", "/dev/mmcblk0"),
]


@pytest.mark.parametrize(("name", "hardware", "disk"), FITS)
def test_an_example_fits_its_machine(name: str, hardware: str, disk: str) -> None:
    document, facts = example(name), machine(hardware)
    require_fit(document, facts)
    assert choose_disk(document, facts).path == disk


MISFITS = [
    (
        "minimal",
        "raspberry-pi-no-tpm",
        "install.encrypt: Disks are encrypted with a TPM 2.0 unless",
    ),
    ("tang", "old-pc-bios", "Encryption with tpm2+tang is asked for, but this machine has no TPM"),
    ("minimal", "without-disk", "install.device: No disk can be used: /dev/sda is in use"),
    (
        "two-disks",
        "fanless-emmc",
        "install.device: This machine has no such disk. It has: /dev/mmcblk0",
    ),
    ("expect", "virtio-vm", "expect.serial: This is not the expected machine: its serial is "),
    (
        "expect",
        "raspberry-pi-no-tpm",
        "expect.arch: This is not the expected machine: its arch is aarch",
    ),
]


@pytest.mark.parametrize(("name", "hardware", "says"), MISFITS)
def test_an_example_that_does_not_fit(name: str, hardware: str, says: str) -> None:
    found = said(example(name), machine(hardware))
    assert any(says in line for line in found), found
    with pytest.raises(errors.ConfigNotForThisMachine) as caught:
        require_fit(example(name), machine(hardware))
    assert says in caught.value.detail


def test_data_is_named_and_wipe_allows_it() -> None:
    facts = machine("pc-with-windows")
    document = config("install:\n  device: /dev/nvme0n1")
    (problem,) = against(document, facts)
    assert (problem.line, problem.column) == (3, 11)
    assert "BitLocker" in problem.message
    assert "install.wipe: true" in problem.suggestion
    assert against(set_value(document, "install.wipe=true"), facts) == []


def test_auto_never_takes_a_disk_with_data() -> None:
    with pytest.raises(errors.DiskNotChosen) as caught:
        choose_disk(config(), machine("pc-with-windows"))
    assert "BitLocker" in caught.value.detail
    assert caught.value.exit_code == 11


def test_two_empty_disks_leave_the_choice_to_the_operator() -> None:
    facts = machine("nvme-server-two-disks")
    for text in ("", "install: {device: auto}", "install: {wipe: true}"):
        with pytest.raises(errors.DiskNotChosen) as caught:
            choose_disk(config(text), facts)
        assert all(path in caught.value.detail for path in ("/dev/nvme0n1", "/dev/nvme1n1"))


def test_with_wipe_auto_means_the_only_disk() -> None:
    assert choose_disk(config("install: {wipe: true}"), machine("pc-with-windows")).size > 0
    with pytest.raises(errors.DiskNotChosen):
        choose_disk(config("install: {wipe: true}"), machine("till-with-data"))


def test_a_disk_at_usb_is_only_taken_by_name() -> None:
    facts = machine("raspberry-pi-usb-ssd")
    with pytest.raises(errors.DiskNotChosen):
        choose_disk(config(), facts)
    assert choose_disk(config("install: {device: /dev/sda}"), facts).transport == "usb"


def test_no_such_disk_and_no_disk() -> None:
    with pytest.raises(errors.ConfigNotForThisMachine):
        choose_disk(config("install: {device: /dev/sdz}"), machine("virtio-vm"))
    with pytest.raises(errors.ConfigNotForThisMachine):
        choose_disk(config(), machine("without-disk"))
    with pytest.raises(errors.ConfigNotForThisMachine):
        choose_disk(config(), Facts())


@pytest.mark.parametrize(
    ("disk", "says"),
    [
        (Disk(path="/dev/sda", size=MINIMUM_DISK, in_use=True), "is in use"),
        (Disk(path="/dev/sda", size=MINIMUM_DISK, read_only=True), "is read-only"),
        (Disk(path="/dev/sda", size=MINIMUM_DISK, removable=True), "is removable"),
        (Disk(path="/dev/sda", size=MINIMUM_DISK - 1), "is too small (4.3 GB; at least 4.3 GB"),
    ],
)
def test_a_disk_that_cannot_be_used(disk: Disk, says: str) -> None:
    facts = Facts(tpm=Tpm(version="2.0"), disks=(disk,))
    assert says in said(config("install: {device: /dev/sda, wipe: true}"), facts)[0]
    assert says in said(config("install: {wipe: true}"), facts)[0]


@pytest.mark.parametrize("name", ["/dev/disk/by-id/wwn-1", "/dev/vda"])
def test_a_disk_has_several_names(name: str) -> None:
    disk = Disk(path="/dev/vda", size=8 * GIB, by_id=("/dev/disk/by-id/wwn-1",))
    assert choose_disk(config(f"install: {{device: {name}}}"), Facts(disks=(disk,))) == disk


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("serial: S1", True),
        ("serial: [S0, S1]", True),
        ("serial: S2", False),
        ("mac: 52-54-00-AA-BB-CC", True),
        ("mac: 52:54:00:aa:bb:cd", False),
        ("arch: arm64", True),
        ("arch: x86_64", False),
        (f"ek_hash: {'AB' * 32}", True),
        (f"ek_hash: {'cd' * 32}", False),
        (f"{{serial: S1, ek_hash: {'cd' * 32}}}", False),
    ],
)
def test_expectations(text: str, fits: bool) -> None:
    facts = Facts(
        serial="S1",
        arch="aarch64",
        tpm=Tpm(version="2.0", ek_hash="ab" * 32),
        disks=(Disk(path="/dev/vda", size=8 * GIB),),
        nics=(Nic(name="a", mac="00:00:00:00:00:01"), Nic(name="b", mac="52:54:00:aa:bb:cc")),
    )
    wanted = text if text.startswith("{") else f"{{{text}}}"
    assert (against(config(f"expect: {wanted}"), facts) == []) is fits


def test_nothing_known_is_not_what_was_expected() -> None:
    """A machine without a serial number cannot satisfy an empty or any other expectation."""
    facts = replace(machine("virtio-vm"), serial="")
    assert said(config("expect: {serial: x}"), facts) != []


def test_hardware_cannot_talk_to_the_terminal() -> None:
    disk = Disk(
        path="/dev/sda\x1b[2J", size=8 * GIB, model="\x1b]0;owned\x07", content=("\x1b[31m",)
    )
    assert describe(disk).isprintable()
    facts = Facts(serial="\x1b[2J", disks=(disk, disk))
    with pytest.raises(errors.DiskNotChosen) as caught:
        choose_disk(config(), facts)
    lines = [
        caught.value.detail,
        *said(config("expect: {serial: a}\ninstall: {device: /x}"), facts),
    ]
    assert all(line.isprintable() for line in lines)


DISKS = st.builds(
    Disk,
    path=st.sampled_from(["/dev/sda", "/dev/sdb", "/dev/sdc"]),
    size=st.sampled_from([GIB, 8 * GIB]),
    transport=st.sampled_from(["sata", "usb"]),
    removable=st.booleans(),
    read_only=st.booleans(),
    in_use=st.booleans(),
    content=st.sampled_from([(), ("gpt",)]),
)


@given(st.lists(DISKS, max_size=4, unique_by=lambda disk: disk.path), st.booleans())
def test_auto_chooses_only_what_is_safe_and_certain(disks: list[Disk], wipe: bool) -> None:
    facts = Facts(tpm=Tpm(version="2.0"), disks=tuple(disks))
    document = config(f"install: {{wipe: {str(wipe).lower()}}}")
    sound = [
        disk
        for disk in disks
        if not (disk.removable or disk.read_only or disk.in_use or disk.size < MINIMUM_DISK)
        and disk.transport != "usb"
        and (wipe or not disk.content)
    ]
    if len(sound) == 1:
        assert choose_disk(document, facts) == sound[0]
        assert against(document, facts) == []
    else:
        with pytest.raises((errors.DiskNotChosen, errors.ConfigNotForThisMachine)):
            choose_disk(document, facts)
