"""What was heard and not yet taken: bounded for each neighbour, so that none crowds others out."""

from __future__ import annotations

from collections import deque

import trio

from pairing.edgevpn.gossip import Heard

MESSAGES_LIMIT, BYTES_LIMIT = 128, 16 * 1024 * 1024
MESSAGES_EACH, BYTES_EACH = 8, 4 * 1024 * 1024
"""Of one neighbour; its newest message may be larger than that alone."""


class _Queue:
    def __init__(self) -> None:
        self.heard: deque[Heard] = deque()
        self.bytes = 0

    def put(self, heard: Heard) -> None:
        self.heard.append(heard)
        self.bytes += len(heard.data)

    def take(self) -> Heard:
        heard = self.heard.popleft()
        self.bytes -= len(heard.data)
        return heard


class Inbox:
    """Queues for one reader, who hears all neighbours in turn.

    When one is full its oldest message goes, as blocks replace each other; when all together are,
    the oldest of who has most. What a neighbour says itself and what it only passes on are kept
    apart: others' rubbish must not cost it its own word.
    """

    def __init__(self) -> None:
        self._queues: dict[tuple[str, bool], _Queue] = {}
        self._filled = trio.Event()

    def __len__(self) -> int:
        return sum(len(queue.heard) for queue in self._queues.values())

    def put(self, heard: Heard, neighbour: str) -> None:
        """Keep for the reader what came from that neighbour (a peer id)."""
        queue = self._queues.setdefault((neighbour, heard.sender == neighbour), _Queue())
        queue.put(heard)
        while len(queue.heard) > MESSAGES_EACH or (
            queue.bytes > BYTES_EACH and len(queue.heard) > 1
        ):
            queue.take()
        while len(self) > MESSAGES_LIMIT:
            # Of as many: what is only passed on. Every neighbour's own word has a place.
            self._shorten(max(self._queues, key=lambda k: (len(self._queues[k].heard), not k[1])))
        while sum(each.bytes for each in self._queues.values()) > BYTES_LIMIT:
            self._shorten(max(self._queues, key=lambda key: self._queues[key].bytes))
        self._filled.set()

    async def take(self) -> Heard:
        """The oldest one of the neighbour whose turn it is; waits for one."""
        while not self._queues:
            self._filled = trio.Event()
            await self._filled.wait()
        key = next(iter(self._queues))
        queue = self._queues[key]
        heard = self._shorten(key)
        if key in self._queues:  # To the end of the row.
            del self._queues[key]
            self._queues[key] = queue
        await trio.lowlevel.checkpoint()
        return heard

    def _shorten(self, key: tuple[str, bool]) -> Heard:
        queue = self._queues[key]
        heard = queue.take()
        if not queue.heard:
            del self._queues[key]
        return heard
