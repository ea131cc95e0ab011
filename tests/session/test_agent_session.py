"""A node's agent and an operator's session over transports: from the code to the verdict."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from node.agent import Agent
from node.facts import recorded
from node.plan.install import plan_install
from node.settings import Settings
from pairing import errors, keys, peertoken
from pairing.config.load import load
from pairing.events import EventType, State
from pairing.peertoken import Token
from pairing.protocol import handshake
from pairing.protocol.effects import Done, NodeView
from pairing.protocol.messages import VolumeProof
from pairing.protocol.operator import OperatorMachine
from pairing.protocol.terms import BEFORE_FIRST_WRITE, Identity, Patience, Release
from pairing.session import Decision, Hold, register
from pairing.testing.desks import RecordingDesk
from pairing.testing.network import loopback_transport
from pairing.transport.base import Target, Transport
from pairing.transport.memory import MemoryNetwork

MACHINES = Path(__file__).parents[2] / "examples" / "machines"
CONFIG = b"""#cloud-config
hostname: shop-0815
users:
  - name: admin
    groups: [admin]
    ssh_authorized_keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a
"""


@dataclass(slots=True)
class NoDisplay:
    """Remembers the states that were shown."""

    states: list[State] = field(default_factory=list)

    def show(self, agent: Agent) -> None:
        if not self.states or self.states[-1] is not agent.machine.state:
            self.states.append(agent.machine.state)


def agent_on(folder: Path, *, machine: str = "fanless-emmc", abort_delay: int = 0) -> Agent:
    return Agent(
        settings=Settings(port=0, abort_delay=abort_delay),
        look=lambda: recorded(MACHINES / f"{machine}.json"),
        display=NoDisplay(),
        state=folder,
        dry_run=True,
    )


@contextlib.asynccontextmanager
async def running(agent: Agent, transport: Transport) -> AsyncIterator[trio.CancelScope]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.run, transport, lambda: None)
        while not agent.reachable.addresses:  # noqa: ASYNC110 (virtual time)
            await trio.sleep(0.1)
        yield nursery.cancel_scope
        nursery.cancel_scope.cancel()


@dataclass(slots=True)
class Operator:
    desk: RecordingDesk
    identity: Identity = field(default_factory=lambda: Identity(keys.generate()))
    patience: Patience = field(default_factory=lambda: Patience(silence=30, verdict=300))

    async def pair(self, token: Token, transport: Transport, *, find: float = 20) -> Done:
        machine = OperatorMachine(
            token, self.identity, State.WRITTEN, secrets.token_bytes, self.patience
        )
        label = handshake.label(token.secret, token.key)
        target = Target(token.key, label, token.addresses)
        async with transport.dialer() as dialer:
            return await register(machine, dialer, target, self.desk, find=find)


def releasing(view: NodeView) -> Decision:
    return Release(config=CONFIG, escrow=(ESCROW.public,), time=1_700_000_000)


ESCROW = keys.generate_escrow()


async def test_from_the_code_to_written(tmp_path: Path, quick_clock: object) -> None:
    network, agent = MemoryNetwork(latency=0.05), agent_on(tmp_path)
    operator = Operator(RecordingDesk(releasing))
    async with running(agent, network.transport("node")):
        token = peertoken.parse(agent.token())
        done = await operator.pair(token, network.transport())
    assert done == Done(State.WRITTEN, already=False)
    desk = operator.desk
    assert desk.views[0].facts["serial"] == agent.facts.serial != ""
    plan = next(event.text for event in desk.events if event.state is State.PLANNED)
    assert "shop-0815" in plan
    assert all(event.dry_run for event in desk.events)
    steps = [event.step for event in desk.events if event.type is EventType.STEP]
    first_write = min(steps.index(step) for step in set(steps) - BEFORE_FIRST_WRITE)
    assert steps.index("escrow-key") < first_write
    (record,) = desk.escrow
    context = handshake.escrow_context(record.node, record.lease)
    assert len(ESCROW.open(record.keys[0].sealed, context)) == 71
    assert desk.proofs[0].dry_run
    assert isinstance(agent.display, NoDisplay)
    assert agent.display.states[-1] is State.WRITTEN


def test_both_ends_mean_the_same_steps() -> None:
    plan = plan_install(recorded(MACHINES / "fanless-emmc.json"), load(CONFIG))
    harmless = {step.name for step in plan.steps if not step.destructive}
    assert harmless >= BEFORE_FIRST_WRITE
    names = [step.name for step in plan.steps]
    assert set(names[: len(BEFORE_FIRST_WRITE)]) == BEFORE_FIRST_WRITE


@dataclass(slots=True)
class SlowDesk(RecordingDesk):
    """Its disk is slow."""

    async def keep_proof(self, proof: VolumeProof, signature: bytes) -> None:
        await trio.sleep(5)
        self.proofs.append(proof)


async def test_the_proof_is_kept_although_the_goal_is_reached_meanwhile(
    tmp_path: Path, quick_clock: object
) -> None:
    network, agent = MemoryNetwork(), agent_on(tmp_path)
    operator = Operator(SlowDesk(releasing))
    async with running(agent, network.transport("node")):
        await operator.pair(peertoken.parse(agent.token()), network.transport())
    assert len(operator.desk.proofs) == 1


async def test_over_libp2p_on_loopback(tmp_path: Path) -> None:
    transport, agent = loopback_transport(), agent_on(tmp_path)
    operator = Operator(RecordingDesk(releasing))
    async with running(agent, transport):
        token = peertoken.parse(agent.token(), loopback=True)
        assert (await operator.pair(token, transport)).state is State.WRITTEN


@pytest.mark.slow
async def test_a_thousand_cuts(tmp_path: Path, quick_clock: object) -> None:
    """However often the wires break, each byte and each event arrives once."""
    for after in range(200, 30_000, 1500):
        network, agent = MemoryNetwork(latency=0.01), agent_on(tmp_path)
        operator = Operator(RecordingDesk(releasing))
        async with running(agent, network.transport("node")):
            token = peertoken.parse(agent.token())
            network.cut_after = after
            done = await operator.pair(token, network.transport())
        assert done.state is State.WRITTEN
        seqs = [event.seq for event in operator.desk.events]
        assert seqs == sorted(set(seqs))
        (tmp_path / "journal.jsonl").unlink()


async def test_a_config_that_does_not_fit(tmp_path: Path, quick_clock: object) -> None:
    network, agent = MemoryNetwork(), agent_on(tmp_path, machine="without-disk")
    operator = Operator(RecordingDesk(releasing))
    async with running(agent, network.transport("node")):
        token = peertoken.parse(agent.token())
        with pytest.raises(errors.ConfigRefusedByNode, match="disk"):
            await operator.pair(token, network.transport())
    assert agent.error is not None


async def test_not_approved_releases_nothing(tmp_path: Path, quick_clock: object) -> None:
    network, agent = MemoryNetwork(), agent_on(tmp_path)
    operator = Operator(RecordingDesk(lambda view: Hold(errors.NotApprovedError("no"))))
    async with running(agent, network.transport("node")):
        token = peertoken.parse(agent.token())
        with pytest.raises(errors.NotApprovedError):
            await operator.pair(token, network.transport())
        assert agent.machine.state is State.CLAIMED
        operator.desk.rule = releasing
        await operator.pair(token, network.transport())


async def test_nobody_there_is_exit_5_in_time(quick_clock: object) -> None:
    operator = Operator(RecordingDesk(releasing))
    token = Token(keys.generate().public, b"s" * 16)
    start = trio.current_time()
    with pytest.raises(errors.UnreachableError):
        await operator.pair(token, MemoryNetwork().transport(), find=20)
    assert trio.current_time() - start < 25


async def test_a_node_that_is_gone_for_good(tmp_path: Path, quick_clock: object) -> None:
    network, agent = MemoryNetwork(), agent_on(tmp_path, abort_delay=3600)
    operator = Operator(RecordingDesk(releasing))

    async def kill_once_planned(scope: trio.CancelScope) -> None:
        while agent.machine.state is not State.PLANNED:  # noqa: ASYNC110 (virtual time)
            await trio.sleep(0.1)
        scope.cancel()

    outcome: list[errors.KnownError] = []

    async def pair(token: Token) -> None:
        try:
            await operator.pair(token, network.transport())
        except errors.KnownError as error:
            outcome.append(error)

    async with trio.open_nursery() as nursery, running(agent, network.transport("node")) as scope:
        token = peertoken.parse(agent.token())
        nursery.start_soon(kill_once_planned, scope)
        nursery.start_soon(pair, token)
        await trio.sleep(10_000)  # until it is killed
    assert [error.exit_code for error in outcome] == [errors.ExitCode.NO_VERDICT]


async def test_the_operator_has_thirty_seconds_to_be_noticed(
    tmp_path: Path, quick_clock: object
) -> None:
    network, agent = MemoryNetwork(), agent_on(tmp_path, abort_delay=30)
    operator = Operator(RecordingDesk(releasing))
    async with running(agent, network.transport("node")):
        await operator.pair(peertoken.parse(agent.token()), network.transport())
    times = {event.state: event.up_ms for event in operator.desk.events}
    assert times[State.INSTALLING] - times[State.PLANNED] >= 29_990


async def test_the_same_photo_twice(tmp_path: Path, quick_clock: object) -> None:
    network, agent = MemoryNetwork(), agent_on(tmp_path)
    operator = Operator(RecordingDesk(releasing))
    async with running(agent, network.transport("node")):
        token = peertoken.parse(agent.token())
        await operator.pair(token, network.transport())
        assert (await operator.pair(token, network.transport())).already
        stranger = Operator(RecordingDesk(releasing))
        with pytest.raises(errors.Taken):
            await stranger.pair(token, network.transport())
    assert len(operator.desk.views) == 1
    assert stranger.desk.views == []
