"""Hosts that follow one topic, on the loopback interface, for tests of Kairos' gossip."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator

import trio

from pairing.testing.network import LOOPBACK, eventually
from pairing.transport.base import Address
from pairing.transport.p2p import Limits
from pairing.transport.p2p.gossip.flood import Flood
from pairing.transport.p2p.gossip.host import LIMITS, Host, hosting

TOPIC = "1e56312234baccdaa4f1f77cf294f215"


def address_of(host: Host) -> Address:
    """Where it listens."""
    return Address(LOOPBACK, host.port)


@contextlib.asynccontextmanager
async def member(limits: Limits = LIMITS) -> AsyncIterator[tuple[Host, Flood]]:
    """A host that follows TOPIC."""
    async with hosting((LOOPBACK,), limits=limits) as host:
        place = Flood(host)
        await place.follow([TOPIC])
        yield host, place


async def until(*met: tuple[Flood, int]) -> None:
    """Wait until each of these knows so many others that follow its topics."""
    await eventually(lambda: all(len(place.peers()) == count for place, count in met))


async def next_from(place: Flood) -> bytes:
    """What it hears next."""
    with trio.fail_after(20):
        return (await place.receive()).data


async def talk(one: Flood, other: Flood) -> None:
    """A message each way arrives."""
    for speaker, listener in ((one, other), (other, one)):
        said = secrets.token_bytes(40)
        await speaker.publish(TOPIC, said)
        assert await next_from(listener) == said


async def until_heard(one: Flood, other: Flood) -> None:
    """Wait until a message gets through both ways; what is heard before is thrown away."""
    for speaker, listener in ((one, other), (other, one)):
        mark = secrets.token_bytes(16)
        with trio.fail_after(20):
            heard = b""
            while heard != mark:
                await speaker.publish(TOPIC, mark)
                with trio.move_on_after(0.3):
                    while heard != mark:
                        heard = (await listener.receive()).data
    for place in (one, other):
        with trio.move_on_after(0.3):
            while True:
                await place.receive()
