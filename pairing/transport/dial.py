"""The order of ways: address hints at once, mDNS beside them, relays a moment later.

Nothing here knows libp2p, TCP or relays: a way is a function that gives an authenticated channel
or an error. Each way is tried again and again; the first channel wins.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import trio

from pairing import errors
from pairing.transport.base import Channel

STAGGER = 0.25
"""Seconds between the first attempts at two ways of a kind."""
RELAY_AFTER = 1.5
"""Seconds that direct ways have before the relays are tried too."""
AGAIN_FIRST, AGAIN_MOST = 0.5, 5.0
"""Seconds between two attempts at one way: the first pause, doubled up to the second."""
PATIENCE = 60.0
"""Seconds a dial lasts if its caller set no deadline."""
BREATH = 0.05
"""Seconds before the caller's deadline at which we say what was tried."""
MDNS = "mDNS"
"""The name under which discovery is reported."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the other end, tried first after `after` seconds.

    `reach` gives a channel with the right key or raises errors.KnownError; it ends by itself.
    `name` is for people and tells ways apart.
    """

    name: str
    reach: Callable[[], Awaitable[Channel]]
    after: float = 0.0


Discover = Callable[[Callable[[Way], None]], Awaitable[None]]
"""Looks for more ways until cancelled and tells each one it finds."""


@dataclass(slots=True)
class _Race:
    """A running dial: what was tried, what failed last on each way, and who won."""

    tried: dict[str, errors.KnownError | None] = field(default_factory=dict)
    winner: Channel | None = None

    async def run(self, ways: Sequence[Way], discover: Discover | None) -> None:
        """Try all ways, again and again, until one wins or the caller cancels."""
        async with trio.open_nursery() as tasks:

            def start(way: Way) -> None:
                if way.name not in self.tried:
                    self.tried[way.name] = None
                    tasks.start_soon(self._keep_trying, way, tasks.cancel_scope)

            for way in ways:
                start(way)
            if discover is not None:
                self.tried[MDNS] = None
                tasks.start_soon(discover, start)

    async def _keep_trying(self, way: Way, race: trio.CancelScope) -> None:
        await trio.sleep(way.after)
        pause = AGAIN_FIRST
        while True:
            try:
                channel = await way.reach()
            except errors.KnownError as error:
                self.tried[way.name] = error
            else:
                await self._won(channel, race)
                return
            await trio.sleep(pause)
            pause = min(2 * pause, AGAIN_MOST)

    async def _won(self, channel: Channel, race: trio.CancelScope) -> None:
        if self.winner is not None:
            await channel.aclose()
            return
        self.winner = channel
        race.cancel()

    def failure(self) -> errors.KnownError:
        """Why nobody won: a wrong key if that was found anywhere, else what was tried."""
        for error in self.tried.values():
            if isinstance(error, errors.WrongKey):
                return error
        said = [f"{name}: {_short(name, error)}" for name, error in self.tried.items()]
        return errors.UnreachableError(f"Tried {'; '.join(said)}." if said else "No way is known.")


async def first_channel(ways: Sequence[Way], discover: Discover | None = None) -> Channel:
    """The first channel on any of the ways; the others are given up.

    Keeps trying until shortly before the caller's deadline (60 seconds if there is none).
    Raises errors.WrongKey if a machine with another key answered and nothing else did,
    otherwise errors.UnreachableError with what was tried.
    """
    race = _Race()
    if not ways and discover is None:
        raise race.failure()
    deadline = trio.current_effective_deadline()
    if math.isinf(deadline):
        deadline = trio.current_time() + PATIENCE + BREATH
    try:
        with trio.move_on_at(deadline - BREATH):
            await race.run(ways, discover)
    except BaseException:
        if race.winner is not None:
            await race.winner.aclose()
        raise
    if race.winner is None:
        raise race.failure()
    return race.winner


def _short(name: str, error: errors.KnownError | None) -> str:
    if error is None:
        return "nothing found" if name == MDNS else "no answer"
    return (error.detail or error.sentence).rstrip(".")
