"""One connection between a channel's bytes and a state machine's messages, and its clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

import trio

from pairing import errors
from pairing.protocol import frames
from pairing.protocol.wire import Message, write_message
from pairing.transport.base import Channel

OUTBOX = 512
"""Messages that may wait for a slow reader before it counts as gone."""
SEND_SECONDS = 60.0
"""Time for one message to leave."""

OnBody = Callable[[Mapping[str, Any]], Awaitable[None]]
OnBroken = Callable[[errors.KnownError], Awaitable[None]]
Effect = TypeVar("Effect")
Put = Callable[[Callable[[], list[Effect]]], Awaitable[None]]
"""Takes an input of a machine; its driver calls it in its turn, for the effects."""


class Conversing(Protocol[Effect]):
    """A machine at the operator's side."""

    def received(self, body: Mapping[str, Any], now: float) -> list[Effect]:
        """An object came in from the node."""

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""

    def fail(self, error: errors.KnownError) -> list[Effect]:
        """End with this error."""


class Link:
    """Sends messages in order without ever blocking its owner, and reads until the end.

    `limit()` is the largest frame accepted right now: small until the other end has proved itself.
    """

    def __init__(self, channel: Channel, limit: Callable[[], int]) -> None:
        self.channel = channel
        self.gone = trio.Event()
        """It is over."""
        self._limit = limit
        self._send, self._outbox = trio.open_memory_channel[Message | None](OUTBOX)

    def send(self, message: Message) -> None:
        """Queue a message; a full queue closes the link."""
        try:
            self._send.send_nowait(message)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self._send.close()

    def close(self) -> None:
        """Close after what is queued has left."""
        try:
            self._send.send_nowait(None)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self._send.close()

    async def run(self, on_body: OnBody, on_broken: OnBroken) -> None:
        """Until either end closes. Never raises; the channel is closed afterwards."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, nursery.cancel_scope)
                await self._read(on_body, on_broken)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                await self.channel.aclose()
            self.gone.set()

    async def _write(self, scope: trio.CancelScope) -> None:
        async for message in self._outbox:
            if message is None:
                break
            try:
                with trio.fail_after(SEND_SECONDS):
                    await self.channel.send(frames.encode_frame(write_message(message)))
            except (errors.ConnectionLost, trio.TooSlowError):
                break
        scope.cancel()

    async def _read(self, on_body: OnBody, on_broken: OnBroken) -> None:
        reader = frames.FrameReader()
        while True:
            try:
                data = await self.channel.receive()
            except errors.ConnectionLost:
                return
            if not data:
                return
            reader.limit = self._limit()
            try:
                for body in reader.feed(data):
                    await on_body(body)
                    reader.limit = self._limit()
            except errors.ProtocolBroken as broken:
                await on_broken(broken)
                await trio.sleep(SEND_SECONDS)  # the farewell leaves, then the writer ends this
                return


async def hold(link: Link, machine: Conversing[Effect], put: Put[Effect]) -> None:
    """Give a machine what comes in, until the connection is over."""
    now = trio.current_time
    await link.run(
        lambda body: put(lambda: machine.received(body, now())),
        lambda broken: put(partial(machine.fail, broken)),
    )


async def clock(machine: Conversing[Effect], put: Put[Effect]) -> None:
    """Tell a machine each second that time has passed, for ever."""
    while True:
        await trio.sleep(1)
        await put(lambda: machine.tick(trio.current_time()))
