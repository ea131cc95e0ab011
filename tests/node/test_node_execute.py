"""The executor: order, escrow first, failures by name, kills at every write and resumption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from node.execute import execute
from node.facts import recorded
from node.journal import Journal
from node.recoverykey import RecoveryKey
from node.steps import CheckDisk, EscrowKey, Plan, ProveKey, Step, WriteDisk
from node.system.check import check_disk, difference
from node.testing.bench import Bench, wiping_plan
from pairing import errors

MACHINES = Path(__file__).parents[2] / "examples/machines"
FACTS = recorded(MACHINES / "pc-with-windows.json")
PLAN = wiping_plan(FACTS, "tpm2")
WITH_TANG = wiping_plan(FACTS, {"mode": "tpm2+tang", "tang": "http://tang.example"})
NOT_ENCRYPTED = wiping_plan(FACTS, "none")


def bench_for(path: Path, plan: Plan = PLAN) -> Bench:
    return Bench(path, FACTS, plan)


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


# --- a run that goes well -------------------------------------------------------------------------


@pytest.mark.parametrize("which", [PLAN, WITH_TANG, NOT_ENCRYPTED], ids=lambda p: p.encryption)
async def test_every_step_runs_once_in_order(journal_path: Path, which: Plan) -> None:
    bench = bench_for(journal_path, which)
    result = await bench.run()
    bench.assert_installed()
    begun = [(step, of) for step, of, done, _ in bench.events if done == 0]
    number = len(which.steps)
    assert begun == [(step.name, f"{i}/{number}") for i, step in enumerate(which.steps, start=1)]
    ended = [step for step, _, done, total in bench.events if done == total]
    assert ended == [step.name for step in which.steps]
    assert len(bench.machine.writes) == len(set(bench.machine.writes)) + 1  # two `_empty` slots
    encrypted = which.encryption != "none"
    assert [volume.name for volume in result.volumes] == ["KR_OEM", "KR_PERSISTENT"] * encrypted


async def test_progress_within_a_step_is_reported(journal_path: Path) -> None:
    bench = bench_for(journal_path)
    await bench.run()
    done = [(done, total) for step, _, done, total in bench.events if step == "write-disk"]
    assert done == [(0, 1), *((number, 9) for number in range(1, 9)), (9, 9)]


async def test_a_finished_plan_runs_nothing_again_and_remembers_its_volumes(
    journal_path: Path,
) -> None:
    bench = bench_for(journal_path)
    first = await bench.run()
    writes, events = list(bench.machine.writes), list(bench.events)
    assert await bench.run() == first
    assert (bench.machine.writes, bench.events) == (writes, events)


async def test_the_journal_holds_no_secret(journal_path: Path) -> None:
    key = RecoveryKey.new()
    await bench_for(journal_path).run(key=key)
    with Journal(journal_path) as journal:
        text = str(journal.records)
    assert key.fingerprint in text, "the control: the journal does tell which key it was"
    groups = key.passphrase.decode().split("-")
    assert not any(group in text for group in groups)


async def test_an_own_key_is_wiped_at_the_end_a_given_one_is_not(journal_path: Path) -> None:
    seen: list[RecoveryKey] = []
    bench = bench_for(journal_path)
    keep = bench.escrow

    async def escrow(step: EscrowKey, key: RecoveryKey) -> str:
        seen.append(key)
        return await keep(step, key)

    bench.escrow = escrow  # type: ignore[method-assign]
    await bench.run()
    with pytest.raises(ValueError, match="wiped"):
        _ = seen[0].passphrase
    given = RecoveryKey.new()
    bench.path = journal_path.with_name("other")
    await bench.run(key=given)
    assert given.passphrase


async def test_a_run_of_another_release_does_not_count(journal_path: Path) -> None:
    """The same steps, but other secrets in the config: everything is done again."""
    bench = bench_for(journal_path)
    await bench.run()
    bench.plan = replace(PLAN, release="another config")
    await bench.run()
    assert len(bench.kept) == 2
    assert bench.machine.writes.count("partition table") == 2
    bench.assert_installed()


# --- rehearsal ------------------------------------------------------------------------------------


async def test_a_dry_run_reports_the_same_steps_and_changes_nothing(journal_path: Path) -> None:
    real, dry = bench_for(journal_path), bench_for(journal_path.with_name("dry"))
    await real.run()
    result = await dry.run(dry_run=True)
    ends = [(step, of, done == 0) for step, of, done, total in real.events if done in (0, total)]
    assert [(step, of, done == 0) for step, of, done, _ in dry.events] == ends
    assert dry.machine.writes == []
    assert len(dry.kept) == 1, "a real key is escrowed"
    assert result.volumes == ()


async def test_a_dry_run_does_not_count_for_a_real_one(journal_path: Path) -> None:
    bench = bench_for(journal_path)
    await bench.run(dry_run=True)
    await bench.run()
    bench.assert_installed()
    assert len(bench.kept) == 2


async def test_a_dry_run_needs_no_handlers_but_looks_at_the_disk_if_it_can(
    journal_path: Path,
) -> None:
    bench = bench_for(journal_path)

    async def run(path: Path, handlers: dict[type[Step], object]) -> None:
        with Journal(path) as journal:
            await execute(
                PLAN,
                journal=journal,
                emit=bench.emit,
                escrow=bench.escrow,
                dry_run=True,
                handlers=handlers,  # type: ignore[arg-type]
            )

    await run(journal_path, {})
    gone = recorded(MACHINES / "without-disk.json")
    with pytest.raises(errors.StepFailed, match="disk is gone"):
        await run(journal_path.with_name("second"), {CheckDisk: check_disk(lambda: gone)})


# --- escrow first ---------------------------------------------------------------------------------


async def test_without_acknowledgement_the_disk_is_untouched(
    journal_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    bench = bench_for(journal_path)

    async def silent(step: EscrowKey, key: RecoveryKey) -> str:
        await trio.sleep_forever()
        raise AssertionError

    bench.escrow = silent  # type: ignore[method-assign]
    began = trio.current_time()
    with pytest.raises(errors.EscrowNotAcknowledged, match="10 minutes"):
        await bench.run()
    assert trio.current_time() - began == 600
    assert bench.machine.writes == []
    again = bench_for(journal_path)
    await again.run()
    again.assert_installed()


async def test_what_the_operator_refuses_is_passed_on_by_its_name(journal_path: Path) -> None:
    bench = bench_for(journal_path)

    async def refuse(step: EscrowKey, key: RecoveryKey) -> str:
        raise errors.ConnectionLost

    bench.escrow = refuse  # type: ignore[method-assign]
    with pytest.raises(errors.ConnectionLost):
        await bench.run()
    assert bench.machine.writes == []


# --- failures -------------------------------------------------------------------------------------


def failing(bench: Bench, kind: type[Step], fail: Callable[[], None]) -> dict[type[Step], object]:
    async def handler(step: Step, work: object) -> None:
        for number in range(30):
            work.log(f"line {number}")  # type: ignore[attr-defined]
        fail()
        await trio.sleep_forever()

    return {**bench.machine.handlers, kind: handler}


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (errors.CommandFailed("Status 1: no space", element="systemd-repart"), "no space"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (None, "did not end within 60 minutes"),
    ],
)
async def test_a_failed_step_says_which_why_and_the_tail_of_its_log(
    journal_path: Path,
    autojump_clock: trio.testing.MockClock,
    raised: Exception | None,
    said: str,
) -> None:
    bench = bench_for(journal_path)

    def fail() -> None:
        if raised is not None:
            raise raised

    with Journal(journal_path) as journal, pytest.raises(errors.StepFailed, match=said) as failed:
        await execute(
            PLAN,
            journal=journal,
            emit=bench.emit,
            escrow=bench.escrow,
            dry_run=False,
            handlers=failing(bench, WriteDisk, fail),  # type: ignore[arg-type]
        )
    assert failed.value.element == "write-disk"
    assert "line 29" in failed.value.detail
    assert "line 9\n" not in failed.value.detail, "only the tail"
    assert "completion marker" not in bench.machine.writes
    await bench.run()
    bench.assert_installed()


async def test_a_failure_that_has_a_name_keeps_it(journal_path: Path) -> None:
    bench = bench_for(journal_path)

    def fail() -> None:
        raise errors.DiskBusy("Something has it open.", element="/dev/sda")

    with Journal(journal_path) as journal, pytest.raises(errors.DiskBusy) as failed:
        await execute(
            PLAN,
            journal=journal,
            emit=bench.emit,
            escrow=bench.escrow,
            dry_run=False,
            handlers=failing(bench, WriteDisk, fail),  # type: ignore[arg-type]
        )
    assert failed.value.element == "write-disk"
    said = failed.value.detail.split("\n")
    assert said[0] == "/dev/sda: Something has it open. (step write-disk)"
    assert said[-1] == "line 29"


async def test_a_wrong_key_stops_before_the_boot_entries(journal_path: Path) -> None:
    bench = bench_for(journal_path)
    write = bench.machine.handlers[WriteDisk]

    async def damaged(step: WriteDisk, work: object) -> None:
        await write(step, work)  # type: ignore[arg-type]
        bench.machine.disk.volumes["KR_OEM"] = "another"

    with (
        Journal(journal_path) as journal,
        pytest.raises(errors.StepFailed, match="No key") as failed,
    ):
        await execute(
            PLAN,
            journal=journal,
            emit=bench.emit,
            escrow=bench.escrow,
            dry_run=False,
            handlers={**bench.machine.handlers, WriteDisk: damaged},
        )
    assert failed.value.element == "prove-key"
    assert bench.machine.disk.boot_order == ()


async def test_a_step_nobody_can_do_is_refused_before_anything_else(journal_path: Path) -> None:
    bench = bench_for(journal_path)
    handlers = {k: v for k, v in bench.machine.handlers.items() if k is not ProveKey}
    with Journal(journal_path) as journal, pytest.raises(errors.StepUnsupported, match="prove-key"):
        await execute(
            PLAN,
            journal=journal,
            emit=bench.emit,
            escrow=bench.escrow,
            dry_run=False,
            handlers=handlers,
        )
    assert (bench.events, bench.kept, bench.machine.writes) == ([], [], [])


# --- the last look at the disk --------------------------------------------------------------------


def test_every_change_of_the_disk_is_noticed() -> None:
    disk = PLAN.disk
    step = next(step for step in PLAN.steps if isinstance(step, CheckDisk))
    assert difference(step, disk) == ""
    assert difference(step, replace(disk, content=())) == "", "less on it is no harm"
    changes = [
        (None, "gone"),
        (replace(disk, serial="other"), "another disk"),
        (replace(disk, size=disk.size + 512), "another disk"),
        (replace(disk, in_use=True), "in use"),
        (replace(disk, read_only=True), "read-only"),
        (replace(disk, content=(*disk.content, "ext4")), "ext4"),
    ]
    for changed, said in changes:
        assert said in difference(step, changed)
