"""The channels that a listener has given out: bounded, and closed in order at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import trio

from pairing.transport.p2p.gate import RELAY_PREFIX, Limits


class Member(Protocol):
    """What a roster needs to know of a channel or a connection."""

    vouched: bool

    @property
    def source(self) -> str: ...

    @property
    def ended(self) -> trio.Event: ...

    def tear_down(self) -> None: ...

    async def aclose(self) -> None: ...


M = TypeVar("M", bound=Member)


class Roster(Generic[M]):
    """At most so many channels; a newcomer takes the place of one that nobody vouched for.

    That is the oldest one of the source that has most of them. A relay is no source of its own:
    behind it may be everybody.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._channels: list[M] = []

    def __len__(self) -> int:
        return len(self._channels)

    def admit(self, channel: M) -> bool:
        """Whether there is a place for this channel; closes others to make one."""
        if not channel.source.startswith(RELAY_PREFIX):
            same = [c for c in self._channels if c.source == channel.source]
            if len(same) >= self._limits.channels_per_source and not self._make_room(same):
                return False
        if len(self._channels) >= self._limits.channels and not self._make_room(self._channels):
            return False
        self._channels.append(channel)
        return True

    def forget(self, channel: M) -> None:
        if channel in self._channels:
            self._channels.remove(channel)

    async def close_all(self) -> None:
        await close_in_order(self._channels)

    def _make_room(self, among: list[M]) -> bool:
        strangers = [channel for channel in among if not channel.vouched]
        if not strangers:
            return False
        count = Counter(channel.source for channel in strangers)

        def places(channel: M) -> int:
            return 1 if channel.source.startswith(RELAY_PREFIX) else count[channel.source]

        leaves = max(strangers, key=places)  # the first of several, which is the oldest
        leaves.tear_down()
        self.forget(leaves)
        return True


async def close_in_order(channels: Sequence[Member]) -> None:
    """Close channels and wait until the other ends have heard it, 2 seconds at most."""
    for channel in tuple(channels):
        await channel.aclose()
    for channel in tuple(channels):
        await channel.ended.wait()
