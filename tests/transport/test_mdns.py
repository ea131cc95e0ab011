"""Finding a node by mDNS, over real multicast on the loopback interface."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence

import pytest
import trio

from pairing.keys import SigningKey
from pairing.testing.network import LOOPBACK, free_udp_port, loopback_transport
from pairing.transport import dns, mdns
from pairing.transport.base import Address, Presence, Target
from pairing.transport.interfaces import Interface, addresses_by_use, interfaces
from pairing.transport.multicast import Link, Multicast

LABEL, OTHER = bytes(range(32)), bytes(range(1, 33))
LINK = Link(Interface("eth0", 2, (ipaddress.ip_address("192.0.2.9"),)), 4)


class Ear:
    """Everything said to the group, decoded."""

    def __init__(self, port: int) -> None:
        self.multicast = Multicast(loopback=True, port=port)
        self.said, self.heard = trio.open_memory_channel[dns.Message](100)
        self.ready = trio.Event()

    async def listen(self) -> None:
        def hear(data: bytes, _link: Link) -> None:
            self.said.send_nowait(dns.decode(data))

        try:
            await self.multicast.run(hear, self.ready.set)
        finally:
            self.multicast.close()

    async def ask(self, name: dns.Name, kind: int) -> None:
        question = dns.Question(name, kind)
        await self.multicast.send(dns.encode(dns.Message(False, (question,))))

    async def next_response(self) -> dns.Message:
        with trio.fail_after(10):
            while not (message := await self.heard.receive()).response:
                pass
        return message


async def look(label: bytes, port: int) -> Address:
    """The first IPv4 address that a search finds."""
    found = trio.Event()
    addresses: list[Address] = []

    def keep(address: Address) -> None:
        addresses.append(address)
        if ":" not in address.host:
            found.set()

    async with trio.open_nursery() as tasks:
        tasks.start_soon(lambda: mdns.look_for(label, keep, loopback=True, port=port))
        with trio.fail_after(10):
            await found.wait()
        tasks.cancel_scope.cancel()
    return next(a for a in addresses if ":" not in a.host)


async def test_a_node_is_found_by_its_label() -> None:
    port = free_udp_port()
    responder = mdns.Responder(4917, loopback=True, port=port)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(responder.run)
        responder.announce([OTHER, LABEL])
        assert await look(LABEL, port) == Address(LOOPBACK, 4917)
        tasks.cancel_scope.cancel()


async def test_who_waits_already_hears_the_announcement() -> None:
    port = free_udp_port()
    responder = mdns.Responder(4917, loopback=True, port=port)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(responder.run)
        found: list[Address] = []
        arrived = trio.Event()

        def keep(address: Address) -> None:
            found.append(address)
            arrived.set()

        tasks.start_soon(lambda: mdns.look_for(LABEL, keep, loopback=True, port=port))
        await trio.testing.wait_all_tasks_blocked()
        assert not found
        responder.announce([LABEL])
        with trio.fail_after(10):
            await arrived.wait()
        tasks.cancel_scope.cancel()
    assert len(found) == len(set(found))


async def test_a_label_that_is_gone_says_goodbye() -> None:
    port = free_udp_port()
    ear, responder = Ear(port), mdns.Responder(4917, loopback=True, port=port)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(ear.listen)
        await ear.ready.wait()
        async with trio.open_nursery() as running:
            running.start_soon(responder.run)
            responder.announce([LABEL])
            assert all(record.ttl == mdns.TTL for record in (await ear.next_response()).records)
            responder.announce([OTHER])
            while (message := await ear.next_response()).records[0].ttl:
                pass
            assert message.records[0].data == (mdns.instance_of(LABEL), *mdns.SERVICE)
            running.cancel_scope.cancel()
        while (message := await ear.next_response()).records[0].ttl:
            pass
        assert message.records[0].data == (mdns.instance_of(OTHER), *mdns.SERVICE)
        tasks.cancel_scope.cancel()


MINE = mdns.instance_of(LABEL)


@pytest.mark.parametrize(
    ("name", "kind", "answered"),
    [
        (mdns.SERVICE, dns.PTR, True),
        ((MINE, *mdns.SERVICE), dns.SRV, True),
        ((MINE.upper(), *mdns.SERVICE), dns.ANY, True),
        ((MINE, b"local"), dns.A, True),
        ((MINE, b"local"), dns.TXT, False),
        ((mdns.instance_of(OTHER), *mdns.SERVICE), dns.SRV, False),
        (dns.name("_ipp._tcp.local"), dns.PTR, False),
        (dns.name("_services._dns-sd._udp.local"), dns.PTR, False),
        ((), dns.ANY, False),
    ],
)
def test_only_questions_for_own_names_are_answered(
    name: dns.Name, kind: int, answered: bool
) -> None:
    question = (dns.Question(name, kind),)
    asked = mdns.asked_for(dns.encode(dns.Message(False, question)), [MINE])
    assert asked == ([MINE] if answered else [])
    assert not mdns.asked_for(dns.encode(dns.Message(True, question)), [MINE])


async def test_a_flood_of_questions_gets_few_answers() -> None:
    port = free_udp_port()
    ear, responder = Ear(port), mdns.Responder(4917, loopback=True, port=port)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(ear.listen)
        await ear.ready.wait()
        tasks.start_soon(responder.run)
        responder.announce([LABEL])
        await ear.next_response()
        for _ in range(40):
            await ear.ask(mdns.SERVICE, dns.PTR)
        answers = 1
        with trio.move_on_after(0.4):
            while True:
                await ear.next_response()
                answers += 1
        announcements, replies = 2, 2
        assert 1 < answers <= (announcements + replies) * len(ear.multicast.links)
        tasks.cancel_scope.cancel()


def response(*records: dns.Record) -> bytes:
    return dns.encode(dns.Message(True, (), records))


def answer_with(*addresses: str, port: int = 4917, ttl: int = 120) -> bytes:
    instance = mdns.instance_of(LABEL)
    host = (instance, b"local")
    parsed = [ipaddress.ip_address(text) for text in addresses]
    return response(
        dns.Record((instance, *mdns.SERVICE), dns.SRV, ttl, dns.Service(port, host)),
        *(dns.Record(host, dns.A if a.version == 4 else dns.AAAA, ttl, a) for a in parsed),
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (answer_with("192.0.2.1"), ["192.0.2.1:4917"]),
        (answer_with("192.0.2.1", "2001:db8::1"), ["192.0.2.1:4917", "[2001:db8::1]:4917"]),
        (answer_with("fe80::1"), ["[fe80::1%eth0]:4917"]),
        (answer_with("127.0.0.1", "224.0.0.1", "0.0.0.0"), []),
        (answer_with("192.0.2.1", ttl=0), []),
        (answer_with("192.0.2.1", port=0), []),
        (b"\xff" * 40, []),
        (answer_with("192.0.2.1")[:-3], []),
    ],
)
def test_what_an_answer_is_worth(data: bytes, expected: Sequence[str]) -> None:
    found = mdns.addresses_in(data, mdns.instance_of(LABEL), LINK)
    assert [str(address) for address in found] == expected


async def test_the_transport_finds_its_node_without_an_address() -> None:
    transport, seed = loopback_transport(), secrets.token_bytes(32)
    async with transport.listener(seed, 0) as listener, transport.dialer() as dialer:
        listener.announce(Presence(labels=[LABEL]))
        with trio.fail_after(10):
            operator = await dialer.dial(Target(SigningKey(seed).public, LABEL))
        node = await anext(listener.channels())
        await operator.send(b"found")
        assert await node.receive() == b"found"
        await node.aclose()
        await operator.aclose()


def test_this_machine_has_a_loopback_interface_and_it_is_not_announced() -> None:
    assert any(interface.is_loopback for interface in interfaces())
    assert not any(address.is_loopback for address in addresses_by_use())
