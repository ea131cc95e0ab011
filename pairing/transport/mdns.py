"""Finding a node on the same network without knowing its address: a subset of multicast DNS.

RFC 6762 and RFC 6763: the node answers questions for its own names and announces itself; the
operator asks for one instance, whose name only the photo tells. No probing, no cache, no known
answer suppression: the names are random, so nobody else has them.

    PTR   _kairos-pair._tcp.local         -> <instance>._kairos-pair._tcp.local
    SRV   <instance>._kairos-pair._tcp.local -> port at <instance>.local
    TXT   <instance>._kairos-pair._tcp.local -> v=1
    A, AAAA   <instance>.local            -> the addresses of the interface asked on

`<instance>` is the hex text of the first 16 bytes of a label (`pairing.transport.base.Target`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Sequence

import trio

from pairing.transport import dns
from pairing.transport.base import Address
from pairing.transport.multicast import PORT, Link, Multicast

SERVICE = dns.name("_kairos-pair._tcp.local")
TTL = 120
"""Seconds. RFC 6762 section 10 for records that name a host."""
ANSWER_PAUSE = 0.5
"""Seconds between two answers on one link, whoever asks."""
ANNOUNCEMENTS = 2
"""RFC 6762 section 8.3: at least two, one second apart."""
_ASK_AFTER = (0.0, 0.25, 0.75, 1.0, 2.0, 4.0)
"""Seconds between an operator's questions; the last is repeated."""
ADDRESS_LIMIT = 16
"""Addresses that an operator takes from answers; more would be somebody playing."""


def instance_of(label: bytes) -> bytes:
    """A label's instance name: 32 hex digits, as one DNS label."""
    return label[:16].hex().encode()


class Responder:
    """The node's side. `announce` may be called at any time; `run` does the work."""

    def __init__(self, tcp_port: int, *, loopback: bool = False, port: int = PORT) -> None:
        self._tcp_port = tcp_port
        self._multicast = Multicast(loopback=loopback, port=port)
        self._instances: set[bytes] = set()
        self._gone: set[bytes] = set()
        self._asked: dict[Link, set[bytes]] = {}
        self._answered: dict[Link, float] = {}
        self._news = trio.Event()

    def announce(self, labels: Sequence[bytes]) -> None:
        """Answer for these labels from now on, and say goodbye to the others."""
        wanted = {instance_of(label) for label in labels}
        self._gone |= self._instances - wanted
        self._gone -= wanted
        self._instances = wanted
        self._news.set()

    async def run(self) -> None:
        """Answer and announce until cancelled, then say goodbye."""
        async with trio.open_nursery() as tasks:

            def hear(data: bytes, link: Link) -> None:
                for instance in asked_for(data, self._instances):
                    pending = self._asked.setdefault(link, set())
                    if not pending:
                        tasks.start_soon(self._answer, link)
                    pending.add(instance)

            tasks.start_soon(self._multicast.run, hear, self._news.set)
            try:
                await self._announce_news()
            finally:
                self._gone |= self._instances
                with trio.CancelScope(shield=True) as last_words:
                    last_words.deadline = trio.current_time() + 0.5
                    await self._say_goodbye()
                self._multicast.close()

    async def _announce_news(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            await self._say_goodbye()
            for _ in range(ANNOUNCEMENTS):
                for link in self._multicast.links:
                    await self._send(self._instances, link, TTL)
                with trio.move_on_after(1):
                    await self._news.wait()
                    break

    async def _say_goodbye(self) -> None:
        gone, self._gone = self._gone, set()
        for link in self._multicast.links:
            await self._send(gone, link, 0)

    async def _answer(self, link: Link) -> None:
        """Answer what was asked on a link, no more often than ANSWER_PAUSE allows."""
        await trio.sleep_until(self._answered.get(link, -ANSWER_PAUSE) + ANSWER_PAUSE)
        asked = self._asked.pop(link, set())
        self._answered[link] = trio.current_time()
        await self._send(asked & self._instances, link, TTL)

    async def _send(self, instances: set[bytes], link: Link, ttl: int) -> None:
        if instances:
            records = [r for i in sorted(instances) for r in self._records(i, link, ttl)]
            await self._multicast.send(dns.encode(dns.Message(True, (), records)), (link,))

    def _records(self, instance: bytes, link: Link, ttl: int) -> Iterator[dns.Record]:
        service, host = (instance, *SERVICE), (instance, b"local")
        yield dns.Record(SERVICE, dns.PTR, ttl, service)
        yield dns.Record(service, dns.SRV, ttl, dns.Service(self._tcp_port, host), flush=True)
        yield dns.Record(service, dns.TXT, ttl, b"\x03v=1", flush=True)
        for address in link.interface.addresses:
            kind = dns.A if address.version == 4 else dns.AAAA
            yield dns.Record(host, kind, ttl, address, flush=True)


def asked_for(data: bytes, instances: Iterable[bytes]) -> Sequence[bytes]:
    """Those of the instances that a datagram asks for."""
    try:
        message = dns.decode(data)
    except dns.Malformed:
        return ()
    if message.response:
        return ()
    return [i for i in instances if any(_asks_for(q, i) for q in message.questions)]


def _asks_for(question: dns.Question, instance: bytes) -> bool:
    kinds: dict[dns.Name, tuple[int, ...]] = {
        SERVICE: (dns.PTR,),
        (instance, *SERVICE): (dns.SRV, dns.TXT),
        (instance, b"local"): (dns.A, dns.AAAA),
    }
    return any(
        dns.same(question.name, name) and question.kind in (*wanted, dns.ANY)
        for name, wanted in kinds.items()
    )


async def look_for(
    label: bytes,
    found: Callable[[Address], None],
    *,
    loopback: bool = False,
    port: int = PORT,
) -> None:
    """Ask for the node with this label until cancelled; `found` hears each new address once.

    Anybody on the network can answer anything: an address is a place to try, no more.
    """
    instance = instance_of(label)
    multicast = Multicast(loopback=loopback, port=port)
    seen: set[Address] = set()
    new_link = trio.Event()

    def hear(data: bytes, link: Link) -> None:
        for address in addresses_in(data, instance, link):
            if address not in seen and len(seen) < ADDRESS_LIMIT:
                seen.add(address)
                found(address)

    try:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(multicast.run, hear, new_link.set)
            await new_link.wait()
            await _ask(multicast, instance)
    finally:
        multicast.close()


async def _ask(multicast: Multicast, instance: bytes) -> None:
    question = dns.Question((instance, *SERVICE), dns.SRV)
    query = dns.encode(dns.Message(False, (question,)))
    for pause in _ASK_AFTER:
        await trio.sleep(pause)
        await multicast.send(query)
    while True:
        await trio.sleep(_ASK_AFTER[-1])
        await multicast.send(query)


def addresses_in(data: bytes, instance: bytes, link: Link) -> Sequence[Address]:
    """Where a datagram says that the instance listens; nothing if it says nothing usable."""
    try:
        message = dns.decode(data)
    except dns.Malformed:
        return ()
    live = [record for record in message.records if message.response and record.ttl > 0]
    services = [
        record.data
        for record in live
        if isinstance(record.data, dns.Service) and dns.same(record.name, (instance, *SERVICE))
    ]
    return tuple(
        Address(_host(record.data, link), service.port)
        for service in services
        for record in live
        if isinstance(record.data, ipaddress.IPv4Address | ipaddress.IPv6Address)
        and dns.same(record.name, service.target)
        and service.port > 0
        and _usable(record.data, link)
    )


def _usable(address: ipaddress.IPv4Address | ipaddress.IPv6Address, link: Link) -> bool:
    if address.is_loopback:
        return link.interface.is_loopback
    return not (address.is_multicast or address.is_unspecified)


def _host(address: ipaddress.IPv4Address | ipaddress.IPv6Address, link: Link) -> str:
    """A link-local IPv6 address is one only together with its interface (RFC 4007)."""
    scope = f"%{link.interface.name}" if address.version == 6 and address.is_link_local else ""
    return f"{address}{scope}"
