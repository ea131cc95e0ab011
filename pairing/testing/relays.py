"""A relay on this machine for tests: real TLS, a port of its own, restartable on the same port."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import trio

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


@contextlib.asynccontextmanager
async def waiting_node(
    local: LocalRelay, key: SigningKey, label: bytes, handler: relay.Handler, **options: Any
) -> AsyncIterator[Callable[[], bool]]:
    """A node that waits until the context ends; begins when it does. Gives a way to ask if it does."""
    waits = trio.Event()
    state = [False]

    def heard(problem: Exception | None) -> None:
        state[0] = problem is None
        if problem is None:
            waits.set()

    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            await relay.wait(local.address, key.seed, label, handler, report=heard, **options)

        nursery.start_soon(wait)
        with trio.fail_after(30):
            await waits.wait()
        yield lambda: state[0]
        nursery.cancel_scope.cancel()
