"""A code that is both: an operator on the native channel and a sender on the ledger, each alone,
one after the other, and at once.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from node.settings import Form
from node.testing.kairos_scene import CONFIG, ENCRYPTED, Scene, scene, written
from pairing import errors, keys
from pairing.edgevpn import session
from pairing.edgevpn.native import native_token
from pairing.edgevpn.payload import Payload
from pairing.events import State
from pairing.peertoken import Token
from pairing.protocol import handshake
from pairing.protocol.effects import NodeView
from pairing.protocol.operator import OperatorMachine
from pairing.protocol.terms import Identity, Patience, Release
from pairing.session import Decision, register
from pairing.testing.desks import RecordingDesk
from pairing.testing.gopeer import go_send
from pairing.transport.base import Target

MACHINES = Path(__file__).parents[2] / "examples" / "machines"
MACHINE = MACHINES / "fanless-emmc.json"

# --- both ---------------------------------------------------------------------------------------


async def claim(
    play: Scene, token: Token, decide: Callable[[NodeView], Decision | Awaitable[Decision]]
) -> None:
    """An operator on the native channel, to the end."""
    identity = Identity(keys.generate())
    patience = Patience(silence=30, verdict=300)
    machine = OperatorMachine(token, identity, State.WRITTEN, secrets.token_bytes, patience)
    target = Target(token.key, handshake.label(token.secret, token.key), token.addresses)
    async with play.transport.dialer() as dialer:
        await register(machine, dialer, target, RecordingDesk(decide), find=20)  # type: ignore[arg-type]


def native(play: Scene) -> Token:
    token = native_token(play.token())
    assert token is not None
    return token


def releasing(view: NodeView) -> Decision:
    return Release(config=CONFIG.encode(), escrow=(), time=1_700_000_000)


async def test_the_native_channel_works_from_the_same_photo(
    tmp_path: Path, quick_clock: object
) -> None:
    async with scene(tmp_path, Form.BOTH, MACHINE) as play:
        await claim(play, native(play), releasing)
        assert play.agent.machine.state is State.WRITTEN
        assert play.agent.machine.tenancy is not None


async def test_a_native_claim_closes_the_ledger(tmp_path: Path, quick_clock: object) -> None:
    async with scene(tmp_path, Form.BOTH, MACHINE) as play:
        photo = play.token()
        await claim(play, native(play), releasing)
        with trio.move_on_after(60) as waited:
            await go_send(play.gossip, photo, written(CONFIG))
        assert waited.cancelled_caught


async def test_a_config_on_the_ledger_closes_the_native_channel(
    tmp_path: Path, quick_clock: object
) -> None:
    async with scene(tmp_path, Form.BOTH, MACHINE, delay=30) as play:
        token = native(play)
        play.nursery.start_soon(go_send, play.gossip, play.token(), written(CONFIG))
        await play.until(State.CLAIMED, State.PLANNED)
        with pytest.raises(errors.Taken):
            await claim(play, token, releasing)
        await play.until(State.WRITTEN)
        with pytest.raises(errors.Taken):
            await claim(play, token, releasing)


async def test_after_a_refusal_the_native_channel_is_open_again(
    tmp_path: Path, quick_clock: object
) -> None:
    async with scene(tmp_path, Form.BOTH, MACHINE) as play:
        old = native(play)
        await go_send(play.gossip, play.token(), written(ENCRYPTED))
        await play.refused()
        with pytest.raises((errors.TokenSpent, errors.UnreachableError)):
            await claim(play, old, releasing)
        await claim(play, native(play), releasing)
        assert play.agent.machine.state is State.WRITTEN
        assert play.agent.tried is None


@pytest.mark.parametrize("head_start", [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.7])
async def test_one_of_two_that_come_together_gets_the_machine(
    head_start: float, tmp_path: Path, quick_clock: object
) -> None:
    """Whoever loses is told nothing that is not true: no acknowledgement, or `taken`."""
    async with scene(tmp_path, Form.BOTH, MACHINE) as play:
        photo, token, ends = play.token(), native(play), []

        async def by_ledger() -> None:
            sent = await session.send(play.gossip, photo, Payload(CONFIG), ack_seconds=30)
            if sent.acknowledged:
                ends.append("ledger")

        async def by_native() -> None:
            await trio.sleep(head_start)
            with contextlib.suppress(errors.Taken, errors.TokenSpent):
                await claim(play, token, releasing)
                ends.append("native")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(by_native)
            with contextlib.suppress(errors.KnownError):
                await by_ledger()
        await play.until(State.WRITTEN)
        held = play.agent.machine.tenancy is not None
        assert ends == (["native"] if held else ["ledger"])
