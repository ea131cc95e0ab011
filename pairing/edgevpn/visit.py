"""A short visit to a running network of Kairos: hear its ledger, write to it, use its services.

A network's ledger is whatever block is highest: a stranger with the token, or a careless newcomer,
could replace all of it. So a visitor says nothing before it has heard the network, and then only
the network's own content with a little added. Deadlines are the caller's: each wait has one.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import trio

from pairing import errors
from pairing.edgevpn import blocktext, sealing
from pairing.edgevpn.authors import Authors
from pairing.edgevpn.gossip import Gossip, KairosNetwork
from pairing.edgevpn.ledger import Block, Heard, Ledger
from pairing.edgevpn.limits import Unreadable
from pairing.edgevpn.mesh import Setting, Storage, holds
from pairing.edgevpn.names import accepted_at, names_at
from pairing.edgevpn.nettoken import NetworkToken

T = TypeVar("T")
SETTLE_SECONDS = 6.0
"""After the first block: a newcomer's own, nearly empty one may come before the network's."""
SAY_SECONDS = 3.0
"""How often what we wrote is said again."""
FOLLOW_SECONDS = 1.0
"""How often it is looked whether a token that rotates has new names."""


class Visit:
    """One place in the network's gossip. Made by `visiting` only."""

    def __init__(self, gossip: Gossip, token: NetworkToken, unix: Callable[[], float]) -> None:
        self.gossip = gossip
        self._token, self._unix = token, unix
        self._ledger = Ledger(unix())
        self._authors = Authors()
        self._heard = False
        self._changed = trio.Event()
        self._kept: dict[tuple[str, str], Setting] = {}
        self._seen_elsewhere: set[Setting] = set()

    # --- what callers ask for -----------------------------------------------------------------

    async def find(self, what: Callable[[Storage], T | None], seconds: float) -> T:
        """What the ledger holds, as soon as it does.

        Raises errors.MeshNobody if no member was heard in `seconds`, errors.MeshHoldsNone if only
        this was not found, and whatever `what` raises.
        """
        with trio.move_on_after(seconds):
            while True:
                changed = self._changed
                found = what(self.storage()) if self._heard else None
                if found is not None:
                    return found
                await changed.wait()
        raise errors.MeshHoldsNone() if self._heard else errors.MeshNobody()

    async def settled(self, seconds: float) -> Storage:
        """The whole ledger, once a member was heard and others had the time to correct it.

        Raises errors.MeshNobody.
        """
        await self.find(lambda _: True, seconds)
        await trio.sleep(SETTLE_SECONDS)
        return self.storage()

    async def write(self, setting: Setting, seconds: float) -> None:
        """Write it, and put it back when others lose it, until another member holds it.

        Raises errors.MeshNobody (nothing was written), errors.MeshNotConfirmed.
        """
        before = trio.current_time()
        await self.find(lambda _: True, seconds)
        self._keep(setting)
        await self._say()
        with trio.move_on_after(max(SAY_SECONDS, seconds - (trio.current_time() - before))):
            while setting not in self._seen_elsewhere:
                await self._changed.wait()
            return
        raise errors.MeshNotConfirmed

    def storage(self) -> Storage:
        """What is known now."""
        block = self._ledger.block
        return {bucket: block.values(bucket) for bucket in block.storage}

    # --- the gossip ---------------------------------------------------------------------------

    def _keep(self, setting: Setting) -> None:
        self._kept[setting.bucket, setting.key] = setting
        self._ledger.write(setting.bucket, setting.key, setting.value, self._unix())

    async def follow(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hear the topic of the moment and its neighbours. Until cancelled."""
        followed: tuple[str, ...] = ()
        while True:
            names = accepted_at(self._token, math.floor(self._unix()))
            topics = tuple(name.topic for name in names)
            if topics != followed:
                await self.gossip.follow(topics)
                if not followed:
                    task_status.started()
                followed = topics
            await trio.sleep(FOLLOW_SECONDS)

    async def listen(self) -> None:
        """Take in what others say. Until cancelled."""
        while True:
            heard = await self.gossip.receive()
            names = accepted_at(self._token, math.floor(self._unix()))
            keys = [name.seal_key for name in names if name.topic == heard.topic]
            try:
                block = blocktext.from_bytes(sealing.unseal(heard.data, keys))
            except Unreadable:
                continue
            if self._authors.is_own(heard.data, heard.sender):
                self.gossip.vouch(heard.sender)
            if await self._take(block):
                await self._say()

    async def _take(self, block: Block) -> bool:
        """Whether ours is to be said again at once."""
        what = self._ledger.hear(block, self._unix())
        self._heard = True
        theirs = {bucket: block.values(bucket) for bucket in block.storage}
        self._seen_elsewhere |= {s for s in self._kept.values() if holds(theirs, s)}
        self._changed.set()
        self._changed = trio.Event()
        return what is Heard.WROTE and bool(self._kept)

    async def repeat(self) -> None:
        """Say what we wrote, again and again: a message may be lost. Until cancelled."""
        while True:
            await trio.sleep(SAY_SECONDS)
            if self._kept:
                await self._say()

    async def _say(self) -> None:
        names = names_at(self._token, math.floor(self._unix()))
        data = blocktext.to_bytes(self._ledger.block)
        nonce = secrets.token_bytes(sealing.NONCE_SIZE)
        self._authors.first(nonce, self.gossip.own_id)
        await self.gossip.publish(names.topic, sealing.seal(data, names.seal_key, nonce))


@contextlib.asynccontextmanager
async def visiting(
    network: KairosNetwork, token: NetworkToken, *, unix: Callable[[], float] = time.time
) -> AsyncIterator[Visit]:
    """Take part until the context ends. `unix`: the time in seconds, for tokens that rotate."""
    joining = network.joining(token, names=lambda: names_at(token, math.floor(unix())))
    async with joining as gossip, trio.open_nursery() as nursery:
        visit = Visit(gossip, token, unix)
        await nursery.start(visit.follow)
        nursery.start_soon(visit.listen)
        nursery.start_soon(visit.repeat)
        try:
            yield visit
        finally:
            nursery.cancel_scope.cancel()
