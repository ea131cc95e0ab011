"""A node that shows Kairos' own code, on the memory gossip and in virtual time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import trio

from node.agent import Agent
from node.facts import recorded
from node.settings import Form, Settings
from pairing import errors
from pairing.edgevpn import nettoken
from pairing.edgevpn.nettoken import NetworkToken
from pairing.events import State
from pairing.testing.gossip import MemoryGossip
from pairing.transport.base import Transport
from pairing.transport.memory import MemoryNetwork

CANARY = "CANARY-9f3b1c"
CONFIG = f"""#cloud-config
hostname: shop-0815
users:
  - name: admin
    passwd: {CANARY}
    groups: [admin]
install:
  encrypt: none
"""
ENCRYPTED = CONFIG.replace("  encrypt: none", "  auto: true")
"""Silent about encryption, which means it."""


@dataclass(slots=True)
class Shown:
    """Remembers the states that were shown."""

    states: list[State] = field(default_factory=list)

    def show(self, agent: Agent) -> None:
        """See `node.agent.Display`."""
        if not self.states or self.states[-1] is not agent.machine.state:
            self.states.append(agent.machine.state)


@dataclass(slots=True)
class Scene:
    """A running node and the network that it waits on."""

    agent: Agent
    gossip: MemoryGossip
    transport: Transport
    nursery: trio.Nursery
    display: Shown

    def token(self) -> NetworkToken:
        """What is on the screen now, as a photo of it says."""
        return nettoken.parse(self.agent.token(), loopback=True)

    async def until(self, *states: State, seconds: float = 300) -> None:
        """Wait for one of these states."""
        with trio.fail_after(seconds):
            while self.agent.machine.state not in states:  # noqa: ASYNC110 (virtual time)
                await trio.sleep(0.05)

    async def refused(self, seconds: float = 300) -> errors.KnownError:
        """What stands beside the new code, once it waits again."""
        with trio.fail_after(seconds):
            while self.agent.tried is None:  # noqa: ASYNC110 (virtual time)
                await trio.sleep(0.05)
        assert self.agent.machine.state is State.WAITING
        return self.agent.tried


@contextlib.asynccontextmanager
async def scene(folder: Path, form: Form, machine: Path, *, delay: int = 0) -> AsyncIterator[Scene]:
    """A node that runs on a recorded machine until the context ends; `delay`: its pause."""
    shown = Shown()
    gossip, network = MemoryGossip(), MemoryNetwork(latency=0.05)
    agent = Agent(
        settings=Settings(port=0, abort_delay=delay, form=form, window=300),
        look=lambda: recorded(machine),
        display=shown,
        state=folder,
        dry_run=True,
        kairos=gossip,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.run, network.transport("node"), lambda: None)
        await trio.sleep(1)
        yield Scene(agent, gossip, network.transport(), nursery, shown)
        nursery.cancel_scope.cancel()


def written(config: str, **more: str) -> str:
    """The payload of `kairosctl register`, as it goes into the ledger."""
    return json.dumps({"cc": config, "device": "", **more})
