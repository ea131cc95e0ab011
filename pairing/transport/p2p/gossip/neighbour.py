"""One connected peer as the flood sees it: what it follows, and what is on its way to it."""

from __future__ import annotations

from collections import deque

import trio
from libp2p.peer.id import ID

TOPICS_LIMIT = 64
"""Topics of a peer that are remembered; ours always are."""
OUTBOX_MESSAGES, OUTBOX_BYTES = 32, 8 * 1024 * 1024
"""What may wait for a peer. The oldest makes room: each block replaces those before it."""


class Neighbour:
    """State only; `Flood` moves it."""

    def __init__(self, peer: ID) -> None:
        self.peer = peer
        self.name = peer.to_base58()
        self.since = trio.current_time()
        self.topics: set[str] = set()
        self.speaks = 0
        """Lines on which this peer speaks pubsub to us now."""
        self.has_token = False
        """It has shown that; whoever connects is told our topic, so following it shows nothing."""
        self.is_heard = False
        """A line on which we speak to it is up."""
        self.count_sent = self.count_echoed = 0
        """RPCs that went out, and how many of them it had when it last answered."""
        self._lacks = True
        """The last publication was on a line that was lost, or before we were connected."""
        self._gone_out = trio.Event()
        self._outbox: deque[bytes] = deque()
        self._own = b""
        """What we published last, which nothing that is passed on may push out."""
        self._bytes = 0
        self._filled = trio.Event()
        self._empty = trio.Event()

    def follows(self, topics: frozenset[str]) -> bool:
        """Whether it follows one of these."""
        return not self.topics.isdisjoint(topics)

    def subscribe(self, topic: str, wanted: bool, ours: frozenset[str]) -> None:
        """It said that it follows a topic, or no longer does."""
        if not wanted:
            self.topics.discard(topic)
        elif topic in ours or len(self.topics) < TOPICS_LIMIT:
            self.topics.add(topic)

    def publish(self, rpc: bytes) -> None:
        """Send this publication of ours when its turn comes; it stands for all those before it."""
        self._lacks, self._own = False, rpc
        self.put(rpc)

    def put(self, rpc: bytes) -> None:
        """Send this when its turn comes."""
        self._outbox.append(rpc)
        self._bytes += len(rpc)
        while len(self._outbox) > OUTBOX_MESSAGES or (
            self._bytes > OUTBOX_BYTES and len(self._outbox) > 1
        ):
            spare = next(n for n, each in enumerate(self._outbox) if each is not self._own)
            self._bytes -= len(self._outbox[spare])
            del self._outbox[spare]
        self._filled.set()

    async def next(self) -> bytes:
        """What to send next; it stays in the outbox until `sent`."""
        while not self._outbox:
            self._filled = trio.Event()
            await self._filled.wait()
        return self._outbox[0]

    def sent(self, rpc: bytes) -> None:
        """It is out, as far as this end can know."""
        self.count_sent += 1
        self._gone_out.set()
        if self._outbox and self._outbox[0] is rpc:
            self._outbox.popleft()
            self._bytes -= len(rpc)
        if not self._outbox:
            self._empty.set()
            self._empty = trio.Event()

    @property
    def has_all(self) -> bool:
        """What was published last has come to it."""
        return not (self._lacks or self._outbox) and self.count_sent == self.count_echoed

    def line_lost(self) -> None:
        """Whatever it has not answered may never come."""
        self._lacks = self._lacks or not self.has_all

    async def something_sent(self) -> None:
        """Wait until there is something that it has not answered since."""
        while self.count_sent == self.count_echoed:
            self._gone_out = trio.Event()
            await self._gone_out.wait()

    async def emptied(self) -> None:
        """Wait until nothing waits to be sent."""
        if self._outbox:
            await self._empty.wait()
