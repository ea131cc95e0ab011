"""A raw stream of bytes in the shape libp2p reads and writes: exact, metered, cancel-safe."""

from __future__ import annotations

import trio
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError

CHUNK = 65536
HANDSHAKE_BYTES = 64 * 1024
"""What a stranger may send before its handshake is over; an honest one needs about 1 KiB."""
ALLOWANCE = 4 * 1024 * 1024
"""What a peer may send beyond what was taken from it: many times yamux's first window."""
OVERHEAD = 4
"""Most bytes on the wire per byte taken; frames below 16 bytes would need more."""
WRITE_SECONDS = 20.0
"""A peer that takes no byte for so long is gone."""


class Pipe(ReadWriteCloser):
    """Wraps `stream`; three things libp2p's own wrapper lacks.

    `read(n)` gives all `n` bytes unless the stream ends: libp2p gives up after 100 short reads,
    which a path with small segments reaches. A write, once begun, is finished or the stream is
    closed: cancelling half a Noise message would break every later one. The peer may send only
    so much more than we took (`taken`): libp2p's yamux never enforces its receive window.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._received = 0
        self._allowed = HANDSHAKE_BYTES
        self._shielded = False

    def has_spoken(self) -> bool:
        """Whether the other end has sent anything yet."""
        return self._received > 0

    def handshake_done(self) -> None:
        """From now on writes are shielded and the peer has its full allowance."""
        self._shielded = True
        self._allowed = self._received + ALLOWANCE

    def taken(self, count: int) -> None:
        """Somebody took (or sent) `count` bytes of payload: as many times OVERHEAD may follow."""
        self._allowed += OVERHEAD * count

    async def read(self, n: int | None = None) -> bytes:
        """`n` bytes, fewer only at the end; some bytes if `n` is None. b"" at the end."""
        wanted = 1 if n is None else n
        while len(self._buffer) < wanted:
            chunk = await self._receive()
            if not chunk:
                break
            self._buffer += chunk
        count = len(self._buffer) if n is None else min(n, len(self._buffer))
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def _receive(self) -> bytes:
        try:
            chunk = await self._stream.receive_some(CHUNK)
        except trio.BrokenResourceError as error:
            raise ConnectionClosedError("broken by the other end") from error
        except trio.ClosedResourceError:
            return b""
        self._received += len(chunk)
        if self._received > self._allowed:
            await trio.aclose_forcefully(self._stream)
            raise ConnectionClosedError("the other end sent more than it may")
        return bytes(chunk)

    async def write(self, data: bytes) -> None:
        """All of `data`. Raises ConnectionClosedError; the stream is then closed."""
        with trio.CancelScope(shield=self._shielded) as scope:
            scope.deadline = trio.current_time() + WRITE_SECONDS
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ConnectionClosedError("closed") from error
        if scope.cancelled_caught:
            await trio.aclose_forcefully(self._stream)
            raise ConnectionClosedError("the other end takes nothing any more")

    async def close(self) -> None:
        await trio.aclose_forcefully(self._stream)

    def get_remote_address(self) -> tuple[str, int] | None:
        """Unknown to libp2p on purpose: we count and name sources ourselves."""
        return None
