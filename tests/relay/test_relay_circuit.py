"""What a circuit may cost and how long it may last: memory streams, a virtual clock."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from pairing.transport import forwarder
from pairing.transport.lines import CHUNK
from pairing.transport.relay_protocol import Limits


async def test_a_slow_reader_holds_the_sender_back() -> None:
    sender, relay_a = lockstep_stream_pair()
    relay_b, _reader = lockstep_stream_pair()
    sent = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(forwarder.circuit, relay_a, relay_b, Limits())

        async def send() -> None:
            nonlocal sent
            while True:
                await sender.send_all(b"x" * 1024)
                sent += 1024

        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        assert sent <= 2 * CHUNK
        nursery.cancel_scope.cancel()


async def test_ten_minutes_of_heartbeats_pass(autojump_clock: MockClock) -> None:
    node, relay_a = memory_stream_pair()
    relay_b, operator = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(forwarder.circuit, relay_a, relay_b, Limits())
        for number in range(60):
            await trio.sleep(10)
            await node.send_all(bytes([number]))
            assert await operator.receive_some() == bytes([number])
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("beat", "seconds"), [(0.0, 90), (10.0, 3600)])
async def test_a_circuit_ends_when_it_is_silent_or_old(
    autojump_clock: MockClock, beat: float, seconds: float
) -> None:
    node, relay_a = memory_stream_pair()
    relay_b, _operator = memory_stream_pair()

    async def heart() -> None:
        while beat:
            await trio.sleep(beat)
            await node.send_all(b"x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(heart)
        began = trio.current_time()
        await forwarder.circuit(relay_a, relay_b, Limits())
        assert trio.current_time() - began == pytest.approx(seconds)
        nursery.cancel_scope.cancel()


async def test_many_bytes_are_slowed_down_and_none_is_lost(autojump_clock: MockClock) -> None:
    limits = Limits()
    body = bytes(range(256)) * 12 * 1024  # 3 MiB
    node, relay_a = memory_stream_pair()
    relay_b, operator = memory_stream_pair()
    got = bytearray()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(forwarder.circuit, relay_a, relay_b, limits)
        nursery.start_soon(node.send_all, body)
        while len(got) < len(body):
            got += await operator.receive_some()
        nursery.cancel_scope.cancel()
    assert bytes(got) == body
    paid = (len(body) - limits.burst_bytes) / limits.bytes_per_second
    assert trio.current_time() - began == pytest.approx(paid, abs=2)
