"""Whether a start is good: what decides, what is only told, what is remembered."""

from __future__ import annotations

import configparser
from collections.abc import Sequence
from pathlib import Path

import pytest

from node import health as judging
from node.lookaround import machine_state
from node.stages.apply import Failure, Outcome
from node.stages.command import OUTCOMES
from node.started import BootReport, Trouble, write_report
from node.testing.installed import DONE, InstalledMachine
from pairing.process import Result

UNITS = Path(judging.__file__).parent / "units"
COUNTER = "\\EFI\\Linux\\kr_1.1.0+2-1.efi"


def good_machine(root: Path, *, trial: bool = False) -> InstalledMachine:
    machine = InstalledMachine(root)
    machine.write("proc/sys/kernel/random/boot_id", "boot-1\n")
    machine.write("boot/EFI/Linux/kr_1.0.0.efi", "")
    (root / "usr/local/.kairos").mkdir()
    if trial:
        machine.boot_variable("LoaderBootCountPath", COUNTER)
        machine.write("boot/EFI/Linux/kr_1.1.0+2-1.efi", "")
    write_report(root, BootReport(state="open", version="1.0.0", trial=trial, means="tpm2"))
    for stage in judging.STAGES:
        Outcome(stage=stage).keep(root / OUTCOMES)
    machine.programs["systemctl"] = lambda argv, stdin: DONE
    return machine


def reasons(machine: InstalledMachine) -> Sequence[str]:
    return judging.judge(machine.root, machine.run, lambda line: None).reasons


def fail_stage(machine: InstalledMachine) -> None:
    failure = Failure(stage="boot", step="users", what="make ada", code="x", reason="no")
    Outcome(stage="boot", failures=(failure,)).keep(machine.root / OUTCOMES)


def test_a_good_start(tmp_path: Path) -> None:
    assert reasons(good_machine(tmp_path)) == ()


def test_volumes_that_are_not_open(tmp_path: Path) -> None:
    machine = good_machine(tmp_path)
    write_report(tmp_path, BootReport(state="locked", code="locked-image"))
    assert reasons(machine) == ("the volumes are not open: locked-image",)


@pytest.mark.parametrize(
    ("step", "counts"), [("keep-path", True), ("seal-off", False), ("apply-stage", False)]
)
def test_a_part_of_the_start_that_failed(tmp_path: Path, step: str, counts: bool) -> None:
    """Not a TPM that guards nothing; of the stages, what each of them left."""
    machine = good_machine(tmp_path)
    trouble = Trouble(step=step, text="It: no.")
    write_report(tmp_path, BootReport(state="open", means="none", troubles=(trouble,)))
    assert reasons(machine) == (("the start failed in part: It: no.",) if counts else ())


def test_a_start_without_an_end(tmp_path: Path) -> None:
    machine = good_machine(tmp_path)
    (tmp_path / "run/kairos-register/boot.json").unlink()
    assert reasons(machine) == ("the start did not come to its end",)


def test_units_and_the_agent(tmp_path: Path) -> None:
    machine = good_machine(tmp_path)

    def systemctl(argv: Sequence[str], stdin: bytes) -> Result:
        if "is-active" in argv:
            return Result(3, b"", b"")
        return Result(0, b"kairos-x.service loaded failed\nkairos-stage-boot.service\n", b"")

    machine.programs["systemctl"] = systemctl
    assert reasons(machine) == ("kairos-node.service is not up", "kairos-x.service failed")


def test_a_root_that_changes_while_it_runs(tmp_path: Path) -> None:
    machine = good_machine(tmp_path)
    said = b"  type:        VERITY\n  status:      corrupted\n"
    machine.programs["veritysetup"] = lambda argv, stdin: Result(0, said, b"")
    assert reasons(machine) == ("its root has changed on the disk",)


def test_the_image_brings_checks_of_its_own(tmp_path: Path) -> None:
    machine = good_machine(tmp_path)
    check = machine.write("usr/lib/kairos-register/health.d/10-shop", "")
    machine.programs[str(check)] = lambda argv, stdin: Result(1, b"", b"")
    assert reasons(machine) == ("the check 10-shop: status 1",)


def test_a_config_that_failed_before_is_not_the_upgrades_fault(tmp_path: Path) -> None:
    machine = good_machine(tmp_path)
    fail_stage(machine)
    assert reasons(machine) == ("the config fails anew: boot: users: make ada",)
    machine.write(judging.KNOWN, '["boot: users: make ada"]')
    assert reasons(machine) == ()


def test_why_a_trial_failed_is_left_for_the_version_before(tmp_path: Path) -> None:
    machine = good_machine(tmp_path, trial=True)
    fail_stage(machine)
    assert reasons(machine)
    left = judging.failed_trial(tmp_path / "boot")
    assert left is not None
    assert (left.version, left.boot) == ("1.0.0", "boot-1")
    late = judging.Health(version="1.0.0", trial=True, reasons=("late",))
    judging.note_failure(tmp_path, late, unless_told=True)
    assert judging.failed_trial(tmp_path / "boot") == left
    assert any(line.startswith("failed ") for line in machine_state(tmp_path, machine.run).text())


@pytest.mark.parametrize("left", ["", "{", "[]", "[" * 100_000], ids=lambda left: left[:2])
def test_what_somebody_wrote_in_its_place_is_no_failed_trial(tmp_path: Path, left: str) -> None:
    """The boot partition can be written by whoever has the disk."""
    machine = good_machine(tmp_path, trial=True)
    machine.write("boot/kairos/trial.json", left)
    assert judging.failed_trial(tmp_path / "boot") is None


def test_a_trial_is_over_only_while_the_counter_is_there(tmp_path: Path) -> None:
    machine = good_machine(tmp_path, trial=True)
    assert judging.trial_is_over(tmp_path)
    entry = machine.root / "boot/EFI/Linux/kr_1.1.0+2-1.efi"
    entry.rename(entry.with_name("kr_1.1.0.efi"))  # what systemd-bless-boot does
    assert not judging.trial_is_over(tmp_path)
    assert not judging.trial_is_over(good_machine(tmp_path / "b").root)


@pytest.mark.parametrize("name", [p.name for p in UNITS.glob("*.service")])
def test_only_a_start_on_trial_ever_restarts_the_machine(name: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNITS / name)
    if "FailureAction" in unit["Unit"]:
        assert "LoaderBootCountPath-" in unit["Unit"]["ConditionPathExistsGlob"]


def test_the_state_in_words(tmp_path: Path) -> None:
    machine = good_machine(tmp_path, trial=True)
    lines = list(machine_state(machine.root, machine.run).text())
    assert lines[0] == "running   1.0.0 (installed), on trial"
    assert "version   1.1.0: on trial, 2 tries left" in lines
    assert "version   1.0.0: good, running" in lines
    assert "volumes   open, opened by tpm2" in lines
    assert "mount     /: squashfs, ro" in lines
    assert "updates   never looked for" in lines
