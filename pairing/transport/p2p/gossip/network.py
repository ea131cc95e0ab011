"""Kairos' network as `pairing.edgevpn.gossip.KairosNetwork` wants it: everything put together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import trio
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID

from pairing import errors
from pairing.edgevpn.names import Names
from pairing.edgevpn.nettoken import NetworkToken
from pairing.transport.p2p import sockets
from pairing.transport.p2p.background import background
from pairing.transport.p2p.circuit import CircuitStream
from pairing.transport.p2p.gossip.bootstrap import bootstrap_peers
from pairing.transport.p2p.gossip.dht import Dht
from pairing.transport.p2p.gossip.finding import Finder
from pairing.transport.p2p.gossip.flood import Flood
from pairing.transport.p2p.gossip.host import Host, hosting
from pairing.transport.p2p.meeting import Mdns
from pairing.transport.tag_mdns import Found, TagMdns


@dataclass(frozen=True, slots=True)
class Settings:
    """How a token's holders are looked for. See `pairing.transport.p2p.EdgeVpn`."""

    mdns: Mdns | None = field(default_factory=Mdns)
    bootstrap: Sequence[str] = ()
    hosts: Sequence[str] = sockets.EVERYWHERE


class Place(Flood):
    """See `pairing.edgevpn.gossip.Gossip`; and a way to a peer's other services."""

    async def open(self, peer: str, protocol: str) -> trio.abc.HalfCloseableStream:
        """Raw bytes to a connected peer (base58 id) that answers to a protocol.

        Raises errors.ConnectionLost if it is not connected or does not answer to it.
        """
        try:
            who = ID.from_string(peer)
        except ValueError:  # Anybody with the token can write what is to be a peer's id.
            raise errors.ConnectionLost from None
        line = await self._host.open(who, TProtocol(protocol))
        return RawLine(line.stream, line.pipe)


class RawLine(CircuitStream, trio.abc.HalfCloseableStream):
    """A line's bytes without messages, as trio's stream."""

    async def send_eof(self) -> None:
        """Nothing more will be sent; the other end may still talk."""
        with contextlib.suppress(Exception):
            await self._stream.close()


@contextlib.asynccontextmanager
async def joining(
    token: NetworkToken, names: Callable[[], Names], settings: Settings
) -> AsyncIterator[Place]:
    """Take part until the context ends; what was said last, also when cancelled, still goes out.

    Raises errors.KnownError if this machine cannot.
    """
    bootstrap = bootstrap_peers(settings.bootstrap)
    async with hosting(settings.hosts) as host:
        place = Place(host)
        finder = Finder(host)
        async with background() as tasks:
            tasks.start_soon(finder.run)
            tasks.start_soon(place.watch)
            if settings.mdns is not None:
                tasks.start_soon(_find_on_the_link, token.mdns, host, finder, settings.mdns)
            if bootstrap:
                tasks.start_soon(Dht(host, bootstrap, names, finder).run)
            try:
                yield place
            finally:
                await place.flush()


async def _find_on_the_link(tag: str, host: Host, finder: Finder, settings: Mdns) -> None:
    def found(who: Found) -> None:
        finder.found(who.peer, who.addresses, own_kind=who.own_kind)

    try:
        mdns = TagMdns(
            tag,
            host.own.to_base58(),
            host.port,
            found,
            loopback=settings.loopback,
            port=settings.port,
        )
    except ValueError:
        return  # A tag that is no DNS name: Go cannot use it either.
    await mdns.run()
