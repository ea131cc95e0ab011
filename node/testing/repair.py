"""Repair sessions in one process: a node with a real shell, and a person who types by a script."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from node.agent import Agent
from node.rescue import Rescue
from node.settings import Settings
from pairing import keys, peertoken, repairing
from pairing.events import Mode
from pairing.facts import Facts
from pairing.peertoken import Token
from pairing.protocol import handshake
from pairing.protocol.kept import ReportFile
from pairing.protocol.repair import Ended, Opened, RepairMachine, Wanted
from pairing.protocol.terms import Identity, KnownLease, Patience
from pairing.transport.base import Target
from pairing.transport.memory import MemoryNetwork

SHELL = ("/bin/sh", "-i")
GOODBYE = (("exit", "exit\r"),)
"""A script that ends the session at once: the welcome says how."""


class NoDisplay:
    """Remembers who was shown as visitor."""

    def __init__(self) -> None:
        self.visitors: list[tuple[str, ...]] = []

    def show(self, agent: Agent) -> None:
        if not self.visitors or self.visitors[-1] != agent.rescue.visitor:
            self.visitors.append(agent.rescue.visitor)


@dataclass
class Person:
    """Types what it is told to, when what it waits for is shown."""

    script: list[tuple[str, str]]
    """Texts to wait for, and what is then typed; empty keys end the session from this side."""
    shown: str = ""
    limits: Opened | None = None
    lease: KnownLease | None = None
    slow: float = 0.0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    _news: trio.Event = field(default_factory=trio.Event)
    _from: int = 0

    async def keys(self) -> bytes:
        if not self.script:
            await trio.sleep_forever()
        awaited, typed = self.script.pop(0)
        while awaited not in self.shown[self._from :]:
            self._news = trio.Event()
            await self._news.wait()
        self._from = len(self.shown)
        return typed.encode()

    async def size_changed(self) -> tuple[int, int]:
        if not self.sizes:
            await trio.sleep_forever()
        return self.sizes.pop(0)

    async def show(self, data: bytes) -> None:
        await trio.sleep(self.slow)
        self.shown += data.decode("utf-8", "replace")
        self._news.set()

    def opened(self, opened: Opened) -> None:
        self.limits = opened

    async def keep_lease(self, known: KnownLease) -> None:
        self.lease = known

    def notice(self, text: str) -> None:
        pass


def agent_in(
    folder: Path,
    *,
    fleets: tuple[keys.PinnedFleet, ...] = (),
    installed: Callable[[], ReportFile | None] = lambda: None,
    mode: Mode = Mode.RECOVERY,
    open_rescue: bool = False,
) -> Agent:
    return Agent(
        settings=Settings(port=0, fleets=fleets, open_rescue=open_rescue),
        look=Facts,
        display=NoDisplay(),
        state=folder,
        installed=installed,
        mode=mode,
        repairable=True,
        rescue=Rescue(folder=folder / "rescue", shell=SHELL, close_tpm=lambda: None),
    )


@contextlib.asynccontextmanager
async def running(agent: Agent, network: MemoryNetwork) -> AsyncIterator[Token]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.run, network.transport("node"), lambda: None)
        while not agent.reachable.addresses:  # noqa: ASYNC110 (virtual time)
            await trio.sleep(0.1)
        yield peertoken.parse(agent.token())
        nursery.cancel_scope.cancel()


def station(fleet: keys.SigningKey, key: keys.SigningKey | None = None) -> Identity:
    key = key or keys.generate()
    return Identity(key, keys.certify(fleet, key.public, 1, "north"))


async def repaired(
    token: Token,
    network: MemoryNetwork,
    person: Person,
    identity: Identity,
    wanted: Wanted | None = None,
) -> Ended:
    machine = RepairMachine(
        key=token.key,
        subject=token.id,
        secret=token.secret,
        identity=identity,
        wanted=wanted or Wanted(columns=80, rows=24, kind="xterm"),
        random=secrets.token_bytes,
        patience=Patience(silence=60),
    )
    target = Target(token.key, handshake.label(token.secret, token.key), token.addresses)
    async with network.transport().dialer() as dialer:
        return await repairing.repair(machine, dialer, target, person, find=20)
