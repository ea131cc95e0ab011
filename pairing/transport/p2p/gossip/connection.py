"""An authenticated connection to one peer, and the lines on it."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping

import trio
from libp2p.abc import IMuxedConn, IMuxedStream
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator

from pairing import errors
from pairing.transport.p2p import upgrade
from pairing.transport.p2p.gossip.line import Line
from pairing.transport.p2p.gossip.ping import PING
from pairing.transport.p2p.pipe import Pipe
from pairing.transport.p2p.upgrade import Caller

OPEN_SECONDS = 10.0
"""For agreeing on a protocol, on either side."""
LINES_LIMIT = 32
"""Lines that a peer may have open to us at once on one connection; go-libp2p needs about four."""


class Connection:
    """Lives until either end closes it; what goes wrong on it is the peer's or the network's."""

    def __init__(self, connection: IMuxedConn, peer: ID, pipe: Pipe, who: Caller) -> None:
        self.peer = peer
        self.path = who.path
        self.source = who.source
        self.vouched = self.follows_us = False
        self.since = trio.current_time()
        self._connection = connection
        self._pipe = pipe
        self._lines = 0
        self._scope = trio.CancelScope()
        self.ended = trio.Event()

    def __repr__(self) -> str:
        return f"<connection with {self.peer.to_base58()} by {self.path}>"

    async def run(self, handlers: Mapping[TProtocol, Handler]) -> None:
        """Carry it and answer the lines that the peer opens, until it ends. Never raises."""
        try:
            with self._scope:
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(self._accept, handlers, tasks)
                    with contextlib.suppress(Exception):
                        await self._connection.start()
                    tasks.cancel_scope.cancel()
        finally:
            self.ended.set()
            await self._pipe.close()

    async def open(self, protocol: TProtocol) -> Line:
        """A new line. Raises errors.ConnectionLost if that fails within 10 seconds."""
        try:
            with trio.fail_after(OPEN_SECONDS):
                stream = await upgrade.open_stream(self._connection, protocol)
        except Exception as error:
            raise errors.ConnectionLost(f"No line for {protocol}.") from error
        return Line(stream, self._pipe, self.ended)

    async def echo(self) -> None:
        """Return once the peer has answered something that we sent after all before.

        https://github.com/libp2p/specs/blob/master/ping/ping.md; agreeing on it is answer enough,
        as the frames of all lines come in their order. Raises errors.ConnectionLost.
        """
        line = await self.open(PING)
        await line.drop()

    def tear_down(self) -> None:
        """End it at once."""
        self._scope.cancel()

    async def aclose(self) -> None:
        """End it at once, as an `async` function."""
        self.tear_down()

    async def _accept(self, handlers: Mapping[TProtocol, Handler], tasks: trio.Nursery) -> None:
        chooser = Multiselect(dict.fromkeys(handlers))
        while True:
            try:
                stream = await self._connection.accept_stream()
            except Exception:
                return
            if self._lines >= LINES_LIMIT:
                await Line(stream, self._pipe, self.ended).drop()
                continue
            self._lines += 1
            tasks.start_soon(self._answer, stream, chooser, handlers)

    async def _answer(
        self, stream: IMuxedStream, chooser: Multiselect, handlers: Mapping[TProtocol, Handler]
    ) -> None:
        """Agree on a protocol and talk it. What fails here ends this line only."""
        line = Line(stream, self._pipe, self.ended)
        try:
            with contextlib.suppress(Exception):
                chosen, _ = await chooser.negotiate(
                    MultiselectCommunicator(stream), int(OPEN_SECONDS)
                )
                if chosen is not None and chosen in handlers:
                    await handlers[chosen](self, line)
        finally:
            self._lines -= 1
            await line.drop()


Handler = Callable[[Connection, Line], Awaitable[None]]
"""Talks on a line that a peer opened. Returning ends the line."""
