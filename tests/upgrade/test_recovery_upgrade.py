"""Upgrade and rollback from the recovery system, where no boot partition and no volume is open."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.commands import upgrade as command
from node.plan.slots import entries
from node.system.upgrading import last_check, last_upgrade
from node.testing.installed import InstalledMachine
from node.testing.recovering import InRecovery
from node.upgrade import carry_out, prepare, roll_back
from pairing import errors, process

from .test_upgrade_run import machine_at, update_folder

LABELS = (
    *("KR_ESP", "KR_OEM", "kr_root_1.1.0", "kr_verity_1.1.0", "kr_root_1.0.0"),
    *("kr_verity_1.0.0", "kr_recovery", "kr_recovery_v", "KR_PERSISTENT"),
)


@pytest.fixture
def machine(tmp_path: Path) -> InstalledMachine:
    """Version 1.0.0 was good, 1.1.0 was not."""
    machine = machine_at(tmp_path / "m", labels=LABELS)
    (machine.root / "boot/EFI/Linux/kr_0.9.0.efi").unlink()
    machine.write("boot/EFI/Linux/kr_1.1.0+0-3.efi", "k")
    return machine


@pytest.fixture
def recovery(machine: InstalledMachine) -> InRecovery:
    """In recovery, both volumes closed."""
    shutil.rmtree(machine.root / "usr/local/.kairos")
    return InRecovery(machine)


def upgrade(recovery: InRecovery, source: Path) -> None:
    machine = recovery.machine
    carry_out(prepare(str(source), "", machine.root, machine.run), lambda line: None)


def test_a_new_version_is_written_beside_the_last_good_one(
    recovery: InRecovery, tmp_path: Path
) -> None:
    upgrade(recovery, update_folder(tmp_path / "u", "1.2.0"))
    assert recovery.kernels == ["kr_1.0.0.efi", "kr_1.2.0+3-0.efi"]
    cleared = [argv[-2] for argv in recovery.machine.ran("sfdisk")]
    assert cleared == ["3", "4"], "the slot of the version that was not good"


def test_the_boot_partition_is_closed_again(recovery: InRecovery, tmp_path: Path) -> None:
    upgrade(recovery, update_folder(tmp_path / "u", "1.2.0"))
    assert recovery.mounts == []


def test_it_is_closed_again_after_a_refusal_too(recovery: InRecovery, tmp_path: Path) -> None:
    with pytest.raises(errors.UpgradeRefused, match=r"not newer than 1\.0\.0"):
        upgrade(recovery, update_folder(tmp_path / "u", "0.9.0"))
    assert recovery.mounts == []


def test_without_a_good_version_any_is_taken(recovery: InRecovery, tmp_path: Path) -> None:
    good = recovery.esp / "EFI/Linux/kr_1.0.0.efi"
    good.rename(good.with_name("kr_1.0.0+0-2.efi"))
    upgrade(recovery, update_folder(tmp_path / "u", "1.0.0"))
    assert recovery.kernels == ["kr_1.0.0+3-0.efi"]


def test_with_closed_volumes_nothing_of_it_is_left_but_the_version(
    recovery: InRecovery, tmp_path: Path
) -> None:
    root = recovery.machine.root
    upgrade(recovery, update_folder(tmp_path / "u", "1.2.0"))
    assert not (root / "run/kairos-register/upgrade/files").exists()
    assert not (root / "usr/local/.kairos").exists(), "that would lie below the volume's mount"


def test_with_an_open_volume_the_record_is_kept(machine: InstalledMachine, tmp_path: Path) -> None:
    upgrade(InRecovery(machine), update_folder(tmp_path / "u", "1.2.0"))
    record, checked = last_upgrade(machine.root), last_check(machine.root)
    assert record is not None
    assert checked is not None
    assert record.version == checked.version == "1.2.0"


def test_a_way_back_gives_up_what_would_start_next(recovery: InRecovery) -> None:
    bad = recovery.esp / "EFI/Linux/kr_1.1.0+0-3.efi"
    bad.rename(bad.with_name("kr_1.1.0.efi"))  # proved good, and no use all the same
    machine = recovery.machine
    assert roll_back(machine.root, machine.run) == ("1.1.0", "1.0.0")
    assert recovery.kernels == ["kr_1.0.0.efi", "kr_1.1.0+0-0.efi"]
    assert recovery.mounts == []


def test_without_another_good_version_there_is_no_way_back(recovery: InRecovery) -> None:
    machine = recovery.machine
    with pytest.raises(errors.UpgradeRefused, match="no other version"):
        roll_back(machine.root, machine.run)
    assert [one.version for one in entries(recovery.kernels) if one.blessed] == ["1.0.0"]


def test_a_rehearsed_way_back_changes_nothing(
    recovery: InRecovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = recovery.esp / "EFI/Linux/kr_1.1.0+0-3.efi"
    bad.rename(bad.with_name("kr_1.1.0.efi"))
    monkeypatch.setattr(command, "ROOT", recovery.machine.root)
    monkeypatch.setattr(process, "run", recovery.machine.run)
    shown = CliRunner().invoke(command.rollback, ["--dry-run"])
    assert shown.stdout == "1.1.0 would be given up, 1.0.0 would run.\n"
    assert recovery.kernels == ["kr_1.0.0.efi", "kr_1.1.0.efi"]
    assert recovery.mounts == []


def test_a_stick_upgrades_nothing(machine: InstalledMachine, tmp_path: Path) -> None:
    """Its own boot partition has another name, and is left alone."""
    line = (machine.root / "proc/cmdline").read_text()
    machine.write("proc/cmdline", line.replace("mode=installed", "mode=live"))
    machine.write("sys/block/vda/vda1/uevent", "PARTN=1\nPARTNAME=KR_LIVE\n")
    machine.labels = ("KR_LIVE", *LABELS[1:])
    shutil.rmtree(machine.root / "boot/EFI")
    with pytest.raises(errors.UpgradeRefused, match="boot partition"):
        prepare(str(update_folder(tmp_path / "u")), "", machine.root, machine.run)
    assert not machine.ran("mount")
