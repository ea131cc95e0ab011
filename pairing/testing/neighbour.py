"""Another machine in a test's network: what it finds by mDNS, whom it meets at a relay.

inside(network.place, lambda: addresses_of("till-7", 20))
inside(network.place, lambda: echo_through(address))
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from pairing import keys
from pairing.testing import netns
from pairing.testing.relays import Watch, echo, said_back
from pairing.transport import dns, relay
from pairing.transport.multicast import Link, Multicast
from pairing.transport.relay import RelayAddress

T = TypeVar("T")
LABEL = b"\x01" * 32
AGAIN_SECONDS = 1.0


def inside(place: netns.Namespace, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` returns, run in a network namespace, in a thread of its own."""
    results: list[T] = []
    wrong: list[BaseException] = []

    def thread() -> None:
        try:
            netns.enter(place.name)  # this thread only
            results.append(trio.run(work))
        except BaseException as problem:  # raised again where it is waited for
            wrong.append(problem)

    started = threading.Thread(target=thread)
    started.start()
    started.join()
    if wrong:
        raise wrong[0]
    return results[0]


async def addresses_of(host: str, seconds: float) -> set[str]:
    """The IPv4 addresses that are answered for `HOST.local`, once there are any; none in time."""
    name, found = (host.encode(), b"local"), set[str]()
    query = dns.encode(dns.Message(False, (dns.Question(name, dns.A),)))
    multicast = Multicast()

    def hear(data: bytes, link: Link) -> None:
        try:
            message = dns.decode(data)
        except dns.Malformed:
            return
        for record in message.records if message.response else ():
            if record.kind == dns.A and dns.same(record.name, name):
                found.add(str(record.data))

    try:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(multicast.run, hear, lambda: None)
            with trio.move_on_after(seconds):
                while not found:
                    await multicast.send(query)
                    await trio.sleep(AGAIN_SECONDS)
            tasks.cancel_scope.cancel()
    finally:
        multicast.close()
    return found


async def echo_through(address: RelayAddress, body: bytes) -> bytes:
    """What a node that waits at this relay says back to an operator who calls it there.

    Raises what relay.call raises.
    """
    node, watch = keys.generate(), Watch()

    async def wait() -> None:
        await relay.wait(address, node.seed, LABEL, echo, report=watch.heard)

    async with trio.open_nursery() as tasks:
        tasks.start_soon(wait)
        await watch.until(True)
        async with await relay.call(address, node.public, LABEL) as stream:
            answer = await said_back(stream, body)
        tasks.cancel_scope.cancel()
    return answer
