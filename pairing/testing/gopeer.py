"""Stock peers (go-nodepair on edgevpn) as their source behaves, for tests in virtual time.

Polls every 10 seconds, adopts whole blocks by height, leaves a second after its own answer, waits
for ever. The real ones are driven by `make interop`; this is to meet every timing they can have.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import trio

from pairing.edgevpn import blocktext, sealing
from pairing.edgevpn.gossip import Gossip, KairosNetwork
from pairing.edgevpn.ledger import Block, Entry, checksum, go_time
from pairing.edgevpn.limits import Unreadable
from pairing.edgevpn.names import names_at
from pairing.edgevpn.nettoken import NetworkToken
from pairing.testing.gossip import MemoryGossip

POLL, LOOK, SYNC = 10.0, 1.0, 10.0
"""Seconds: for presences, for data and answers, for saying the block again."""


@dataclass(eq=False, slots=True)
class GoPeer:
    """A stock node's ledger. `old`: edgevpn 0.28 (another hash, no rule for equal heights)."""

    gossip: Gossip
    token: NetworkToken
    chance: random.Random
    old: bool = False
    block: Block = field(default_factory=lambda: Block(0, go_time(0), {}))

    def has(self, bucket: str, key: str) -> bool:
        """Whether this key is in its ledger now."""
        return key in self.block.values(bucket)

    async def add(self, bucket: str, key: str, value: str) -> None:
        """Write, and say so once."""
        storage = {name: dict(entries) for name, entries in self.block.storage.items()}
        storage.setdefault(bucket, {})[key] = Entry(value)
        index = (self.block.index + 1 + 2**63) % 2**64 - 2**63  # an int of Go's overflows
        new = Block(index, go_time(0), storage, prev_hash=self.block.hash)
        self.block = replace(new, hash=checksum(new, plain=self.old))
        await self.say()

    async def say(self) -> None:
        """Its block, to whoever follows."""
        names = names_at(self.token, 0)
        data = blocktext.to_bytes(self.block)
        nonce = self.chance.randbytes(12)
        await self.gossip.publish(names.topic, sealing.seal(data, names.seal_key, nonce))

    async def hear(self) -> None:
        """Take in others' blocks, for ever."""
        names = names_at(self.token, 0)
        while True:
            heard = await self.gossip.receive()
            try:
                plain = sealing.unseal(heard.data, [names.seal_key])
                block = blocktext.from_bytes(plain, max_index=2**63)
            except Unreadable:
                continue
            tie = block.index == self.block.index and block.hash > self.block.hash
            if block.index > self.block.index or (tie and not self.old):
                self.block = block

    async def announce(self, interval: float, bucket: str, key: str, value: str) -> None:
        """Put a key back whenever it is missing, for ever."""
        async for _ in self._ticks(interval):
            if self.block.values(bucket).get(key) != value:
                await self.add(bucket, key, value)

    async def repeat(self) -> None:
        """Say the block again, for ever."""
        async for _ in self._ticks(SYNC):
            await self.say()

    async def until(self, bucket: str, key: str) -> None:
        """Look every second."""
        while not self.has(bucket, key):  # noqa: ASYNC110 (so do they)
            await trio.sleep(LOOK)

    async def two_present(self) -> list[str]:
        """Who is there once there are two; looked at every ten seconds."""
        while len(present := self.block.values("presence")) < 2:  # noqa: ASYNC110 (so do they)
            await trio.sleep(POLL)
        return sorted(present)

    async def _ticks(self, longest: float) -> AsyncIterator[None]:
        step = 0.5
        while True:
            await trio.sleep(step * self.chance.uniform(0.5, 1.5))
            yield
            step = min(step * 1.5, longest)


@contextlib.asynccontextmanager
async def go_peer(
    network: KairosNetwork, token: NetworkToken, seed: int, *, old: bool = False
) -> AsyncIterator[tuple[GoPeer, trio.Nursery]]:
    """A stock node that is up; what runs in the nursery ends with it."""
    async with network.joining(token, names=lambda: names_at(token, 0)) as gossip:
        peer = GoPeer(gossip, token, random.Random(seed), old)
        async with trio.open_nursery() as nursery:
            await trio.sleep(peer.chance.uniform(0, 1.0))  # its room is joined a second later
            await gossip.follow([names_at(token, 0).topic])
            nursery.start_soon(peer.hear)
            nursery.start_soon(peer.repeat)
            nursery.start_soon(peer.announce, 2.0, "presence", gossip.own_id, '""')
            yield peer, nursery
            nursery.cancel_scope.cancel()


async def go_receive(
    network: KairosNetwork, token: NetworkToken, seed: int = 1, *, old: bool = False
) -> str:
    """What stock `Receive` does; the payload's JSON."""
    async with go_peer(network, token, seed, old=old) as (peer, nursery):
        await peer.two_present()
        await peer.until("pairing", "data")
        text = peer.block.values("pairing")["data"]
        own_id = peer.gossip.own_id
        nursery.start_soon(peer.announce, 2.0, "pairing", own_id, '"ok"')
        await peer.until("pairing", own_id)
        return text


async def go_send(
    network: KairosNetwork, token: NetworkToken, text: str, seed: int = 1, *, old: bool = False
) -> None:
    """What stock `Send` does with a payload's JSON; it returns when it was answered."""
    async with go_peer(network, token, seed, old=old) as (peer, nursery):
        nursery.start_soon(peer.announce, 3.0, "pairing", "data", text)
        active = await peer.two_present()
        others = [peer_id for peer_id in active if peer_id != peer.gossip.own_id]
        while not any(peer.has("pairing", o) for o in others):  # noqa: ASYNC110 (so do they)
            await trio.sleep(LOOK)


async def go_silent(
    network: KairosNetwork, token: NetworkToken, seed: int = 5, *, leaves: float | None = None
) -> None:
    """A stock node that takes in what it hears, and never answers.

    `leaves`: seconds after the config has come; None: never.
    """
    async with go_peer(network, token, seed) as (peer, _):
        if leaves is None:
            await trio.sleep_forever()
        await peer.until("pairing", "data")
        await peer.say()
        await trio.sleep(leaves or 0.0)


def blocks_said(network: MemoryGossip, token: NetworkToken) -> list[Block]:
    """Every block that was said so far, also to nobody. For a token that does not rotate."""
    key = names_at(token, 0).seal_key
    return [blocktext.from_bytes(sealing.unseal(heard.data, [key])) for heard in network.said]
