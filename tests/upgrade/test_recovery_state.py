"""What `kairos-node state` tells where the boot partition or the data volume is closed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.checkup import state as checkup
from node.checkup.look import Look
from node.commands import looking as command
from node.started import BootReport, write_report
from node.testing.installed import InstalledMachine
from node.testing.recovering import InRecovery
from pairing import process

TRIAL = {"version": "1.1.0", "boot": "boot-1", "reasons": ["the check 10-never: status 1"]}


@pytest.fixture
def machine(tmp_path: Path) -> InstalledMachine:
    """An installed machine whose two versions were not good."""
    machine = InstalledMachine(tmp_path)
    for name in ("kr_1.0.0+0-2.efi", "kr_1.1.0+0-3.efi"):
        machine.write(f"boot/EFI/Linux/{name}", "k")
    machine.write("boot/kairos/trial.json", json.dumps(TRIAL))
    machine.write("usr/local/.kairos/x", "")
    return machine


Say = Callable[[InstalledMachine], list[str]]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Say:
    """The command's lines."""

    def lines(machine: InstalledMachine) -> list[str]:
        monkeypatch.setattr(command, "ROOT", machine.root)
        monkeypatch.setattr(process, "run", machine.run)
        return CliRunner().invoke(command.state, []).stdout.splitlines()

    return lines


def test_in_recovery_the_versions_on_the_disk_are_shown(
    machine: InstalledMachine, said: Say
) -> None:
    InRecovery(machine)
    assert [line for line in said(machine) if line.startswith("version ")] == [
        "version   1.1.0: bad, all tries used",
        "version   1.0.0: bad, all tries used",
    ]


def test_in_recovery_it_is_told_why_the_last_version_was_not_good(
    machine: InstalledMachine, said: Say
) -> None:
    InRecovery(machine)
    assert "failed    1.1.0: the check 10-never: status 1" in said(machine)


def test_looking_in_recovery_opens_nothing_for_writing(
    machine: InstalledMachine, said: Say
) -> None:
    recovery = InRecovery(machine)
    said(machine)
    assert [kind for _, kind in recovery.mounts] == ["ro"]


def test_what_lies_on_a_closed_volume_is_unknown(machine: InstalledMachine, said: Say) -> None:
    InRecovery(machine)
    shutil.rmtree(machine.root / "usr/local/.kairos")
    assert "updates   unknown: the data volume is closed" in said(machine)


def test_a_locked_machine_does_not_say_that_it_never_looked_for_updates(
    machine: InstalledMachine, said: Say
) -> None:
    write_report(machine.root, BootReport(state="locked", code="tpm-foreign"))
    shutil.rmtree(machine.root / "usr/local/.kairos")
    assert "updates   unknown: the data volume is closed" in said(machine)


def test_with_an_open_volume_it_is_known_that_nobody_looked(
    machine: InstalledMachine, said: Say
) -> None:
    InRecovery(machine)
    assert "updates   never looked for" in said(machine)


def test_a_boot_partition_that_cannot_be_mounted_shows_no_versions(
    machine: InstalledMachine, said: Say
) -> None:
    InRecovery(machine)
    del machine.programs["mount"]
    (machine.root / "sys/block/vda/vda1/uevent").unlink()
    lines = said(machine)
    assert lines[0] == "running   1.0.0 (recovery)"
    assert not [line for line in lines if line.startswith("version ")]


def test_the_doctor_in_recovery_tells_the_version_that_was_given_up(
    machine: InstalledMachine,
) -> None:
    InRecovery(machine)
    told = [one.text for one in checkup.update(Look(machine.root, machine.run))]
    assert told == ["1.1.0 was given up: the check 10-never: status 1"]
