"""A node over its reboot and its operator, on the memory network: for tests of what is told."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from node import afterwards
from node.agent import Agent
from node.facts import recorded
from node.settings import Settings
from pairing import errors, keys, peertoken
from pairing.events import Mode, State
from pairing.peertoken import Token
from pairing.protocol import handshake
from pairing.protocol.effects import Done, NodeView
from pairing.protocol.messages import EscrowRecord, Manifest, SealedKey
from pairing.protocol.operator import OperatorMachine
from pairing.protocol.terms import Identity, KnownLease, Patience, Release
from pairing.serving import Reporter
from pairing.session import Decision, register
from pairing.testing.desks import RecordingDesk
from pairing.transport.base import Target, Transport
from pairing.transport.memory import MemoryNetwork

MACHINE = Path(__file__).parents[2] / "examples" / "machines" / "fanless-emmc.json"


@dataclass(slots=True)
class NoDisplay:
    """Nobody looks."""

    def show(self, agent: Agent) -> None:
        """Nobody looks."""


@dataclass(slots=True)
class Shop(Agent):
    """A node that installs in no time: only what it says and keeps is looked at here."""

    off: trio.Event = field(default_factory=trio.Event)
    report: bytes = b""
    key: bytes = b""
    """Its recovery key, if it has one."""

    def sealed(self, key: bytes, recipients: Sequence[bytes]) -> EscrowRecord:
        """The record of a recovery key."""
        node, held = self.machine.public, self.machine.tenancy
        assert held is not None
        context = handshake.escrow_context(node, held.lease)
        kept = tuple(
            SealedKey(recipient=to, sealed=keys.seal(key, to, context)) for to in recipients
        )
        return EscrowRecord(node=node, lease=held.lease, serial="S-1", keys=kept)

    async def check(self, manifest: Manifest, config: bytes) -> Sequence[str]:
        return ("1/1 nothing",)

    async def install(self, manifest: Manifest, delay: float, reporter: Reporter) -> None:
        reporter.entered(State.INSTALLING)
        if self.key:
            await reporter.escrow(self.sealed(self.key, manifest.escrow))
        self.keep(self.state / "tenancy.json")
        self.report = self.report_file()
        reporter.entered(State.WRITTEN)
        reporter.entered(State.REBOOTING)
        await reporter.heard(20)
        self.off.set()


def shop(folder: Path, mode: Mode = Mode.LIVE) -> Shop:
    return Shop(
        settings=Settings(port=0, abort_delay=0),
        look=lambda: recorded(MACHINE),
        display=NoDisplay(),
        state=folder,
        mode=mode,
    )


@dataclass(slots=True)
class Operator:
    goal: State = State.READY
    desk: RecordingDesk = field(default_factory=lambda: RecordingDesk(releasing))
    identity: Identity = field(default_factory=lambda: Identity(keys.generate()))
    known: KnownLease | None = None
    outcome: Done | errors.KnownError | None = None

    async def pair(self, token: Token, transport: Transport) -> None:
        """Until the goal, or why not: see `outcome`."""
        patience = Patience(silence=30, reboot=300, verdict=3000)
        machine = OperatorMachine(
            token, self.identity, self.goal, secrets.token_bytes, patience, self.known
        )
        target = Target(token.key, handshake.label(token.secret, token.key), token.addresses)
        async with transport.dialer() as dialer:
            try:
                self.outcome = await register(machine, dialer, target, self.desk, find=60)
            except errors.KnownError as error:
                self.outcome = error


def releasing(view: NodeView) -> Decision:
    return Release(config=b"#cloud-config\n", reboot=True, report_for=600)


@contextlib.asynccontextmanager
async def installed_by(
    operator: Operator, network: MemoryNetwork, folder: Path
) -> AsyncIterator[Shop]:
    """A machine that has just gone down to restart, while its operator waits for it."""
    agent = shop(folder)
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as first:
            first.start_soon(agent.run, network.transport("node"), lambda: None)
            while not agent.reachable.addresses:  # noqa: ASYNC110 (virtual time)
                await trio.sleep(0.1)
            token = peertoken.parse(agent.token())
            nursery.start_soon(operator.pair, token, network.transport())
            await agent.off.wait()
            first.cancel_scope.cancel()
        await trio.sleep(60)  # firmware and boot
        yield agent
        with trio.move_on_after(4000):
            while operator.outcome is None:  # noqa: ASYNC110 (virtual time)
                await trio.sleep(1)
        nursery.cancel_scope.cancel()


async def the_good_way(reporter: Reporter) -> None:
    for state in (State.INSTALLED, State.JOINED, State.READY):
        await trio.sleep(20)
        reporter.entered(state)


async def rebooted(network: MemoryNetwork, folder: Path, life: afterwards.Life) -> Agent:
    agent = shop(folder)
    assert afterwards.restore(agent, folder / "tenancy.json")
    await afterwards.run_installed(agent, network.transport("node"), lambda: None, life)
    return agent
