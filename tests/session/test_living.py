"""`kairos-node run` on an installed system: what the start left decides who the node is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from node import life, living
from node.afterwards import Start
from node.agent import TENANCY
from node.plan.reset import TRIAL
from node.showing import screen_of
from node.testing.aftermath import Operator, installed_by, shop, the_good_way
from pairing import errors, peertoken
from pairing.events import Mode, State
from pairing.protocol.effects import Done
from pairing.protocol.kept import ReportFile
from pairing.serving import Reporter
from pairing.transport.memory import MemoryNetwork


def left(root: Path, **body: str) -> Path:
    path = root / living.BOOT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body))
    return path


@pytest.mark.parametrize(
    ("body", "start"),
    [
        ({"state": "open"}, Start()),
        ({"state": "locked", "code": "x", "text": "y"}, Start(code="x", text="y")),
        ({"state": "incomplete", "code": "z"}, Start(code="z")),
        ({"state": "locked"}, Start(code="start-unknown")),
        ({"state": "wide open", "code": ""}, Start(code="start-unknown")),
        ({}, Start(code="start-unknown")),
    ],
)
def test_only_open_is_open(tmp_path: Path, body: dict[str, str], start: Start) -> None:
    assert living.read_start(left(tmp_path, **body)) == start


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"open"'])
def test_a_report_that_is_none_is_not_open(tmp_path: Path, text: str) -> None:
    path = left(tmp_path)
    path.write_text(text)
    found = living.read_start(path)
    assert found is not None
    assert found.code


async def test_a_start_that_does_not_end_is_not_open(tmp_path: Path, quick_clock: object) -> None:
    began = trio.current_time()
    assert (await living.start_of(tmp_path)).code == errors.StartUnknown.slug
    assert trio.current_time() - began == pytest.approx(living.START_SECONDS, abs=5)


@pytest.fixture
def a_good_life(monkeypatch: pytest.MonkeyPatch) -> None:
    async def live(reporter: Reporter, **_given: Any) -> None:
        await the_good_way(reporter)

    monkeypatch.setattr(life, "live", live)


async def test_open_it_goes_on_with_its_lease(
    tmp_path: Path, quick_clock: object, a_good_life: None
) -> None:
    network, operator, root = MemoryNetwork(), Operator(), tmp_path / "root"
    async with installed_by(operator, network, tmp_path):
        tenancy = root / living.OEM / TENANCY
        tenancy.parent.mkdir(parents=True)
        (tmp_path / "tenancy.json").rename(tenancy)
        agent = shop(tmp_path, Mode.INSTALLED)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(living.run_living, agent, network.transport("n"), lambda: None, root)
            await trio.sleep(30)
            assert screen_of(agent, trio.current_time()).token == "", "it is nobody's to claim"
            assert screen_of(agent, trio.current_time()).starting, "it does not restart again"
            assert not network._listeners
            left(root, state="open")
    assert operator.outcome == Done(State.READY, already=False)
    assert not screen_of(agent, 0).starting


async def test_the_screen_follows_what_is_applied_and_joined(
    tmp_path: Path, quick_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, root = MemoryNetwork(), tmp_path / "root"
    agent = shop(tmp_path, Mode.INSTALLED)
    seen: list[tuple[bool, str, int, int]] = []

    def look() -> None:
        screen = screen_of(agent, 0)
        seen.append((screen.starting, screen.step_name, screen.number, screen.steps))

    async def live(reporter: Reporter, **_given: Any) -> None:
        look()
        reporter.progressed("stage-network", "2/2", 0, 1, "x")
        look()
        reporter.entered(State.INSTALLED)
        look()
        reporter.progressed("join-k3s", "1/1", 1, 3, "y")
        look()
        reporter.entered(State.READY)
        look()

    monkeypatch.setattr(life, "live", live)
    left(root, state="open")
    await living.run_living(agent, network.transport("n"), lambda: None, root)
    assert seen == [
        (True, "", 0, 0),
        (True, "stage-network", 2, 2),
        (False, "", 0, 0),
        (False, "join-k3s", 1, 1),
        (False, "", 0, 0),
    ], "also where nobody holds the machine: it was installed by hand"


async def test_locked_it_shows_a_code_and_says_why(
    tmp_path: Path, quick_clock: object, a_good_life: None
) -> None:
    network, operator, root = MemoryNetwork(), Operator(), tmp_path / "root"
    async with installed_by(operator, network, tmp_path) as first, trio.open_nursery() as nursery:
        left(root, state="locked", code=errors.UnlockFailed.slug, text="why")
        agent = shop(tmp_path)
        agent.installed = lambda: ReportFile.from_bytes(first.report)
        nursery.start_soon(living.run_living, agent, network.transport("n"), lambda: None, root)
        while operator.outcome is None:  # noqa: ASYNC110 (virtual time)
            await trio.sleep(1)
        screen = screen_of(agent, trio.current_time())
        assert agent.machine.mode is Mode.LOCKED
        assert peertoken.parse(screen.token).key == agent.machine.public
        assert (screen.state, screen.code) == (State.LOCKED, "E827")
        # Somebody opens it at the machine: it goes on under its own key.
        tenancy = root / living.OEM / TENANCY
        tenancy.parent.mkdir(parents=True)
        (tmp_path / "tenancy.json").rename(tenancy)
        left(root, state="open")
        await trio.sleep(1)
        later = Operator(identity=operator.identity, known=operator.desk.leases[-1])
        await later.pair(peertoken.parse(first.token()), network.transport())
    assert isinstance(operator.outcome, errors.UnlockFailed)
    assert later.outcome == Done(State.READY, already=False)


async def test_locked_without_a_record_it_tells_nobody(tmp_path: Path, quick_clock: object) -> None:
    def damaged() -> ReportFile:
        raise ValueError("its checksum is wrong")

    network, root = MemoryNetwork(), tmp_path / "root"
    left(root, state="locked", code=errors.UnlockFailed.slug)
    agent = shop(tmp_path)
    agent.installed = damaged
    with trio.move_on_after(60):
        await living.run_living(agent, network.transport("n"), lambda: None, root)
    assert isinstance(agent.error, errors.UnlockFailed)
    assert not network._listeners


def test_what_was_given_up_is_told_with_its_reasons(tmp_path: Path) -> None:
    assert living.given_up(tmp_path) == ""
    trial = tmp_path / "boot" / TRIAL
    trial.parent.mkdir(parents=True)
    trial.write_text('{"version": "1.2.0", "boot": "0123456789ab", "reasons": ["a", "b"]}')
    assert living.given_up(tmp_path) == "Version 1.2.0 was not good: a; b (start 01234567)."
