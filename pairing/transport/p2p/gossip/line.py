"""One libp2p stream as a line of whole messages, each behind its length."""

from __future__ import annotations

import contextlib

import trio
from libp2p.abc import IMuxedStream
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from pairing import errors
from pairing.transport.p2p.pipe import CHUNK, Pipe

_LENGTH_BYTES = 5
"""A varint of more bytes than this would announce a message beyond any limit here."""


class Line:
    """Messages with a varint length in front, as pubsub, identify and Kademlia write them.

    https://github.com/multiformats/unsigned-varint. What is lost raises errors.ConnectionLost,
    what breaks the rules errors.ProtocolBroken. A `receive` that is cancelled may lose bytes:
    drop the line then.
    """

    def __init__(self, stream: IMuxedStream, pipe: Pipe, cut: trio.Event) -> None:
        """`cut` is set once the connection below is gone."""
        self.stream = stream
        self.cut = cut
        self.pipe = pipe
        self._buffer = bytearray()

    async def send(self, message: bytes) -> None:
        """One message."""
        framed = prefixed(message)
        try:
            await self.stream.write(framed)
        except Exception as error:
            raise errors.ConnectionLost from error
        self.pipe.taken(len(framed))

    async def receive(self, limit: int) -> bytes | None:
        """The next message of at most `limit` bytes; None once the other end has closed."""
        size = await self._length()
        if size is None:
            return None
        if size > limit:
            raise errors.ProtocolBroken(f"A message of {size} bytes, the limit is {limit}.")
        while len(self._buffer) < size:
            if not await self._read():
                raise errors.ConnectionLost
        message = bytes(self._buffer[:size])
        del self._buffer[:size]
        return message

    async def finish(self) -> None:
        """Nothing more will be sent; the other end may still talk."""
        with contextlib.suppress(Exception):
            await self.stream.close()

    async def drop(self) -> None:
        """End the line at once, even if cancelled. Never raises; takes a second at most."""
        with trio.move_on_after(1, shield=True), contextlib.suppress(Exception):
            await self.stream.reset()

    async def _length(self) -> int | None:
        value = count = 0
        while True:
            while not self._buffer:
                if not await self._read():
                    if count:
                        raise errors.ConnectionLost
                    return None
            byte = self._buffer.pop(0)
            value |= (byte & 0x7F) << (7 * count)
            count += 1
            if byte < 0x80:
                return value
            if count == _LENGTH_BYTES:
                raise errors.ProtocolBroken("A message's length is beyond every limit.")

    async def _read(self) -> bool:
        try:
            data = await self.stream.read(CHUNK)
        except MuxedStreamEOF as error:
            # libp2p says EOF for a reset, too, once it has forgotten the stream.
            if getattr(self.stream, "reset_received", False) or self.cut.is_set():
                raise errors.ConnectionLost from error
            return False
        except Exception as error:
            raise errors.ConnectionLost from error
        self.pipe.taken(len(data))
        self._buffer += data
        return bool(data)


def prefixed(message: bytes) -> bytes:
    """The message behind its length."""
    length, head = len(message), bytearray()
    while length >= 0x80:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + message
