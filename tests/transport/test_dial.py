"""The order of ways, on a clock that the test turns."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from pairing import errors
from pairing.transport.base import Channel
from pairing.transport.dial import Way, first_channel
from pairing.transport.memory import MemoryListener, MemoryNetwork

KEY = bytes(32)


def channel(name: str) -> Channel:
    return MemoryListener(MemoryNetwork(), KEY, 1).connect(KEY, name, "test")


def opens(name: str, seconds: float = 0.0, after: float = 0.0) -> Way:
    async def reach() -> Channel:
        await trio.sleep(seconds)
        return channel(name)

    return Way(name, reach, after)


def fails(name: str, error: errors.KnownError, log: list[float] | None = None) -> Way:
    async def reach() -> Channel:
        if log is not None:
            log.append(trio.current_time())
        await trio.sleep(0.01)
        raise error

    return Way(name, reach)


def hangs(name: str) -> Way:
    async def reach() -> Channel:
        await trio.sleep_forever()

    return Way(name, reach)


async def test_the_first_way_that_works_wins(autojump_clock: MockClock) -> None:
    ways = [hangs("dead"), opens("slow", 2), opens("quick", 0.5), opens("relay", 0, after=1.5)]
    assert (await first_channel(ways)).path == "quick"
    assert trio.current_time() < 1


async def test_a_relay_is_used_when_nothing_direct_works(autojump_clock: MockClock) -> None:
    ways = [hangs("dead"), opens("relay", 0.1, after=1.5)]
    assert (await first_channel(ways)).path == "relay"


async def test_a_wrong_key_does_not_stop_the_other_ways(autojump_clock: MockClock) -> None:
    ways = [fails("stale", errors.WrongKey(element="stale")), opens("right", 3)]
    assert (await first_channel(ways)).path == "right"


async def test_a_wrong_key_is_what_is_reported_at_last(autojump_clock: MockClock) -> None:
    ways = [
        fails("a", errors.UnreachableError("refused")),
        fails("b", errors.WrongKey(element="b")),
    ]
    with pytest.raises(errors.WrongKey) as caught, trio.fail_after(9):
        await first_channel(ways)
    assert caught.value.element == "b"


async def test_what_was_tried_is_told_before_the_deadline(autojump_clock: MockClock) -> None:
    async def nobody(_found: Callable[[Way], None]) -> None:
        await trio.sleep_forever()

    ways = [fails("192.0.2.1:4917", errors.UnreachableError("connection refused"))]
    with pytest.raises(errors.UnreachableError) as caught, trio.fail_after(9):
        await first_channel(ways, nobody)
    assert "192.0.2.1:4917: connection refused" in caught.value.detail
    assert "mDNS: nothing found" in caught.value.detail


async def test_every_dial_ends(autojump_clock: MockClock) -> None:
    with pytest.raises(errors.UnreachableError):
        await first_channel([hangs("dead")])
    assert trio.current_time() <= 61


async def test_no_way_at_all_is_said_at_once(autojump_clock: MockClock) -> None:
    with pytest.raises(errors.UnreachableError, match="No way"):
        await first_channel([])
    assert trio.current_time() == 0


async def test_a_way_is_tried_again_with_longer_pauses(autojump_clock: MockClock) -> None:
    log: list[float] = []
    with pytest.raises(errors.UnreachableError), trio.fail_after(30):
        await first_channel([fails("a", errors.UnreachableError("no"), log)])
    pauses = [later - earlier for earlier, later in itertools.pairwise(log)]
    assert 6 <= len(log) <= 12
    assert pauses == sorted(pauses)
    assert max(pauses) < 5.1


async def test_what_is_discovered_later_is_tried_too(autojump_clock: MockClock) -> None:
    async def discover(found: Callable[[Way], None]) -> None:
        found(fails("first", errors.UnreachableError("no")))
        await trio.sleep(4)
        found(opens("second"))
        found(opens("second"))

    assert (await first_channel([hangs("dead")], discover)).path == "second"


async def test_a_loser_is_closed(autojump_clock: MockClock) -> None:
    made: list[Channel] = []

    def keeps(name: str) -> Way:
        async def reach() -> Channel:
            with trio.CancelScope(shield=True):  # both arrive in the same instant
                await trio.sleep(1)
            made.append(channel(name))
            return made[-1]

        return Way(name, reach)

    winner = await first_channel([keeps("a"), keeps("b")])
    (loser,) = (c for c in made if c is not winner)
    with pytest.raises(errors.ConnectionLost):
        await loser.send(b"x")
    await winner.send(b"x")


async def test_cancelling_is_immediate_and_quiet(autojump_clock: MockClock) -> None:
    with trio.CancelScope() as scope:

        async def discover(_found: Callable[[Way], None]) -> None:
            await trio.sleep(5)
            scope.cancel()

        await first_channel([hangs("dead")], discover)
    assert scope.cancelled_caught
