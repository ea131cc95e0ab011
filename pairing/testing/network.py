"""Ready-made ends of a conversation, and a man in the middle, for tests.

Everything runs in this process: on memory (`memory_ends`) or on real sockets of the loopback
interface with real cryptography (`loopback_ends`).
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

import trio

from pairing.keys import SigningKey
from pairing.transport.base import Address, Channel, Listener, Target, Transport
from pairing.transport.memory import MemoryNetwork
from pairing.transport.p2p import Limits, Mdns, Meeting, P2PTransport

LOOPBACK = "127.0.0.1"
LABEL = bytes(range(32))
"""A rendezvous label for tests that need one."""


def loopback_transport(
    limits: Limits | None = None, meeting: Meeting | None = None
) -> P2PTransport:
    """libp2p on 127.0.0.1, with an mDNS port of its own and no proxy."""
    meeting = meeting or Meeting(mdns=Mdns(loopback=True, port=free_udp_port()), proxy="")
    return P2PTransport(hosts=(LOOPBACK,), limits=limits, meeting=meeting)


def free_udp_port() -> int:
    """A UDP port that nobody uses at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


async def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until it holds. Raises trio.TooSlowError if it does not in so many seconds."""
    with trio.fail_after(seconds):
        while True:
            if condition():
                return
            await trio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Ends:
    """A listening node, how to reach it, and both ends of one channel with it."""

    listener: Listener
    target: Target
    node: Channel
    operator: Channel


def target_of(seed: bytes, listener: Listener, label: bytes = LABEL) -> Target:
    """The node with this seed at the listener's own addresses, without mDNS and relays."""
    addresses = listener.reachable().addresses
    return Target(SigningKey(seed).public, label, addresses, mdns=False)


@contextlib.asynccontextmanager
async def connected_ends(
    at_node: Transport, at_operator: Transport, seed: bytes | None = None
) -> AsyncIterator[Ends]:
    """One channel between a node and an operator over these transports."""
    seed = seed or secrets.token_bytes(32)
    async with at_node.listener(seed, 0) as listener, at_operator.dialer() as dialer:
        target = target_of(seed, listener)
        operator = await dialer.dial(target)
        node = await anext(listener.channels())
        try:
            yield Ends(listener, target, node, operator)
        finally:
            await node.aclose()
            await operator.aclose()


@contextlib.asynccontextmanager
async def memory_ends(network: MemoryNetwork | None = None) -> AsyncIterator[Ends]:
    """One channel on memory. Keep the network to do it harm."""
    network = network or MemoryNetwork()
    async with connected_ends(network.transport("node"), network.transport()) as ends:
        yield ends


@contextlib.asynccontextmanager
async def loopback_ends() -> AsyncIterator[Ends]:
    """One channel over libp2p and real sockets."""
    transport = loopback_transport()
    async with connected_ends(transport, transport) as ends:
        yield ends


Direction = Literal["up", "down"]
"""Up: from the caller to the one called."""
Meddle = Callable[[Direction, int, bytes], bytes | None]
"""What becomes of the bytes that begin at this offset of this direction; None cuts both."""


@contextlib.asynccontextmanager
async def man_in_the_middle(behind: Address, meddle: Meddle) -> AsyncIterator[Address]:
    """An address whose callers talk to `behind` through `meddle`."""
    async with trio.open_nursery() as tasks:
        listeners = await trio.open_tcp_listeners(0, host=LOOPBACK)
        port = int(listeners[0].socket.getsockname()[1])

        async def carry_both(caller: trio.SocketStream) -> None:
            called = await trio.open_tcp_stream(behind.host, behind.port)
            async with called, trio.open_nursery() as both:
                both.start_soon(_carry, "up", caller, called, meddle, both.cancel_scope)
                both.start_soon(_carry, "down", called, caller, meddle, both.cancel_scope)

        tasks.start_soon(trio.serve_listeners, carry_both, listeners)
        yield Address(LOOPBACK, port)
        tasks.cancel_scope.cancel()


async def _carry(
    direction: Direction,
    source: trio.SocketStream,
    sink: trio.SocketStream,
    meddle: Meddle,
    both: trio.CancelScope,
) -> None:
    offset = 0
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for chunk in source:
            data = meddle(direction, offset, bytes(chunk))
            offset += len(chunk)
            if data is None:
                break
            await sink.send_all(data)
    both.cancel()
