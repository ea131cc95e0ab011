"""A second disk that holds the same version: it was replaced, and left in the machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from node.system.volumes import boot_facts
from node.testing.installed import DISK_ID, LABELS, InstalledMachine
from pairing import errors

ESP_ID = {"vda": DISK_ID.format(1), "vdb": DISK_ID.format(9)}


def two_disks(root: Path, loaded_from: str, slaves: dict[str, str]) -> InstalledMachine:
    """`slaves`: which disk udev's links to the root's data and to its hashes lead to."""
    machine = InstalledMachine(root)
    for number, label in enumerate(LABELS, start=1):
        folder = f"sys/block/vdb/vdb{number}"
        machine.write(f"{folder}/partition", f"{number}\n")
        machine.write(f"{folder}/uevent", f"PARTN={number}\nPARTNAME={label}\n")
    numbers = {"data": 3, "hash": 4}
    shutil.rmtree(root / "sys/block/dm-0/slaves")
    for what, disk in slaves.items():
        machine.write(f"sys/block/dm-0/slaves/{disk}{numbers[what]}/size", "")
    links = root / "dev/disk/by-partuuid"
    links.mkdir(parents=True)
    for disk, partition in ESP_ID.items():
        (links / partition).symlink_to(f"../../{disk}1")
    machine.boot_variable("LoaderDevicePartUUID", ESP_ID[loaded_from].upper())
    return machine


@pytest.mark.parametrize("disk", ["vda", "vdb"])
def test_a_start_from_one_of_them_is_a_start(tmp_path: Path, disk: str) -> None:
    machine = two_disks(tmp_path, disk, {"data": disk, "hash": disk})
    found = {volume.device[:-1] for volume in boot_facts(machine.root, machine.run).volumes}
    assert found == {f"/dev/{disk}"}


@pytest.mark.parametrize(
    "slaves",
    [
        {"data": "vdb", "hash": "vdb"},
        {"data": "vda", "hash": "vdb"},
        {"data": "vdb", "hash": "vda"},
    ],
)
def test_a_start_from_both_is_none(tmp_path: Path, slaves: dict[str, str]) -> None:
    """Else the other disk's config would be in force, or ours seem to have no volumes."""
    machine = two_disks(tmp_path, "vda", slaves)
    with pytest.raises(errors.TwoInstallations, match="Loaded from vda"):
        boot_facts(machine.root, machine.run)


def test_a_loader_that_says_nothing_changes_nothing(tmp_path: Path) -> None:
    machine = two_disks(tmp_path, "vda", {"data": "vdb", "hash": "vdb"})
    machine.boot_variable("LoaderDevicePartUUID", "")
    assert boot_facts(machine.root, machine.run).volumes


def test_a_loader_on_a_disk_without_volumes_changes_nothing(tmp_path: Path) -> None:
    """Somebody's stick: what it starts is measured, and that decides."""
    machine = two_disks(tmp_path, "vda", {"data": "vdb", "hash": "vdb"})
    machine.write("sys/block/vda/vda2/uevent", "PARTN=2\nPARTNAME=other\n")
    assert boot_facts(machine.root, machine.run).volumes
