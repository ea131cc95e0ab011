"""The network in memory: faults as a real one has them, on a clock that the test turns."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from pairing import errors
from pairing.keys import SigningKey
from pairing.testing.network import LABEL, memory_ends, target_of
from pairing.transport.base import Channel, Presence, Target
from pairing.transport.memory import MemoryNetwork

SEED, OTHER_SEED = bytes(32), bytes([1]) * 32


async def take_until_lost(channel: Channel) -> bytes:
    whole = b""
    try:
        while data := await channel.receive():
            whole += data
    except errors.ConnectionLost:
        return whole
    raise AssertionError("an orderly end")


async def test_latency_is_paid_once_not_per_message(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(latency=0.5)
    async with memory_ends(network) as ends:
        start = trio.current_time()
        for _ in range(10):
            await ends.operator.send(b"x")
        got = b""
        while len(got) < 10:
            got += await ends.node.receive()
        assert trio.current_time() - start == pytest.approx(0.5)


@given(at=st.integers(1, 400), sizes=st.lists(st.integers(1, 100), min_size=1, max_size=8))
def test_a_cut_after_n_bytes_lets_n_bytes_through(at: int, sizes: list[int]) -> None:
    async def run() -> None:
        network = MemoryNetwork()
        async with memory_ends(network) as ends:
            network.cut_after = at
            sent = b"".join(bytes([n]) * size for n, size in enumerate(sizes))
            offset = 0
            with_cut = len(sent) > at
            try:
                for size in sizes:
                    await ends.operator.send(sent[offset : offset + size])
                    offset += size
            except errors.ConnectionLost:
                assert with_cut
            if with_cut:
                assert await take_until_lost(ends.node) == sent[:at]

    trio.run(run, clock=MockClock(autojump_threshold=0))


async def test_after_a_cut_a_new_channel_is_made_at_once(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with memory_ends(network) as ends, network.transport().dialer() as dialer:
        network.cut()
        with pytest.raises(errors.ConnectionLost):
            await ends.operator.receive()
        with pytest.raises(errors.ConnectionLost):
            await ends.node.send(b"x")
        again = await dialer.dial(ends.target)
        await again.send(b"back")
        node = await anext(ends.listener.channels())
        assert await node.receive() == b"back"


async def test_a_parted_network_loses_nothing_and_lets_nobody_in(
    autojump_clock: MockClock,
) -> None:
    network = MemoryNetwork()
    async with memory_ends(network) as ends, network.transport().dialer() as dialer:
        network.parted = True
        await ends.operator.send(b"waits")
        with trio.move_on_after(30) as waited:
            await ends.node.receive()
        assert waited.cancelled_caught
        with pytest.raises(errors.UnreachableError), trio.fail_after(10):
            await dialer.dial(ends.target)
        network.parted = False
        assert await ends.node.receive() == b"waits"


@pytest.mark.parametrize("by", ["address", "mdns", "relay"])
async def test_a_node_is_reached_by_what_it_announced(by: str, autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    relay = "relay.example"
    async with (
        network.transport().listener(SEED, 0) as listener,
        network.transport("192.0.2.9").dialer() as dialer,
    ):
        key = SigningKey(SEED).public
        target = {
            "address": target_of(SEED, listener),
            "mdns": Target(key, LABEL),
            "relay": Target(key, LABEL, relays=[relay], mdns=False),
        }[by]
        if by != "address":
            with pytest.raises(errors.UnreachableError), trio.fail_after(5):
                await dialer.dial(target)
        listener.announce(Presence([LABEL], [relay], mdns=by == "mdns"))
        operator = await dialer.dial(target)
        node = await anext(listener.channels())
        assert node.source == (f"relay:{relay}" if by == "relay" else "192.0.2.9")
        assert operator.remote_key == key
        listener.announce(Presence([bytes(32)], [relay]))
        if by != "address":
            with pytest.raises(errors.UnreachableError), trio.fail_after(5):
                await dialer.dial(target)


async def test_another_key_at_the_address_is_named(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with (
        network.transport().listener(SEED, 0) as listener,
        network.transport().dialer() as dialer,
    ):
        with pytest.raises(errors.WrongKey), trio.fail_after(5):
            await dialer.dial(target_of(OTHER_SEED, listener))


async def test_a_listener_that_is_gone_takes_its_channels_with_it(
    autojump_clock: MockClock,
) -> None:
    network = MemoryNetwork()
    async with network.transport().dialer() as dialer:
        async with network.transport().listener(SEED, 4917) as listener:
            target = target_of(SEED, listener)
            operator = await dialer.dial(target)
            with pytest.raises(errors.PortTaken):
                network.listen(bytes(32), 4917)
        assert await operator.receive() == b""
        with pytest.raises(errors.UnreachableError), trio.fail_after(5):
            await dialer.dial(target)


async def test_a_slow_reader_holds_the_sender_back(autojump_clock: MockClock) -> None:
    async with memory_ends() as ends:
        with trio.move_on_after(60) as full:
            while True:
                await ends.operator.send(bytes(100_000))
        assert full.cancelled_caught
        got = 0
        with trio.move_on_after(1):
            while True:
                got += len(await ends.node.receive())
        assert 1_000_000 < got < 1_300_000
