"""The operator's side: every way to a node, one authenticated channel."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

import trio

from pairing.transport.base import Address, Channel, Target
from pairing.transport.dial import STAGGER, Way, first_channel, tcp_way
from pairing.transport.interfaces import interfaces
from pairing.transport.p2p import upgrade
from pairing.transport.p2p.gate import Limits
from pairing.transport.p2p.identity import Identity
from pairing.transport.p2p.roster import Roster


class P2PDialer:
    """See `pairing.transport.base.Dialer`."""

    def __init__(self, identity: Identity, limits: Limits, tasks: trio.Nursery) -> None:
        self._identity = identity
        self._tasks = tasks
        self._roster = Roster(limits)

    async def dial(self, target: Target) -> Channel:
        async def authenticate(stream: trio.abc.Stream, way: Way) -> Channel:
            who = upgrade.Caller(way.name, way.source)
            channel = await upgrade.call(self._tasks, stream, self._identity, target.key, who)
            self._roster.admit(channel)
            return channel

        return await first_channel(self._ways(target), authenticate)

    def _ways(self, target: Target) -> Sequence[Way]:
        direct = [a for address in target.addresses for a in with_scope(address)]
        return [tcp_way(address, after=i * STAGGER) for i, address in enumerate(direct)]

    async def close(self) -> None:
        await self._roster.close_all()


def with_scope(address: Address) -> Iterator[Address]:
    """A link-local IPv6 address once per interface it may be on (RFC 4007); others as they are."""
    try:
        is_local = "%" not in address.host and ipaddress.IPv6Address(address.host).is_link_local
    except ValueError:
        is_local = False
    if not is_local:
        yield address
        return
    for interface in interfaces():
        if any(a.version == 6 and a.is_link_local for a in interface.addresses):
            yield Address(f"{address.host}%{interface.name}", address.port)
