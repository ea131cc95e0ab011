"""Kairos' gossip inside one process, with the faults of a real one, on trio's clock.

`pairing.edgevpn.session` runs on it unchanged; so do stock peers as `gopeer` plays them.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import trio
import trio.testing

from pairing import errors
from pairing.edgevpn.gossip import Heard
from pairing.edgevpn.names import Names
from pairing.edgevpn.nettoken import NetworkToken


@dataclass(eq=False, slots=True)
class MemoryGossip:
    """Who takes part in which token's gossip, and what is wrong between them.

    `latency` and `jitter`: seconds for a message, and how many more at most (so they overtake each
    other). `loss` and `repeats`: how likely a message is lost, or comes twice. `meeting`: seconds
    until two find each other. `seed` for all chance.
    """

    latency: float = 0.01
    jitter: float = 0.0
    loss: float = 0.0
    repeats: float = 0.0
    meeting: float = 0.1
    seed: int = 1
    said: list[Heard] = field(default_factory=list)
    """Everything that was said by anybody, also what nobody heard."""
    _places: list[MemoryPlace] = field(default_factory=list)
    _chance: random.Random = field(init=False)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    @contextlib.asynccontextmanager
    async def joining(
        self, token: NetworkToken, *, names: Callable[[], Names]
    ) -> AsyncIterator[MemoryPlace]:
        """A place among the token's holders, until the context ends."""
        place = MemoryPlace(self, f"12D3KooWMemory{next(self._numbers)}", token.mdns)
        names()
        self._places.append(place)
        try:
            yield place
        finally:
            self._places.remove(place)

    def others(self, place: MemoryPlace) -> list[MemoryPlace]:
        """Who is connected with it and shares a topic."""
        now = trio.current_time()
        return [
            other
            for other in self._places
            if other is not place
            and other.network_name == place.network_name
            and not (place.parted or other.parted)
            and now >= max(place.since, other.since) + self.meeting
        ]

    def carry(self, place: MemoryPlace, topic: str, data: bytes) -> None:
        """A message on its way to all that follow its topic."""
        heard = Heard(topic, data, place.own_id)
        self.said.append(heard)
        for other in self.others(place):
            copies = 1 + (self._chance.random() < self.repeats)
            place.due[other.own_id] = float("inf")
            if topic in other.topics and self._chance.random() >= self.loss:
                for _ in range(copies):
                    when = trio.current_time() + self.latency + self._chance.random() * self.jitter
                    other.arrives(when, heard)
                    place.due[other.own_id] = when


@dataclass(eq=False, slots=True)
class MemoryPlace:
    """One peer's `Gossip`. `parted`: it is cut off from all others."""

    network: MemoryGossip
    own_id: str
    network_name: str
    parted: bool = False
    topics: frozenset[str] = frozenset()
    since: float = field(default_factory=trio.current_time)
    services: dict[str, Callable[[str, trio.abc.Stream], None]] = field(default_factory=dict)
    """What answers to a protocol: called with the caller's id and its stream."""
    vouched: set[str] = field(default_factory=set)
    due: dict[str, float] = field(default_factory=dict)
    """When what was said last comes to each of the others."""
    _inbox: list[tuple[float, int, Heard]] = field(default_factory=list)
    _news: trio.Event = field(default_factory=trio.Event)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def follow(self, topics: Sequence[str]) -> None:
        """Hear exactly these topics."""
        self.topics = frozenset(topics)
        await trio.lowlevel.checkpoint()

    async def publish(self, topic: str, data: bytes) -> None:
        """Say it to all that are connected."""
        self.network.carry(self, topic, data)
        await trio.lowlevel.checkpoint()

    async def receive(self) -> Heard:
        """The next message that has arrived."""
        while True:
            due = self._inbox[0][0] if self._inbox else float("inf")
            if due <= trio.current_time():
                await trio.lowlevel.checkpoint()
                return heapq.heappop(self._inbox)[2]
            with trio.move_on_at(due):
                await self._news.wait()
            self._news = trio.Event() if self._news.is_set() else self._news

    def peers(self) -> frozenset[str]:
        """Who is connected and shares a topic."""
        others = self.network.others(self)
        return frozenset(other.own_id for other in others if other.topics & self.topics)

    def reached(self) -> frozenset[str]:
        """Who has got what was said last."""
        now = trio.current_time()
        return frozenset(peer for peer in self.peers() if self.due.get(peer, now + 1) <= now)

    def vouch(self, peer: str) -> None:
        """It is kept in mind."""
        self.vouched.add(peer)

    async def open(self, peer: str, protocol: str) -> trio.abc.HalfCloseableStream:
        """A stream to a connected peer's service."""
        await trio.lowlevel.checkpoint()
        place = next((p for p in self.network.others(self) if p.own_id == peer), None)
        if place is None or protocol not in place.services:
            raise errors.ConnectionLost
        ours, theirs = trio.testing.memory_stream_pair()
        place.services[protocol](self.own_id, theirs)
        return ours

    def arrives(self, when: float, heard: Heard) -> None:
        """A message is under way to here."""
        heapq.heappush(self._inbox, (when, next(self._numbers), heard))
        self._news.set()
