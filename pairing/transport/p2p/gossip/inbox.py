"""What was heard and not yet taken: bounded, the newest stays."""

from __future__ import annotations

from collections import deque

import trio

from pairing.edgevpn.gossip import Heard

MESSAGES_LIMIT, BYTES_LIMIT = 64, 16 * 1024 * 1024


class Inbox:
    """A queue for one reader. When it is full the oldest goes: blocks replace each other."""

    def __init__(self) -> None:
        self._heard: deque[Heard] = deque()
        self._bytes = 0
        self._filled = trio.Event()

    def put(self, heard: Heard) -> None:
        """Keep it for the reader."""
        self._heard.append(heard)
        self._bytes += len(heard.data)
        while len(self._heard) > MESSAGES_LIMIT or self._bytes > BYTES_LIMIT:
            self._bytes -= len(self._heard.popleft().data)
        self._filled.set()

    async def take(self) -> Heard:
        """The oldest one kept; waits for one."""
        while not self._heard:
            self._filled = trio.Event()
            await self._filled.wait()
        heard = self._heard.popleft()
        self._bytes -= len(heard.data)
        await trio.lowlevel.checkpoint()
        return heard
