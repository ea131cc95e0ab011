"""The order of ways: address hints at once, mDNS beside them, relays a moment later.

Nothing here knows libp2p, TCP or relays: a way is a function that gives a raw stream or an
error, `authenticate` makes a channel of a stream. The first authenticated channel wins.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from pairing import errors
from pairing.transport.base import Address, Channel

STAGGER = 0.25
"""Seconds between the first attempts at two addresses."""
RELAY_AFTER = 1.5
"""Seconds that direct ways have before the relays are tried too."""
CONNECT_SECONDS = 3.0
AGAIN_FIRST, AGAIN_MOST = 0.5, 5.0
"""Seconds between two attempts at one way: the first pause, doubled up to the second."""
PATIENCE = 60.0
"""Seconds a dial lasts if its caller set no deadline."""
BREATH = 0.05
"""Seconds before the caller's deadline at which we say what was tried."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the other end. `open` gives a raw stream; `after` is its start, in seconds."""

    name: str
    open: Callable[[], Awaitable[trio.abc.Stream]]
    after: float = 0.0
    source: str = ""
    seconds: float = CONNECT_SECONDS
    """How long one attempt to open may take."""


class Authenticate(Protocol):
    """Turns a way's raw stream into a channel with the right key. Raises errors.KnownError."""

    async def __call__(self, stream: trio.abc.Stream, way: Way) -> Channel: ...


Discover = Callable[[trio.MemorySendChannel[Address]], Awaitable[None]]
"""Looks for addresses until cancelled and sends each one it finds."""


@dataclass(slots=True)
class Race:
    """A running dial: what was tried, what failed last on each way, and who won."""

    authenticate: Authenticate
    tried: dict[str, errors.KnownError | None] = field(default_factory=dict)
    winner: Channel | None = None

    async def run(self, ways: Sequence[Way], discover: Discover | None) -> None:
        """Try all ways, again and again, until one wins or the caller cancels."""
        async with trio.open_nursery() as nursery:
            for way in ways:
                nursery.start_soon(self._keep_trying, way, nursery.cancel_scope)
            if discover is not None:
                self.tried["mDNS"] = None
                found, addresses = trio.open_memory_channel[Address](64)
                nursery.start_soon(discover, found)
                nursery.start_soon(self._follow, addresses, nursery)

    async def _follow(
        self, addresses: trio.MemoryReceiveChannel[Address], nursery: trio.Nursery
    ) -> None:
        async for address in addresses:
            way = tcp_way(address)
            if way.name not in self.tried:
                self.tried[way.name] = None
                nursery.start_soon(self._keep_trying, way, nursery.cancel_scope)

    async def _keep_trying(self, way: Way, race: trio.CancelScope) -> None:
        self.tried.setdefault(way.name, None)
        await trio.sleep(way.after)
        pause = AGAIN_FIRST
        while True:
            try:
                channel = await self._attempt(way)
            except errors.KnownError as error:
                self.tried[way.name] = error
            else:
                await self._won(channel, race)
                return
            await trio.sleep(pause)
            pause = min(2 * pause, AGAIN_MOST)

    async def _attempt(self, way: Way) -> Channel:
        try:
            with trio.fail_after(way.seconds):
                stream = await way.open()
        except trio.TooSlowError:
            raise errors.UnreachableError("no answer", element=way.name) from None
        except OSError as error:
            raise errors.UnreachableError(_reason(error), element=way.name) from None
        return await self.authenticate(stream, way)

    async def _won(self, channel: Channel, race: trio.CancelScope) -> None:
        if self.winner is not None:
            await channel.aclose()
            return
        self.winner = channel
        race.cancel()

    def failure(self) -> errors.KnownError:
        """Why nobody won: a wrong key if that was found anywhere, else what was tried."""
        failures = [error for error in self.tried.values() if error is not None]
        for error in failures:
            if isinstance(error, errors.WrongKey):
                return error
        said = [f"{name}: {_short(error)}" for name, error in self.tried.items()]
        return errors.UnreachableError(f"Tried {'; '.join(said)}." if said else "No way is known.")


async def first_channel(
    ways: Sequence[Way], authenticate: Authenticate, discover: Discover | None = None
) -> Channel:
    """The first authenticated channel on any of the ways; the others are given up.

    Keeps trying until shortly before the caller's deadline (60 seconds if there is none).
    Raises errors.WrongKey if a machine with another key answered and nothing else did,
    otherwise errors.UnreachableError with what was tried.
    """
    race = Race(authenticate)
    if not ways and discover is None:
        raise race.failure()
    deadline = trio.current_effective_deadline()
    if math.isinf(deadline):
        deadline = trio.current_time() + PATIENCE + BREATH
    with trio.move_on_at(deadline - BREATH):
        await race.run(ways, discover)
    if race.winner is None:
        raise race.failure()
    return race.winner


def tcp_way(address: Address, after: float = 0.0) -> Way:
    """A direct TCP connection to an address."""

    async def connect() -> trio.abc.Stream:
        return await trio.open_tcp_stream(address.host, address.port)

    return Way(name=str(address), open=connect, after=after, source=address.host)


def _reason(error: OSError) -> str:
    """The system's words for the first failure; trio groups those of several addresses."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup) and isinstance(cause.exceptions[0], OSError):
        error = cause.exceptions[0]
    return (error.strerror or type(error).__name__).lower()


def _short(error: errors.KnownError | None) -> str:
    return "nothing found" if error is None else (error.detail or error.sentence)
