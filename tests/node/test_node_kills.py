"""An installation killed at every write and every report: it resumes, or starts clean."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio

from node.execute import resume_at
from node.facts import recorded
from node.journal import Journal
from node.recoverykey import RecoveryKey
from node.steps import Plan
from node.testing.bench import Bench, Killed, wiping_plan

FACTS = recorded(Path(__file__).parents[2] / "examples/machines/pc-with-windows.json")
PLAN = wiping_plan(FACTS, "tpm2")
WITH_TANG = wiping_plan(FACTS, {"mode": "tpm2+tang", "tang": "http://tang.example"})
NOT_ENCRYPTED = wiping_plan(FACTS, "none")


@pytest.fixture(autouse=True)
def no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes die here, not machines: thousands of flushes would only cost time."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


async def points(path: Path, which: Plan) -> int:
    """How many places a run of this plan has where it can be killed."""
    bench = Bench(path, FACTS, which)
    await bench.run()
    return bench.count


async def killed_then_resumed(path: Path, which: Plan, at: int, *, keep_key: bool) -> Bench:
    key = RecoveryKey.new()
    bench = Bench(path, FACTS, which, kill_at=at)
    held = key if keep_key else None
    with pytest.raises(Killed):
        await bench.run(key=held)
    bench.kill_at = -1
    await bench.run(key=held)
    bench.assert_installed()
    return bench


@pytest.mark.parametrize("which", [PLAN, WITH_TANG, NOT_ENCRYPTED], ids=lambda p: p.encryption)
async def test_killed_anywhere_it_resumes_and_writes_no_step_twice(
    tmp_path: Path, which: Plan
) -> None:
    """The key survived (the same process): a step that was done is not done again."""
    for at in range(1, await points(tmp_path / "count", which) + 1):
        bench = await killed_then_resumed(tmp_path / f"j{at}", which, at, keep_key=True)
        assert len(bench.kept) <= 1 or at_escrow(bench)
        ended = [step for step, _, done, total in bench.events if done == total]
        assert len(ended) == len(set(ended)) or ended.count("wipe-tables") == 2
        for write in ("partition table", "boot order", "completion marker"):
            assert bench.machine.writes.count(write) == 1 or at_report(bench, write)


def at_escrow(bench: Bench) -> bool:
    """Killed after the operator kept the key and before the journal knew it."""
    return "escrow-key" not in done_before_kill(bench)


def at_report(bench: Bench, write: str) -> bool:
    """Killed between a write and its journal record: only then it may happen twice."""
    step = {"partition table": "write-disk", "boot order": "boot-entries"}
    return step.get(write, "mark-complete") not in done_before_kill(bench)


def done_before_kill(bench: Bench) -> set[str]:
    """Steps that the journal held as done before the second run began."""
    with Journal(bench.path) as journal:
        what = [(record["what"], record["step"]) for record in journal.records]
    seen: set[str] = set()
    for index, (kind, step) in enumerate(what):
        if kind == "begun" and index and what[index - 1][0] == "begun":
            break
        if kind == "done":
            seen.add(step)
    return seen


async def test_killed_anywhere_with_the_key_lost_it_starts_clean(tmp_path: Path) -> None:
    """Another process: no volume is ever made or left with a key that nobody acknowledged."""
    for at in range(1, await points(tmp_path / "count", WITH_TANG) + 1):
        bench = await killed_then_resumed(tmp_path / f"j{at}", WITH_TANG, at, keep_key=False)
        assert set(bench.machine.disk.volumes.values()) == {bench.kept[-1]}


async def test_cancelled_in_a_step_it_resumes(tmp_path: Path) -> None:
    for at in range(1, await points(tmp_path / "count", PLAN) + 1):
        bench = Bench(tmp_path / f"j{at}", FACTS, PLAN)
        with trio.CancelScope() as scope:

            def cancel(bench: Bench = bench, at: int = at, scope: trio.CancelScope = scope) -> None:
                bench.count += 1
                if bench.count == at:
                    scope.cancel()

            bench.place = cancel  # type: ignore[method-assign]
            await bench.run()
        await bench.run()
        bench.assert_installed()


def test_an_interrupted_write_starts_again_with_the_wipe() -> None:
    names = [step.name for step in PLAN.steps]
    index = names.index("write-disk")
    done: dict[str, Any] = {"index": names.index("escrow-key"), "what": "done", "key": "k"}
    for what in ("begun", "failed"):
        records = [done, {"index": index, "what": what}]
        assert names[resume_at(PLAN, records, "k")] == "wipe-tables"
        assert names[resume_at(PLAN, records, "lost")] == "escrow-key"
    after = [done, {"index": names.index("keep-config"), "what": "done"}]
    assert names[resume_at(PLAN, after, "lost")] == "boot-entries", "the key is needed no more"
