"""Finding each other by a tag: multicast DNS in the form that go-libp2p gives it.

https://github.com/libp2p/specs/blob/master/discovery/mdns.md, with the token's tag as the whole
service name. Everybody asks and answers:

    PTR   <tag>.local              -> <instance>.<tag>.local
    SRV   <instance>.<tag>.local   -> port at <instance>.local
    TXT   <instance>.<tag>.local   -> dnsaddr=<multiaddr with the peer id>, one string for each
    A, AAAA   <instance>.local     -> the addresses of the interface asked on

`<instance>` is random. A string `kairos-pair=1` in the TXT record says that it is this program;
others ignore it.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import trio

from pairing.transport import dns
from pairing.transport.base import Address
from pairing.transport.interfaces import IPAddress
from pairing.transport.multicast import PORT, Link, Multicast

TTL = 120
"""Seconds."""
ANSWER_PAUSE = 0.5
"""Seconds between two answers on one link, whoever asks."""
ASK_AFTER = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between questions; the last is repeated."""
ADDRESS_LIMIT = 16
"""Addresses of one peer that are taken from an answer."""
OWN_MARK = b"kairos-pair=1"
_DNSADDR = re.compile(
    rb"dnsaddr=/ip[46]/([0-9A-Fa-f.:]{2,45})/tcp/([0-9]{1,5})/p2p/([1-9A-HJ-NP-Za-km-z]{40,64})"
)
_GOODBYE_SECONDS = 0.5
_SRV_PORT = 4001
"""Nobody uses it: the addresses in the TXT record have their own. It is go-libp2p's."""


@dataclass(frozen=True, slots=True)
class Found:
    """A peer that somebody announced: base58 id, and where it is said to listen, IPv4 first."""

    peer: str
    addresses: tuple[Address, ...]
    own_kind: bool


class TagMdns:
    """Announces one peer under a tag and hears of others. `run` does the work.

    Raises ValueError for a tag that is no DNS name.
    """

    def __init__(
        self,
        tag: str,
        peer: str,
        tcp_port: int,
        found: Callable[[Found], None],
        *,
        loopback: bool = False,
        port: int = PORT,
    ) -> None:
        self._service = service_of(tag)
        self._peer = peer
        self._tcp_port = tcp_port
        self._found = found
        self._instance = secrets.token_hex(20).encode()
        # A station that pairs many machines hears each of its own tags with all of them.
        self._needles = (self._service[0].lower(), self._instance)
        self._multicast = Multicast(loopback=loopback, port=port)
        self._pending: set[Link] = set()
        self._answered: dict[Link, float] = {}
        self._new_links = trio.Event()

    async def run(self) -> None:
        """Ask, answer and tell until cancelled, then say goodbye."""
        async with trio.open_nursery() as tasks:

            def hear(data: bytes, link: Link) -> None:
                self._hear(data, link, tasks)

            tasks.start_soon(self._multicast.run, hear, self._new_links.set)
            try:
                await self._ask_and_announce()
            finally:
                with trio.move_on_after(_GOODBYE_SECONDS, shield=True):
                    for link in self._multicast.links:
                        await self._send(link, 0)
                self._multicast.close()

    async def _ask_and_announce(self) -> None:
        """From the start whenever there is a new link: a cable was put in, Wi-Fi came up."""
        question = dns.Question(self._service, dns.PTR)
        query = dns.encode(dns.Message(False, (question,)))
        while True:
            await self._new_links.wait()
            self._new_links = trio.Event()
            for number in itertools.count():
                with trio.move_on_after(ASK_AFTER[min(number, len(ASK_AFTER) - 1)]):
                    await self._new_links.wait()
                    break
                await self._multicast.send(query)
                if number < 2:
                    for link in self._multicast.links:
                        await self._send(link, TTL)

    def _hear(self, data: bytes, link: Link, tasks: trio.Nursery) -> None:
        lowered = data.lower()
        if not any(needle in lowered for needle in self._needles):
            return  # Somebody else's; names may be shortened, but not where they come first.
        try:
            message = dns.decode(data)
        except dns.Malformed:
            return
        if message.response:
            for found in peers_in(message, self._service, link):
                if found.peer != self._peer:
                    self._found(found)
        elif self._is_asked(message) and link not in self._pending:
            self._pending.add(link)
            tasks.start_soon(self._answer, link)

    def _is_asked(self, message: dns.Message) -> bool:
        names = (self._service, (self._instance, *self._service), (self._instance, b"local"))
        return any(
            dns.same(question.name, name) for question in message.questions for name in names
        )

    async def _answer(self, link: Link) -> None:
        await trio.sleep_until(self._answered.get(link, -ANSWER_PAUSE) + ANSWER_PAUSE)
        self._pending.discard(link)
        self._answered[link] = trio.current_time()
        await self._send(link, TTL)

    async def _send(self, link: Link, ttl: int) -> None:
        records = tuple(self._records(link, ttl))
        await self._multicast.send(dns.encode(dns.Message(True, (), records)), (link,))

    def _records(self, link: Link, ttl: int) -> Iterator[dns.Record]:
        service, host = (self._instance, *self._service), (self._instance, b"local")
        addresses = announced(link)
        yield dns.Record(self._service, dns.PTR, ttl, service)
        yield dns.Record(service, dns.SRV, ttl, dns.Service(_SRV_PORT, host), flush=True)
        yield dns.Record(service, dns.TXT, ttl, self._text(addresses), flush=True)
        for address in addresses:
            kind = dns.A if address.version == 4 else dns.AAAA
            yield dns.Record(host, kind, ttl, address, flush=True)

    def _text(self, addresses: Sequence[IPAddress]) -> bytes:
        strings = [
            f"dnsaddr=/ip{a.version}/{a}/tcp/{self._tcp_port}/p2p/{self._peer}".encode()
            for a in addresses
        ]
        return b"".join(bytes([len(text)]) + text for text in (*strings, OWN_MARK))


def service_of(tag: str) -> dns.Name:
    """The DNS name of a tag: its letters' case counts in Go, so it stays. Raises ValueError."""
    try:
        labels = (*dns.name(tag), b"local")
        dns.encode(dns.Message(False, (dns.Question((b"x" * 40, *labels), dns.PTR),)))
    except (dns.Malformed, UnicodeEncodeError) as error:
        raise ValueError("the token's mDNS tag is no DNS name") from error
    return labels


def announced(link: Link) -> Sequence[IPAddress]:
    """The addresses to announce on a link, IPv4 first; one without its zone helps nobody."""
    usable = [a for a in link.interface.addresses if a.version == 4 or not a.is_link_local]
    return sorted(usable[:ADDRESS_LIMIT], key=lambda address: address.version)


def peers_in(message: dns.Message, service: dns.Name, link: Link) -> Sequence[Found]:
    """The peers that a response announces under a service, each with its TCP addresses."""
    addresses: dict[str, list[Address]] = {}
    ours: set[str] = set()
    for record in message.records:
        if record.kind != dns.TXT or record.ttl == 0 or not isinstance(record.data, bytes):
            continue
        if len(record.name) < 2 or not dns.same(record.name[1:], service):
            continue
        strings = tuple(strings_in(record.data))
        for text in strings:
            match = _DNSADDR.fullmatch(text)
            address = _address(match[1], match[2], link) if match else None
            if match and address:
                addresses.setdefault(match[3].decode(), []).append(address)
                if OWN_MARK in strings:
                    ours.add(match[3].decode())
    return [
        Found(peer, tuple(sorted(where, key=lambda a: ":" in a.host)[:ADDRESS_LIMIT]), peer in ours)
        for peer, where in addresses.items()
    ]


def strings_in(data: bytes) -> Iterator[bytes]:
    """The strings of a TXT record (RFC 1035 section 3.3.14); ends where the data is cut."""
    at = 0
    while at < len(data):
        text = data[at + 1 : at + 1 + data[at]]
        if len(text) == data[at]:
            yield text
        at += 1 + data[at]


def _address(host: bytes, port: bytes, link: Link) -> Address | None:
    """Where that is, seen from this link; None for what cannot be reached over it."""
    try:
        ip = ipaddress.ip_address(host.decode())
    except ValueError:
        return None
    if not 0 < int(port) < 65536 or ip.is_multicast or ip.is_unspecified:
        return None
    if ip.is_loopback and not link.interface.is_loopback:
        return None
    scope = f"%{link.interface.name}" if ip.version == 6 and ip.is_link_local else ""
    return Address(f"{ip}{scope}", int(port))
