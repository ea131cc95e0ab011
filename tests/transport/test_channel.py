"""What a channel promises, on memory and on libp2p alike."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio

from pairing import errors
from pairing.testing.network import Ends, loopback_ends, memory_ends
from pairing.transport.base import Channel

MakeEnds = Callable[[], AbstractAsyncContextManager[Ends]]


@pytest.fixture(params=[memory_ends, loopback_ends], ids=["memory", "libp2p"])
async def ends(request: pytest.FixtureRequest) -> AsyncIterator[Ends]:
    make: MakeEnds = request.param
    async with make() as made:
        yield made


async def receive_all(channel: Channel) -> bytes:
    whole = b""
    with trio.fail_after(10):
        while data := await channel.receive():
            whole += data
    return whole


async def receive_exactly(channel: Channel, count: int) -> bytes:
    whole = b""
    with trio.fail_after(10):
        while len(whole) < count:
            whole += await channel.receive()
    return whole


async def test_both_ends_know_each_other(ends: Ends) -> None:
    assert ends.operator.remote_key == ends.node.local_key == ends.target.key
    assert ends.node.remote_key == ends.operator.local_key
    assert len(ends.node.remote_key) == 32


async def test_bytes_arrive_in_both_directions(ends: Ends) -> None:
    await ends.operator.send(b"hello")
    assert await receive_exactly(ends.node, 5) == b"hello"
    await ends.node.send(b"world!")
    assert await receive_exactly(ends.operator, 6) == b"world!"


async def test_receive_gives_no_more_than_asked_for(ends: Ends) -> None:
    await ends.operator.send(b"abcdef")
    assert await ends.node.receive(2) == b"ab"
    assert await receive_exactly(ends.node, 4) == b"cdef"


async def test_much_at_once_in_both_directions(ends: Ends) -> None:
    up, down = secrets.token_bytes(1_500_000), secrets.token_bytes(1_500_000)
    got = {}

    async def take(name: str, channel: Channel) -> None:
        got[name] = await receive_exactly(channel, 1_500_000)

    async with trio.open_nursery() as both:
        both.start_soon(ends.operator.send, up)
        both.start_soon(ends.node.send, down)
        both.start_soon(take, "up", ends.node)
        both.start_soon(take, "down", ends.operator)
    assert got == {"up": up, "down": down}


async def test_a_cancelled_receive_loses_nothing(ends: Ends) -> None:
    sent = secrets.token_bytes(300_000)
    got = b""

    async def feed() -> None:
        for start in range(0, len(sent), 10_000):
            await ends.operator.send(sent[start : start + 10_000])
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as tasks:
        tasks.start_soon(feed)
        with trio.fail_after(10):
            while len(got) < len(sent):
                with trio.CancelScope() as impatient:
                    impatient.deadline = trio.current_time() + 0.0005
                    got += await ends.node.receive(7_000)
    assert got == sent


async def test_last_words_arrive_although_the_speaker_has_left(ends: Ends) -> None:
    words = secrets.token_bytes(100_000)
    await ends.node.send(words)
    await ends.node.aclose()
    assert await receive_all(ends.operator) == words
    assert await ends.operator.receive() == b""


async def test_a_closed_channel_takes_nothing_more(ends: Ends) -> None:
    await ends.node.aclose()
    await ends.node.aclose()
    with pytest.raises(errors.ConnectionLost):
        await ends.node.send(b"x")
    with pytest.raises(errors.ConnectionLost):
        await ends.node.receive()
    assert await receive_all(ends.operator) == b""
    with pytest.raises(errors.ConnectionLost):
        await ends.operator.send(b"x")


async def test_closing_wakes_who_waits_here(ends: Ends) -> None:
    async with trio.open_nursery() as tasks:

        async def wait() -> None:
            with pytest.raises(errors.ConnectionLost):
                await ends.node.receive()

        tasks.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await ends.node.aclose()


async def test_a_second_channel_does_not_disturb_the_first(ends: Ends) -> None:
    await ends.operator.send(b"one")
    assert await receive_exactly(ends.node, 3) == b"one"
    assert ends.node.path
    assert ends.node.source
    assert not hasattr(ends.node, "__dict__") or "seed" not in repr(ends.node)
