"""A node that shows Kairos' own code, on the memory gossip: a sender that behaves like go-nodepair,
our own, somebody who meddles. With the form that is both: test_kairos_both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from node.agent import Agent
from node.facts import recorded
from node.kairos import KairosChannel, _Arrival
from node.settings import Form, Settings
from node.showing import screen_of
from node.testing.kairos_scene import CANARY, CONFIG, ENCRYPTED, Shown, scene, written
from pairing import errors
from pairing.edgevpn import nettoken, session
from pairing.edgevpn.gossip import Gossip
from pairing.edgevpn.names import Names
from pairing.edgevpn.nettoken import NetworkToken
from pairing.edgevpn.payload import Payload
from pairing.events import State
from pairing.testing.gopeer import go_peer, go_send
from pairing.testing.gossip import MemoryGossip
from pairing.transport.memory import MemoryNetwork

MACHINES = Path(__file__).parents[2] / "examples" / "machines"
MACHINE = MACHINES / "fanless-emmc.json"

# --- installing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [Form.KAIROS, Form.BOTH])
@pytest.mark.parametrize("seed", range(5))
async def test_a_stock_sender_installs_the_machine(
    form: Form, seed: int, tmp_path: Path, quick_clock: object
) -> None:
    async with scene(tmp_path, form, MACHINE) as play:
        with trio.fail_after(60):
            await go_send(play.gossip, play.token(), written(CONFIG), seed=seed)
        await play.until(State.WRITTEN)
        assert play.display.states == [
            State.WAITING,
            State.CLAIMED,
            State.PLANNED,
            State.INSTALLING,
            State.WRITTEN,
        ]
        assert CANARY not in (tmp_path / "journal.jsonl").read_text()
        assert screen_of(play.agent, 0.0).token == ""


@pytest.mark.parametrize("machine", ["fanless-emmc", "virtio-vm"])
async def test_our_own_sender_is_acknowledged(
    machine: str, tmp_path: Path, quick_clock: object
) -> None:
    async with scene(tmp_path, Form.KAIROS, MACHINES / f"{machine}.json") as play:
        sent = await session.send(play.gossip, play.token(), Payload(CONFIG))
        assert sent.acknowledged
        await play.until(State.WRITTEN)


async def test_nothing_is_begun_before_the_sender_could_hear_it(
    tmp_path: Path, quick_clock: object
) -> None:
    async with scene(tmp_path, Form.KAIROS, MACHINE) as play:
        play.nursery.start_soon(go_send, play.gossip, play.token(), written(CONFIG))
        await play.until(State.PLANNED)
        before = trio.current_time()
        await play.until(State.INSTALLING, State.WRITTEN)
        assert trio.current_time() - before >= 11


async def test_once_ends_when_it_is_written(tmp_path: Path, quick_clock: object) -> None:
    gossip = MemoryGossip()
    agent = Agent(
        settings=Settings(port=0, abort_delay=0, form=Form.KAIROS),
        look=lambda: recorded(MACHINES / "virtio-vm.json"),
        display=Shown(),
        state=tmp_path,
        dry_run=True,
        once=True,
        kairos=gossip,
    )
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.run, MemoryNetwork().transport("node"), lambda: None)
            await trio.sleep(1)
            await go_send(gossip, nettoken.parse(agent.token()), written(CONFIG))
    assert agent.machine.state is State.WRITTEN


@pytest.mark.parametrize("key", ["reboot", "poweroff"])
async def test_what_was_asked_for_is_done_at_the_end(
    key: str, tmp_path: Path, quick_clock: object
) -> None:
    left: list[State] = []

    async def leave(state: State) -> None:
        left.append(state)

    async with scene(tmp_path, Form.KAIROS, MACHINE) as play:
        play.agent.leave = leave
        await go_send(play.gossip, play.token(), written(CONFIG, **{key: ""}))
        await play.until(State.WRITTEN)
        await trio.sleep(1)
        assert left == []  # a rehearsal stays on


# --- refusing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        (written(ENCRYPTED), "kairos-no-encryption"),
        (written(CONFIG.replace("hostname", "hostnam")), "config-invalid"),
        (written(CONFIG, device="/dev/nowhere"), "config-machine"),
        (written("no: config\n"), "config-invalid"),
        ('{"device": "/dev/sda"}', "kairos-payload"),
        ("[1]", "kairos-payload"),
    ],
)
async def test_what_cannot_be_installed_is_shown_and_a_new_code_with_it(
    text: str, slug: str, tmp_path: Path, quick_clock: object
) -> None:
    async with scene(tmp_path, Form.KAIROS, MACHINE) as play:
        first = play.token()
        with trio.move_on_after(30):
            await go_send(play.gossip, first, text)
        error = await play.refused()
        assert error.slug == slug
        screen = screen_of(play.agent, trio.current_time())
        assert (screen.code, screen.tried, screen.weak) == (error.code, True, True)
        assert CANARY not in repr(screen) + screen.detail
        assert play.token() not in (first, None)
        with trio.fail_after(60):
            await go_send(play.gossip, play.token(), written(CONFIG), seed=2)
        await play.until(State.WRITTEN)
        assert not screen_of(play.agent, 0.0).tried


async def test_the_old_code_is_dead_after_a_refusal(tmp_path: Path, quick_clock: object) -> None:
    async with scene(tmp_path, Form.KAIROS, MACHINE) as play:
        first = play.token()
        await go_send(play.gossip, first, written(ENCRYPTED))
        await play.refused()
        await trio.sleep(60)
        with trio.move_on_after(60) as waited:
            await go_send(play.gossip, first, written(CONFIG), seed=3)
        assert waited.cancelled_caught
        assert play.agent.machine.state is State.WAITING


async def test_whoever_meddles_before_the_first_write_stops_it(
    tmp_path: Path, quick_clock: object
) -> None:
    """A third party in the pause of 30 seconds. The control: without it the disk is written."""
    async with scene(tmp_path, Form.KAIROS, MACHINE, delay=30) as play:
        token = play.token()
        play.nursery.start_soon(go_send, play.gossip, token, written(CONFIG))
        await play.until(State.PLANNED)
        async with go_peer(play.gossip, token, 7) as (third, _):
            await third.say()
            error = await play.refused(seconds=60)
        assert isinstance(error, errors.KairosIntruder)
        assert State.INSTALLING not in play.display.states
        assert play.token() != token


async def test_two_that_come_at_once_burn_the_code(tmp_path: Path, quick_clock: object) -> None:
    """It is not known which of them the photo was for. One of them alone is served."""
    async with scene(tmp_path, Form.KAIROS, MACHINE) as play:
        token = play.token()
        async with go_peer(play.gossip, token, 7) as (one, _), go_peer(play.gossip, token, 8):
            await one.say()
            assert isinstance(await play.refused(seconds=60), errors.KairosIntruder)
        assert play.token() != token
        await go_send(play.gossip, play.token(), written(CONFIG))
        await play.until(State.WRITTEN)


@dataclass(slots=True)
class Broken:
    """A network that cannot be joined, until it is mended."""

    error: Exception | None
    gossip: MemoryGossip
    asked: int = 0

    def joining(
        self, token: NetworkToken, *, names: Callable[[], Names]
    ) -> contextlib.AbstractAsyncContextManager[Gossip]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.gossip.joining(token, names=names)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (errors.BootstrapInvalid(element="/dns4/x"), True),
        (errors.KairosNobodyCame(), False),
        (OSError(98, "Address already in use"), False),
        (ExceptionGroup("nursery", [ExceptionGroup("inner", [OSError(101, "No network")])]), False),
    ],
)
async def test_a_network_that_is_not_there_is_tried_again(
    error: Exception, shown: bool, tmp_path: Path, quick_clock: object
) -> None:
    """With the same code: nobody has seen anything of it."""
    async with scene(tmp_path, Form.KAIROS, MACHINE) as play:
        play.agent.machine.open_again(1.0)  # a code that is not waited with yet
        play.agent.kairos = None
    agent, broken = play.agent, Broken(error, play.gossip)
    agent.kairos = broken
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.run, MemoryNetwork().transport("node"), lambda: None)
        await trio.sleep(12)
        token = play.token()
        assert 2 <= broken.asked <= 4
        assert (agent.tried is error) is shown
        broken.error = None
        await trio.sleep(6)
        assert play.token() == token
        await go_send(play.gossip, token, written(CONFIG))
        await play.until(State.WRITTEN)
        assert agent.tried is None
        nursery.cancel_scope.cancel()


async def test_a_code_is_honoured_for_one_more_window(tmp_path: Path, quick_clock: object) -> None:
    async with scene(tmp_path, Form.KAIROS, MACHINE) as play:
        old = play.token()
        await trio.sleep(play.agent.settings.window + 5)
        assert play.token() != old
        with trio.fail_after(60):
            await go_send(play.gossip, old, written(CONFIG))
        await play.until(State.WRITTEN)


async def test_and_not_longer(tmp_path: Path, quick_clock: object) -> None:
    async with scene(tmp_path, Form.KAIROS, MACHINE) as play:
        old = play.token()
        await trio.sleep(2 * play.agent.settings.window + 5)
        with trio.move_on_after(60) as waited:
            await go_send(play.gossip, old, written(CONFIG))
        assert waited.cancelled_caught


async def test_a_config_that_comes_as_its_code_ends_is_not_taken(
    tmp_path: Path, quick_clock: object
) -> None:
    """The code's waiting was cancelled, but what it had in hand is still carried out."""
    async with scene(tmp_path, Form.KAIROS, MACHINE) as play:
        agent, token = play.agent, play.token()
        serving: Any = SimpleNamespace(now=trio.current_time)
        channel = KairosChannel(agent, play.gossip, serving)
        ended, waiting = trio.CancelScope(), trio.CancelScope()
        arrival = _Arrival(channel, token, ended)
        for scopes in ({}, {token: waiting}):
            channel._scopes = scopes
            arrival.started(Payload(CONFIG))
            assert ended.cancel_called
            assert agent.machine.state is State.WAITING
        control = _Arrival(channel, token, waiting)
        control.started(Payload(CONFIG))
        assert not waiting.cancel_called
        assert agent.machine.state is not State.WAITING
