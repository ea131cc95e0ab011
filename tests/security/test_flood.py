"""T12: many callers who never finish. The honest operator must get in, whoever else is there."""

from __future__ import annotations

import contextlib
import itertools
import resource
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
import trio

from pairing import errors
from pairing.keys import SigningKey
from pairing.testing.network import LABEL, LOOPBACK, loopback_transport
from pairing.transport.base import Address, Target
from pairing.transport.p2p.gate import Gate, Limits, source_of

IDLE_SOCKETS = 600
FILE_LIMIT = 256

OURS = """
import resource, sys, trio
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
from pairing.testing.network import loopback_transport

async def echo(channel):
    channel.vouch()
    while data := await channel.receive():
        await channel.send(data)
    await channel.aclose()

async def main():
    seed = bytes.fromhex(sys.stdin.readline())
    async with loopback_transport().listener(seed, 0) as listener, trio.open_nursery() as tasks:
        print(listener.port, flush=True)
        async for channel in listener.channels():
            tasks.start_soon(echo, channel)

trio.run(main)
"""

STOCK = """
import resource, sys, trio
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from multiaddr import Multiaddr

async def echo(stream):
    while True:
        await stream.write(await stream.read(1024))

async def main():
    host = new_host(key_pair=create_new_key_pair(bytes.fromhex(sys.stdin.readline())))
    host.set_stream_handler("/kairos-pair/1", echo)
    async with host.run(listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        print(host.get_addrs()[0].value_for_protocol("tcp"), flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@contextlib.asynccontextmanager
async def node_process(program: str, seed: bytes) -> AsyncIterator[Address]:
    """A node in a process of its own, with few file descriptors."""
    code = program.format(limit=FILE_LIMIT)
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with process.stdin, process.stdout:
        try:
            await process.stdin.send_all(seed.hex().encode() + b"\n")
            yield Address(LOOPBACK, int(await process.stdout.receive_some()))
        finally:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def idle_sockets(address: Address) -> AsyncIterator[None]:
    """IDLE_SOCKETS connections that never say a word."""
    async with contextlib.AsyncExitStack() as stack:

        async def connect() -> None:
            # A host that no longer accepts leaves callers in its kernel's queue.
            with trio.move_on_after(2):
                stream = await trio.open_tcp_stream(address.host, address.port)
                await stack.enter_async_context(stream)

        async with trio.open_nursery() as callers:
            for _ in range(IDLE_SOCKETS):
                callers.start_soon(connect)
        yield


@pytest.fixture(autouse=True)
def enough_files() -> None:
    """This process plays all the attackers, so it needs more files than the node has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = IDLE_SOCKETS + 200
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))


async def is_served(seed: bytes, address: Address, seconds: float) -> bool:
    """Whether an operator's channel echoes what he says."""
    target = Target(SigningKey(seed).public, LABEL, [address], mdns=False)
    async with loopback_transport().dialer() as dialer:
        with trio.move_on_after(seconds), contextlib.suppress(errors.KnownError):
            channel = await dialer.dial(target)
            await channel.send(b"hello")
            return await channel.receive() == b"hello"
    return False


async def test_an_operator_is_served_under_600_idle_sockets() -> None:
    seed = secrets.token_bytes(32)
    async with node_process(OURS, seed) as address, idle_sockets(address):
        assert await is_served(seed, address, 20)


async def test_control_the_stock_host_serves_nobody_then() -> None:
    seed = secrets.token_bytes(32)
    async with node_process(STOCK, seed) as address:
        assert await is_served(seed, address, 20)
        async with idle_sockets(address):
            assert not await is_served(seed, address, 3)


async def test_an_operator_is_served_among_50_callers_a_second() -> None:
    """They speak, from five addresses, and stop halfway through the handshake."""
    seed = secrets.token_bytes(32)

    async def stop_halfway(address: Address, attacker: str) -> None:
        with contextlib.suppress(OSError, trio.BrokenResourceError):
            stream = await trio.open_tcp_stream(address.host, address.port, local_address=attacker)
            async with stream:
                await stream.send_all(b"\x13/multistream/1.0.0\n\x07/noise\n")
                while await stream.receive_some():
                    pass

    async def keep_coming(address: Address, tasks: trio.Nursery) -> None:
        for number in itertools.count():
            tasks.start_soon(stop_halfway, address, f"127.0.0.{2 + number % 5}")
            await trio.sleep(0.02)

    async with node_process(OURS, seed) as address, trio.open_nursery() as tasks:
        tasks.start_soon(keep_coming, address, tasks)
        assert await is_served(seed, address, 20)
        tasks.cancel_scope.cancel()


async def test_a_vouched_channel_outlives_a_crowd_of_authenticated_ones() -> None:
    seed = secrets.token_bytes(32)
    crowd = Limits(channels=6, channels_per_source=4)
    transport = loopback_transport(crowd)
    async with (
        transport.listener(seed, 0) as listener,
        transport.dialer() as dialer,
        transport.dialer() as attacker,
    ):
        target = Target(SigningKey(seed).public, LABEL, listener.reachable().addresses, mdns=False)
        arrivals = listener.channels()
        honest = await dialer.dial(target)
        served = await anext(arrivals)
        served.vouch()
        strangers = []
        for _ in range(8):
            strangers.append(await attacker.dial(target))
            await anext(arrivals)
        with trio.fail_after(10):
            await honest.send(b"still here")
            assert await served.receive() == b"still here"
            with pytest.raises(errors.ConnectionLost):
                await strangers[0].receive()
        for channel in (served, honest, *strangers):
            await channel.aclose()


def silent() -> bool:
    return False


def speaking() -> bool:
    return True


async def test_who_is_silent_makes_room_for_who_speaks() -> None:
    gate = Gate(Limits(handshakes=3, handshakes_per_source=3))
    honest = gate.enter("192.0.2.1", speaking)
    idle = [gate.enter("192.0.2.1", silent) for _ in range(50)]
    assert not honest.cancel_called
    assert sum(scope.cancel_called for scope in idle) == 48
    control = Gate(Limits(handshakes=3, handshakes_per_source=3))
    unlucky = control.enter("192.0.2.1", silent)
    for _ in range(3):
        control.enter("192.0.2.1", silent)
    assert unlucky.cancel_called


async def test_per_source_the_oldest_handshake_makes_room() -> None:
    gate = Gate(Limits(handshakes=8, handshakes_per_source=2))
    first, second, third = (gate.enter("192.0.2.1", silent) for _ in range(3))
    assert first.cancel_called
    assert not second.cancel_called
    assert not third.cancel_called
    assert len(gate) == 2


async def test_in_total_the_oldest_handshake_makes_room() -> None:
    gate = Gate(Limits(handshakes=4, handshakes_per_source=2))
    scopes = [gate.enter(f"192.0.2.{n}", silent) for n in range(6)]
    assert [scope.cancel_called for scope in scopes] == [True, True, False, False, False, False]
    gate.leave(scopes[3])
    assert len(gate) == 3


async def test_a_relay_is_not_one_client() -> None:
    gate = Gate(Limits())
    scopes = [gate.enter("relay:relay.example", silent) for _ in range(12)]
    assert not any(scope.cancel_called for scope in scopes)
    control = [gate.enter("192.0.2.1", silent) for _ in range(12)]
    assert sum(scope.cancel_called for scope in control) == 8


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2a00:1450:4001:80b::200e", "2a00:1450:4001:80b::/64"),
        ("fe80::1%eth0", "fe80::1"),
        ("fd00::7", "fd00::7"),
    ],
)
def test_what_counts_as_one_source(host: str, source: str) -> None:
    assert source_of(host) == source
