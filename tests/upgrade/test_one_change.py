"""Two changes of one installed system at once: the second is refused, the first ends well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node import reset as back
from node.commands import reset, upgrade
from node.system.onechange import one_change
from node.testing.installed import DONE, InstalledMachine
from node.testing.recovering import InRecovery
from pairing import errors, process
from pairing.process import Result as Ended

from .test_upgrade_run import machine_at, update_folder

ROOM = "usr/local/.kairos/upgrade"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstalledMachine:
    """What the commands run on."""
    machine = machine_at(tmp_path / "m")
    monkeypatch.setattr(upgrade, "ROOT", machine.root)
    monkeypatch.setattr(reset, "ROOT", machine.root)
    monkeypatch.setattr(process, "run", machine.run)
    return machine


def upgraded(source: Path, *options: str) -> Result:
    return CliRunner().invoke(upgrade.upgrade, [str(source), *options])


def test_a_look_at_a_source_leaves_an_upgrade_that_runs_alone(
    machine: InstalledMachine, tmp_path: Path
) -> None:
    source = update_folder(tmp_path / "u")
    refused: list[BaseException | None] = []
    whole: list[bool] = []

    def sysupdate(argv: Sequence[str], stdin: bytes) -> Ended:
        refused.append(upgraded(source, "--dry-run").exception)
        whole.append((machine.root / ROOM / "kr_1.1.0.efi").exists())
        return DONE

    machine.programs["/usr/lib/systemd/systemd-sysupdate"] = sysupdate
    assert upgraded(source).exit_code == 0
    (wrong,) = refused
    assert isinstance(wrong, errors.UpgradeRefused)
    assert "runs on this machine right now" in wrong.sentence
    assert whole == [True], "what the first one has fetched"
    assert upgraded(source, "--dry-run").exit_code == 0, "once it is over"


@pytest.mark.parametrize(
    ("command", "words", "refused"),
    [
        (upgrade.upgrade, ("/nowhere",), errors.UpgradeRefused),
        (upgrade.rollback, (), errors.UpgradeRefused),
        (reset.reset, ("--wipe", "--yes"), errors.ResetRefused),
        (reset.reset, ("--keep-data", "--dry-run"), errors.ResetRefused),
    ],
)
def test_each_waits_for_none(
    machine: InstalledMachine, command: object, words: Sequence[str], refused: type[Exception]
) -> None:
    with one_change(machine.root, errors.ResetRefused):
        said = CliRunner().invoke(command, words)  # type: ignore[arg-type]
    assert isinstance(said.exception, refused)
    assert "runs on this machine right now" in str(said.exception)
    assert not machine.asked, "nothing was looked at"


def test_the_rest_of_a_reset_is_left_to_whoever_changes_the_machine(
    machine: InstalledMachine,
) -> None:
    machine.write("boot/kairos/reset.json", "{}")
    recovery = InRecovery(machine)
    with (
        one_change(machine.root, errors.ResetRefused),
        pytest.raises(errors.ResetUnfinished, match="right now"),
    ):
        back.finish(machine.root, machine.run, print)
    assert (recovery.esp / "kairos/reset.json").exists(), "the next start tries again"


def test_a_folder_that_cannot_be_written_is_told(machine: InstalledMachine) -> None:
    machine.write("run/kairos-register", "no folder")
    said = CliRunner().invoke(upgrade.rollback, ())
    assert isinstance(said.exception, errors.UpgradeRefused)
    assert "kairos-register" in str(said.exception)
