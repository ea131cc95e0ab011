"""Several operators with one photo at once, over real sockets."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from pairing import errors, keys, serving
from pairing.events import State
from pairing.peertoken import Token
from pairing.protocol import handshake
from pairing.protocol.callers import NodePolicy
from pairing.protocol.effects import CarryOut, NodeView
from pairing.protocol.messages import Manifest
from pairing.protocol.node import NodeMachine
from pairing.protocol.operator import OperatorMachine
from pairing.protocol.requests import UnlockKind
from pairing.protocol.terminal import OpenTerminal, TerminalClosed
from pairing.protocol.terms import Identity, Patience
from pairing.protocol.tpmproof import TpmAnswer, TpmQuestion, TpmUnproved
from pairing.serving import Reporter, TerminalTalk
from pairing.session import Decision, Refuse, register
from pairing.testing.desks import RecordingDesk
from pairing.transport.base import Address, Target, Transport


@dataclass(slots=True)
class IdleHands:
    """A machine that plans one line and installs nothing."""

    configs: list[bytes] = field(default_factory=list)

    def changed(self) -> None:
        """No screen."""

    async def check(self, manifest: Manifest, config: bytes) -> Sequence[str]:
        self.configs.append(config)
        return ("1/1 nothing",)

    async def install(self, manifest: Manifest, delay: float, reporter: Reporter) -> None:
        reporter.entered(State.WRITTEN)

    def remember(self) -> None:
        """Nothing outlives the race."""

    async def ask_tpm(self, question: TpmQuestion) -> TpmAnswer:
        return TpmUnproved(text="no TPM")

    async def terminal(self, order: OpenTerminal, talk: TerminalTalk, reporter: Reporter) -> None:
        talk.send(TerminalClosed(code=errors.RescueRefused.slug, text="", status=0))

    async def unlock(self, kind: UnlockKind, secret: bytes) -> None:
        """It is never locked."""

    async def maintain(self, order: CarryOut, reporter: Reporter) -> None:
        """It has no volumes."""

    def opened(self) -> None:
        """It is never locked."""

    def settled(self) -> None:
        """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Race:
    """How one race ended: who got the node, and what the others heard."""

    winners: int
    taken: int
    others: Sequence[errors.KnownError]


def new_node() -> NodeMachine:
    """A node that shows the next code right after a refusal."""
    return NodeMachine(
        key=keys.generate(),
        boot="boot",
        facts={"serial": "FACTS"},
        policy=NodePolicy(refused_pause=0.0),
        random=secrets.token_bytes,
    )


async def race_many(
    transport: Transport, *, nodes: int, races: int, operators: int = 2
) -> list[Race]:
    """Let `operators` race for the same photo, `races` times on each of `nodes` at once."""
    results: list[Race] = []
    async with trio.open_nursery() as nursery:
        for _ in range(nodes):
            nursery.start_soon(_races, transport, races, operators, results)
    return results


async def _races(transport: Transport, races: int, operators: int, results: list[Race]) -> None:
    machine = new_node()
    async with (
        transport.listener(machine.key.seed, 0) as listener,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(serving.serve, machine, listener, IdleHands())
        address = listener.reachable().addresses[0]
        for _ in range(races):
            one = await _race(transport, machine, address, operators)
            results.append(one)
        nursery.cancel_scope.cancel()


async def _race(transport: Transport, machine: NodeMachine, address: Address, count: int) -> Race:
    token = machine.token()
    over, ready = trio.Event(), trio.Semaphore(0)
    decided: list[NodeView] = []
    heard: list[errors.KnownError] = []

    def decide(view: NodeView) -> Decision:
        decided.append(view)
        return Refuse(errors.NotApprovedError("the race is over"))

    async def run() -> None:
        desk = RecordingDesk(decide, before_deciding=over.wait)
        try:
            await _claim(transport, token, address, desk)
        except errors.NotApprovedError:
            pass
        except errors.KnownError as error:
            heard.append(error)
        ready.release()

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(run)
        for _ in range(count - 1):
            await ready.acquire()
        over.set()
    while machine.tenancy is not None:  # noqa: ASYNC110 (the node's own clock ends it)
        await trio.sleep(0.1)
    taken = [error for error in heard if isinstance(error, errors.Taken)]
    others = [error for error in heard if not isinstance(error, errors.Taken)]
    return Race(len(decided), len(taken), others)


async def _claim(transport: Transport, token: Token, address: Address, desk: RecordingDesk) -> None:
    machine = OperatorMachine(
        token, Identity(keys.generate()), State.WRITTEN, secrets.token_bytes, Patience()
    )
    target = Target(token.key, handshake.label(token.secret, token.key), (address,), mdns=False)
    async with transport.dialer() as dialer:
        await register(machine, dialer, target, desk, find=20)
