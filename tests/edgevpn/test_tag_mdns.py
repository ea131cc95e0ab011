"""mDNS as go-libp2p speaks it: what is said, what is taken, and both over real multicast."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Sequence

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from pairing.testing.network import free_udp_port
from pairing.transport import dns, tag_mdns
from pairing.transport.base import Address
from pairing.transport.interfaces import Interface
from pairing.transport.multicast import Link, Multicast
from pairing.transport.tag_mdns import Found, TagMdns, announced, peers_in, service_of, strings_in

TAG = "eeeeEEEE"
SERVICE = service_of(TAG)
PEER = "12D3KooWBh5fxZcig6DetbEQiXtxyjrYKhnH9DMyjLVngELtxoRj"
OTHER = "12D3KooWSg4QFSdmMRVX4SGT8nJExXLbhXp9NCHehimtvNKBZ4Lf"
V4, V6 = ipaddress.ip_address("192.0.2.9"), ipaddress.ip_address("2001:db8::9")
LOCAL = ipaddress.ip_address("fe80::9")
LINK = Link(Interface("eth0", 2, (LOCAL, V6, V4)), 4)
LO = Link(Interface("lo", 1, (ipaddress.ip_address("127.0.0.1"),)), 4)


def text_record(*strings: str, name: dns.Name = (b"instance", *SERVICE), ttl: int = 120) -> bytes:
    data = b"".join(bytes([len(s)]) + s.encode() for s in strings)
    record = dns.Record(name, dns.TXT, ttl, data)
    return dns.encode(dns.Message(True, (), (record,)))


def found_in(data: bytes, link: Link = LINK) -> Sequence[Found]:
    return peers_in(dns.decode(data), SERVICE, link)


def test_what_a_go_peer_announces() -> None:
    data = text_record(
        f"dnsaddr=/ip6/2001:db8::7/tcp/4002/p2p/{PEER}",
        f"dnsaddr=/ip4/127.0.0.1/tcp/4001/p2p/{PEER}",
        f"dnsaddr=/ip4/192.0.2.7/tcp/4001/p2p/{PEER}",
        f"dnsaddr=/ip4/192.0.2.7/udp/4001/quic-v1/p2p/{PEER}",
        f"dnsaddr=/ip4/192.0.2.7/udp/4001/webrtc-direct/certhash/uEiB/p2p/{PEER}",
        "something=else",
    )
    here = (Address("192.0.2.7", 4001), Address("2001:db8::7", 4002))
    assert found_in(data) == [Found(PEER, here, own_kind=False)]
    assert Address("127.0.0.1", 4001) in found_in(data, LO)[0].addresses


def test_our_own_kind_is_known_by_its_mark() -> None:
    data = text_record(f"dnsaddr=/ip4/192.0.2.7/tcp/4001/p2p/{PEER}", "kairos-pair=1")
    assert found_in(data)[0].own_kind


def test_an_address_of_the_link_alone_gets_its_zone() -> None:
    data = text_record(f"dnsaddr=/ip6/fe80::7/tcp/4001/p2p/{PEER}")
    assert found_in(data)[0].addresses == (Address("fe80::7%eth0", 4001),)


@pytest.mark.parametrize(
    "data",
    [
        text_record(f"dnsaddr=/ip4/192.0.2.7/tcp/0/p2p/{PEER}"),
        text_record(f"dnsaddr=/ip4/192.0.2.7/tcp/65536/p2p/{PEER}"),
        text_record(f"dnsaddr=/ip4/192.0.2.777/tcp/4001/p2p/{PEER}"),
        text_record(f"dnsaddr=/ip4/224.0.0.1/tcp/4001/p2p/{PEER}"),
        text_record(f"dnsaddr=/ip4/0.0.0.0/tcp/4001/p2p/{PEER}"),
        text_record("dnsaddr=/ip4/192.0.2.7/tcp/4001"),
        text_record(f"dnsaddr=/ip4/192.0.2.7/tcp/4001/p2p/{PEER}", ttl=0),
        text_record(
            f"dnsaddr=/ip4/192.0.2.7/tcp/4001/p2p/{PEER}", name=(b"i", *service_of("other"))
        ),
    ],
)
def test_what_is_of_no_use_is_left_out(data: bytes) -> None:
    assert found_in(data) == []


def test_one_answer_names_no_more_than_a_few_addresses() -> None:
    many = [f"dnsaddr=/ip4/192.0.2.{n}/tcp/4001/p2p/{PEER}" for n in range(1, 100)]
    assert len(found_in(text_record(*many))[0].addresses) == tag_mdns.ADDRESS_LIMIT


@given(st.binary(max_size=600))
def test_any_text_record_is_survived(data: bytes) -> None:
    record = dns.Record((b"instance", *SERVICE), dns.TXT, 120, data)
    peers_in(dns.Message(True, (), (record,)), SERVICE, LINK)


@given(st.lists(st.binary(max_size=255), max_size=20))
def test_strings_come_out_as_they_went_in(strings: list[bytes]) -> None:
    data = b"".join(bytes([len(text)]) + text for text in strings)
    assert list(strings_in(data)) == strings
    assert list(strings_in(data[:-1]))[: len(strings) - 1] == strings[:-1]


def test_addresses_are_announced_ipv4_first_and_never_without_a_zone_they_need() -> None:
    assert announced(LINK) == [V4, V6]


@pytest.mark.parametrize("tag", ["", "x" * 64, "a..b", "ü"])
def test_a_tag_that_is_no_name(tag: str) -> None:
    with pytest.raises(ValueError, match="no DNS name"):
        service_of(tag)


def test_the_case_of_a_tag_is_kept() -> None:
    assert SERVICE == (b"eeeeEEEE", b"local")


async def test_two_hear_of_each_other() -> None:
    port = free_udp_port()
    told, heard = trio.open_memory_channel[Found](100)
    async with trio.open_nursery() as tasks:
        for peer, tcp_port in ((PEER, 4101), (OTHER, 4102)):
            mdns = TagMdns(TAG, peer, tcp_port, told.send_nowait, loopback=True, port=port)
            tasks.start_soon(mdns.run)
        seen: dict[str, Found] = {}
        with trio.fail_after(20):
            while len(seen) < 2:
                found = await heard.receive()
                seen[found.peer] = found
        tasks.cancel_scope.cancel()
    assert seen[PEER].addresses[0] == Address("127.0.0.1", 4101)
    assert seen[OTHER].own_kind


async def test_what_go_asks_is_answered_with_all_it_needs() -> None:
    """Go drops an answer without SRV, TXT and an address, and one in another case."""
    port = free_udp_port()
    said, heard = trio.open_memory_channel[dns.Message](100)
    ready = trio.Event()
    ear = Multicast(loopback=True, port=port)

    def keep(data: bytes, _link: Link) -> None:
        said.send_nowait(dns.decode(data))

    async with trio.open_nursery() as tasks:
        tasks.start_soon(ear.run, keep, ready.set)
        await ready.wait()
        mdns = TagMdns(TAG, PEER, 4101, lambda _: None, loopback=True, port=port)
        tasks.start_soon(mdns.run)
        await trio.sleep(2)
        with contextlib.suppress(trio.WouldBlock):  # what it said by itself at its start
            while True:
                heard.receive_nowait()
        question = dns.Question(SERVICE, dns.PTR)
        await ear.send(dns.encode(dns.Message(False, (question,))))
        with trio.fail_after(10):
            while not (message := await heard.receive()).response:
                pass
        tasks.cancel_scope.cancel()
    ear.close()
    kinds = {record.kind for record in message.records}
    assert {dns.PTR, dns.SRV, dns.TXT, dns.A} <= kinds
    pointer = next(record for record in message.records if record.kind == dns.PTR)
    assert pointer.name == SERVICE
    assert isinstance(pointer.data, tuple)
    assert 32 <= len(pointer.data[0]) <= 63
