"""What may stand between two ends: an HTTP proxy, and an attacker who meddles with the bytes.

As a program it is the proxy: `python -m pairing.testing.proxy HOST PORT`.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Self

import trio

CHUNK = 16 * 1024
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)
Change = Callable[[bytes], Iterable[bytes]]
"""What a meddler makes of a chunk: the chunks to send on. None at all swallows it."""


@dataclass
class HttpProxy:
    """A forward proxy that knows CONNECT only. `credentials`: `user:password` that it asks for."""

    port: int = 0
    credentials: str = ""
    tunnels: list[str] = field(default_factory=list)
    """The targets that were asked for, in order."""

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, credentials: str = "", host: str = "127.0.0.1") -> AsyncIterator[Self]:
        proxy = cls(credentials=credentials)
        async with _listening(proxy.serve, host) as proxy.port:
            yield proxy

    async def serve(self, client: trio.SocketStream) -> None:
        """One client, from its CONNECT to the end of its tunnel."""
        head = b""
        while not head.endswith(b"\r\n\r\n") and len(head) < 8192:
            data = await client.receive_some(1)
            if not data:
                return
            head += data
        verb, target, *_ = [*head.decode("latin-1").split(" "), ""]
        self.tunnels.append(target)
        basic = base64.b64encode(self.credentials.encode())
        if self.credentials and b"Basic " + basic + b"\r\n" not in head:
            await client.send_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        elif verb != "CONNECT":
            await client.send_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
        else:
            host, _, port = target.rpartition(":")
            async with await trio.open_tcp_stream(host.strip("[]"), int(port)) as server:
                await client.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await _pipe(client, server, _as_it_is, _as_it_is)


@dataclass
class Meddler:
    """A TCP hop in front of `target` that records what it sees and may change it.

    `to_server` and `to_client` may be replaced while it runs; they see every chunk.
    """

    target: tuple[str, int]
    to_server: Change = lambda chunk: (chunk,)
    to_client: Change = lambda chunk: (chunk,)
    delay: float = 0.0
    """Seconds before each chunk goes on."""
    port: int = 0
    seen: bytearray = field(default_factory=bytearray)
    """All bytes of both directions."""

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, host: str, port: int) -> AsyncIterator[Self]:
        meddler = cls((host, port))
        async with _listening(meddler._serve, "127.0.0.1") as meddler.port:
            yield meddler

    async def _serve(self, client: trio.SocketStream) -> None:
        async with await trio.open_tcp_stream(*self.target) as server:
            await _pipe(
                client,
                server,
                lambda chunk: self._see(chunk, self.to_server),
                lambda chunk: self._see(chunk, self.to_client),
                lambda: self.delay,
            )

    def _see(self, chunk: bytes, change: Change) -> Iterable[bytes]:
        self.seen += chunk
        return change(chunk)


def flip(chunk: bytes) -> Iterable[bytes]:
    """One bit of each chunk is wrong."""
    middle = len(chunk) // 2
    return (chunk[:middle] + bytes([chunk[middle] ^ 1]) + chunk[middle + 1 :],)


def truncate(chunk: bytes) -> Iterable[bytes]:
    """The last byte of each chunk is missing."""
    return (chunk[:-1],)


def replay(chunk: bytes) -> Iterable[bytes]:
    """Each chunk comes twice."""
    return (chunk, chunk)


def swallow(_chunk: bytes) -> Iterable[bytes]:
    """Nothing arrives any more."""
    return ()


def after(count: int, change: Change) -> Change:
    """The first `count` chunks pass as they are, then `change` begins."""
    number = itertools.count()
    return lambda chunk: (chunk,) if next(number) < count else change(chunk)


def _as_it_is(chunk: bytes) -> Iterable[bytes]:
    return (chunk,)


async def _pipe(
    client: trio.SocketStream,
    server: trio.SocketStream,
    up: Change,
    down: Change,
    delay: Callable[[], float] = lambda: 0.0,
) -> None:
    async def copy(source: trio.SocketStream, target: trio.SocketStream, change: Change) -> None:
        with contextlib.suppress(*_BROKEN):
            while data := await source.receive_some(CHUNK):
                await trio.sleep(delay())
                for chunk in change(data):
                    await target.send_all(chunk)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(copy, client, server, up)
        nursery.start_soon(copy, server, client, down)


Serve = Callable[[trio.SocketStream], Awaitable[None]]


@contextlib.asynccontextmanager
async def _listening(serve: Serve, host: str) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host=host)
        nursery.start_soon(trio.serve_listeners, _tolerant(serve), listeners)
        yield int(listeners[0].socket.getsockname()[1])
        nursery.cancel_scope.cancel()


def _tolerant(serve: Serve) -> Serve:
    """An end that goes away, or a target that is not there, ends its connection only."""

    async def one(client: trio.SocketStream) -> None:
        with contextlib.suppress(*_BROKEN):
            async with client:
                await serve(client)

    return one


async def _main(host: str, port: int) -> None:
    listeners = await trio.open_tcp_listeners(port, host=host)
    print("listening", flush=True)
    await trio.serve_listeners(_tolerant(HttpProxy().serve), listeners)


if __name__ == "__main__":
    trio.run(_main, sys.argv[1], int(sys.argv[2]))
