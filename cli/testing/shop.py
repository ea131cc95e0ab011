"""Nodes and operators in one process: real agents and desks, libp2p on loopback, no disk touched.

What differs from the commands: both ends are tasks of one process, and the code goes from one to
the other without a photo.
"""

from __future__ import annotations

import contextlib
import io
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import trio

from cli import approval, configs
from cli.desk import OperatorDesk, Order
from cli.keyring import Keyring
from cli.records import Records
from node.agent import Agent
from node.facts import recorded
from node.settings import Settings
from pairing import peertoken
from pairing.events import State
from pairing.protocol import handshake
from pairing.protocol.effects import Done
from pairing.protocol.operator import OperatorMachine
from pairing.protocol.terms import Identity, Patience
from pairing.report import report_for
from pairing.session import register
from pairing.testing.network import loopback_transport
from pairing.transport.base import Target

FIND_SECONDS = 60.0


class NoDisplay:
    """Nobody looks at this node."""

    def show(self, agent: Agent) -> None:
        """Nothing."""


@dataclass(slots=True)
class Shop:
    """Everything in `folder`: the operator's keys and records, the nodes' journals.

    `machine` is the recorded hardware that every node has, `config` what they get.
    """

    folder: Path
    machine: Path
    config: Path
    order: Order = field(init=False)
    identity: Identity = field(init=False)
    records: Records = field(init=False)

    def __post_init__(self) -> None:
        keyring = Keyring.at(str(self.folder / "keys"))
        document, _ = configs.read([str(self.config)], [])
        self.order = Order(
            document=document, approval=approval.read("yes"), recipients=keyring.recipients()
        )
        self.identity = keyring.identity()
        self.records = Records(self.folder / "records")

    @contextlib.asynccontextmanager
    async def node(self) -> AsyncIterator[Agent]:
        """A node that listens and shows its code, until the context ends."""
        state = self.folder / f"node-{secrets.token_hex(6)}"
        state.mkdir(parents=True)
        agent = Agent(
            settings=Settings(port=0, mdns=False, abort_delay=0),
            look=lambda: recorded(self.machine),
            display=NoDisplay(),
            state=state,
            dry_run=True,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.run, loopback_transport(), lambda: None)
            with trio.fail_after(FIND_SECONDS):
                while not agent.reachable.addresses:  # noqa: ASYNC110 (a few turns)
                    await trio.sleep(0.005)
            yield agent
            nursery.cancel_scope.cancel()

    async def pair(self, agent: Agent, patience: float = FIND_SECONDS) -> Done:
        """From the node's code to the plan carried out. `patience` in seconds, for finding the
        node and for its silence. Raises errors.KnownError.
        """
        token = peertoken.parse(agent.token(), loopback=True)
        desk = OperatorDesk(
            self.order, token, self.records, report_for("human", io.StringIO(), io.StringIO())
        )
        machine = OperatorMachine(
            token, self.identity, State.WRITTEN, secrets.token_bytes, Patience(silence=patience)
        )
        desk.machine = machine
        label = handshake.label(token.secret, token.key)
        target = Target(token.key, label, token.addresses, mdns=False)
        try:
            async with loopback_transport().dialer() as dialer:
                return await register(machine, dialer, target, desk, find=patience)
        finally:
            desk.close()
