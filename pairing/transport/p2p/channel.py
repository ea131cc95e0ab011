"""An authenticated channel: one libp2p stream on one connection that we own from end to end."""

from __future__ import annotations

import contextlib

import trio
from libp2p.abc import IMuxedConn, IMuxedStream
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from pairing import errors
from pairing.transport.p2p.pipe import CHUNK, Pipe

INBOX = 256 * 1024
"""Bytes kept for a reader that is slower than its peer; then yamux holds the peer back."""
LINGER_SECONDS = 2.0
"""How long a closed channel waits for the other end to have read the last words."""


class P2PChannel:
    """See `pairing.transport.base.Channel`.

    A pump task reads ahead into `_inbox`, so `receive` can be cancelled without losing a byte,
    and last words are not lost when the other end goes away right after them. A `send` that is
    cancelled closes the channel: nobody knows how much of it has left.
    """

    def __init__(
        self, *, local_key: bytes, remote_key: bytes, path: str, source: str, pipe: Pipe
    ) -> None:
        self.local_key = local_key
        self.remote_key = remote_key
        self.path = path
        self.source = source
        self.vouched = False
        self.ended = trio.Event()
        """Set once the connection is gone and its socket closed."""
        self._pipe = pipe
        self._stream: IMuxedStream | None = None
        self._inbox = bytearray()
        self._changed = trio.Event()
        self._eof = False
        self._lost = False
        self._closing = trio.Event()
        self._scope = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<channel with {self.remote_key.hex()[:16]} by {self.path}>"

    def vouch(self) -> None:
        self.vouched = True

    async def send(self, data: bytes) -> None:
        if self._stream is None or self._eof or self._lost or self._closing.is_set():
            raise errors.ConnectionLost
        try:
            await self._stream.write(data)
        except Exception as error:
            self._lose()
            raise errors.ConnectionLost from error
        except BaseException:
            self._lose()
            raise
        self._pipe.taken(len(data))

    async def receive(self, max_bytes: int = CHUNK) -> bytes:
        while not self._inbox:
            if self._closing.is_set():
                raise errors.ConnectionLost("The channel was closed here.")
            if self._eof:
                return b""
            if self._lost:
                raise errors.ConnectionLost
            await self._changed.wait()
        data = bytes(self._inbox[:max_bytes])
        del self._inbox[:max_bytes]
        self._wake()
        return data

    async def aclose(self) -> None:
        self._closing.set()
        self._wake()

    # --- run by upgrade.py in the transport's nursery ---

    async def run_connection(self, connection: IMuxedConn) -> None:
        """Carry the connection's frames until it ends or is torn down. Closes its socket."""
        try:
            with self._scope, contextlib.suppress(Exception):
                # What fails here is the peer's fault or the network's: the channel is lost.
                await connection.start()
        finally:
            self._lose()
            self.ended.set()
            await self._pipe.close()

    def use(self, stream: IMuxedStream, tasks: trio.Nursery) -> None:
        """Talk on this stream from now on."""
        self._stream = stream
        tasks.start_soon(self._run_stream, stream)

    async def _run_stream(self, stream: IMuxedStream) -> None:
        """Pump the stream into the inbox until it ends; then close in order."""
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._pump, stream)
            await self._closing_or_lost()
            with trio.move_on_after(LINGER_SECONDS):
                if not self._lost:
                    await self._say_goodbye(stream)
            tasks.cancel_scope.cancel()
        self.tear_down()

    def tear_down(self) -> None:
        """End the connection at once."""
        self._lose()
        self._scope.cancel()

    async def _pump(self, stream: IMuxedStream) -> None:
        try:
            while True:
                while len(self._inbox) >= INBOX and not self._closing.is_set():
                    await self._changed.wait()
                data = await stream.read(CHUNK)
                self._pipe.taken(len(data))
                if not self._closing.is_set():
                    self._inbox += data
                    self._wake()
        except MuxedStreamEOF:
            # libp2p says EOF for a FIN and for a connection that was cut. Only a FIN leaves
            # the connection alive.
            self._eof = not self.ended.is_set() and not self._lost and _finished(stream)
        except Exception:
            self._eof = False
        if not self._eof:
            self._lost = True
        self._wake()

    async def _closing_or_lost(self) -> None:
        while not (self._closing.is_set() or self._lost):
            await self._changed.wait()

    async def _say_goodbye(self, stream: IMuxedStream) -> None:
        try:
            await stream.close()
        except Exception:
            self._lose()
        while not (self._eof or self._lost):
            await self._changed.wait()

    def _lose(self) -> None:
        self._lost = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _finished(stream: IMuxedStream) -> bool:
    """Whether the other end closed this stream properly, on a connection that still lives."""
    connection = stream.muxed_conn
    return not connection.is_closed and not getattr(stream, "reset_received", False)
