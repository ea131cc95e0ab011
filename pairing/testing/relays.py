"""A relay on this machine for tests: real TLS, a port of its own, restartable on the same port."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import trio

from pairing.errors import KnownError
from pairing.keys import SigningKey
from pairing.transport import relay, relay_tls
from pairing.transport.forwarder import Forwarder
from pairing.transport.relay import RelayAddress
from pairing.transport.relay_protocol import Limits


class LocalRelay:
    """One relay on loopback. `stop` kills it as a crash would; `start` begins another there."""

    def __init__(self, nursery: trio.Nursery, certificate: relay_tls.Certificate | None) -> None:
        self._nursery = nursery
        self.certificate = certificate
        self._scope = trio.CancelScope()
        self.port = 0
        self.forwarder = Forwarder()

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, folder: Path | None, limits: Limits | None = None, **options: Any
    ) -> AsyncIterator[Self]:
        """A relay that runs until the context ends; without a folder for a certificate no TLS.

        `options` are those of Forwarder.
        """
        certificate = relay_tls.self_signed(folder, ("localhost", "127.0.0.1")) if folder else None
        async with trio.open_nursery() as nursery:
            local = cls(nursery, certificate)
            await local.start(limits, **options)
            yield local
            nursery.cancel_scope.cancel()

    @property
    def address(self) -> RelayAddress:
        """With the certificate's pin, or plain."""
        pin = self.certificate.pin() if self.certificate else b""
        return RelayAddress("127.0.0.1", self.port, pin, plain=not pin)

    async def start(self, limits: Limits | None = None, **options: Any) -> None:
        tls = self.certificate.context() if self.certificate else None
        self.forwarder = Forwarder(limits, tls=tls, **options)
        self._scope = trio.CancelScope()
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = int(listeners[0].socket.getsockname()[1])
        await self._nursery.start(self._serve, listeners)

    async def _serve(
        self, listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[None]
    ) -> None:
        with self._scope:
            await self.forwarder.serve(listeners, task_status=task_status)
        for listener in listeners:
            await listener.aclose()

    async def stop(self) -> None:
        """All connections end at once, without a word."""
        self._scope.cancel()
        await trio.testing.wait_all_tasks_blocked()


async def echo(stream: trio.abc.Stream) -> None:
    """A node's handler that says everything back."""
    with contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some(16384):
            await stream.send_all(data)


class Watch:
    """What a waiting node reports, to be waited for."""

    def __init__(self) -> None:
        self.up = False
        self.problem: KnownError | None = None
        self._changed = trio.Event()

    def heard(self, problem: KnownError | None) -> None:
        """The `report` of relay.wait."""
        self.up, self.problem = problem is None, problem
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, up: bool, seconds: float = 30) -> None:
        """Return once it waits, or once it does not. Raises trio.TooSlowError."""
        with trio.fail_after(seconds):
            while self.up != up or (not up and self.problem is None):
                await self._changed.wait()


@contextlib.asynccontextmanager
async def waiting_node(
    local: LocalRelay,
    key: SigningKey,
    label: bytes,
    handler: relay.Handler,
    *,
    up: bool = True,
    **options: Any,
) -> AsyncIterator[Watch]:
    """A node that waits until the context ends; with `up` (or not) from its start on."""
    watch = Watch()

    async def wait() -> None:
        await relay.wait(local.address, key.seed, label, handler, report=watch.heard, **options)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await watch.until(up)
        yield watch
        nursery.cancel_scope.cancel()


async def said_back(stream: trio.abc.Stream, body: bytes) -> bytes:
    """What comes back for `body`, as many bytes; less if the stream ends."""
    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, body)
        while len(received) < len(body):
            data = await stream.receive_some(65536)
            if not data:
                break
            received += data
        nursery.cancel_scope.cancel()
    return bytes(received)
