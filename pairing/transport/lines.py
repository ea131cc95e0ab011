"""Short text lines on a byte stream that becomes a pipe: what both ends of a relay speak."""

from __future__ import annotations

import trio

from pairing.transport.relay_protocol import LINE_LIMIT

CHUNK = 16 * 1024
"""Bytes read at once from a pipe; also all that one direction of a circuit buffers."""


class LineTooLong(ValueError):
    """A line did not end within its limit, or is not ASCII."""


class LineStream(trio.abc.Stream):
    """A stream whose beginning is lines. Bytes behind the last line are not lost to the pipe.

    Raises what the inner stream raises: trio.BrokenResourceError, trio.ClosedResourceError.
    """

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner = inner
        self._buffer = bytearray()

    async def receive_line(self, limit: int = LINE_LIMIT) -> str:
        """The next line without its line feed, at most `limit` bytes with it.

        May be cancelled without losing a byte. Raises LineTooLong; trio.EndOfChannel at the end.
        """
        while (end := self._buffer.find(b"\n", 0, limit)) < 0:
            if len(self._buffer) >= limit:
                raise LineTooLong
            data = await self._inner.receive_some(limit)
            if not data:
                raise trio.EndOfChannel
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        if not line.isascii():
            raise LineTooLong
        return line.decode("ascii")

    async def send_line(self, line: str) -> None:
        """Send one line of ASCII."""
        await self._inner.send_all(line.encode("ascii") + b"\n")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Bytes behind the last line, then whatever the inner stream receives."""
        if self._buffer:
            await trio.lowlevel.checkpoint()
            size = len(self._buffer) if max_bytes is None else max_bytes
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
            return data
        return bytes(await self._inner.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._inner.aclose()
