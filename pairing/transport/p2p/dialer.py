"""The operator's side: every way to a node, one authenticated channel."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterator

import trio

from pairing import errors
from pairing.transport.base import Address, Channel, Target
from pairing.transport.dial import RELAY_AFTER, STAGGER, Discover, Way, first_channel
from pairing.transport.interfaces import interfaces
from pairing.transport.mdns import look_for
from pairing.transport.p2p import circuit, upgrade
from pairing.transport.p2p.channel import P2PChannel
from pairing.transport.p2p.circuit_address import CircuitAddress, is_circuit
from pairing.transport.p2p.identity import Identity
from pairing.transport.p2p.meeting import Meeting, relay_name
from pairing.transport.p2p.pipe import Pipe
from pairing.transport.p2p.roster import close_in_order

CONNECT_SECONDS = 3.0

Open = Callable[[], Awaitable[trio.abc.Stream]]


class P2PDialer:
    """See `pairing.transport.base.Dialer`."""

    def __init__(self, identity: Identity, meeting: Meeting, tasks: trio.Nursery) -> None:
        self._identity = identity
        self._meeting = meeting
        self._tasks = tasks
        self._channels: list[P2PChannel] = []

    async def dial(self, target: Target) -> Channel:
        direct = [a for address in target.addresses for a in with_scope(address)]
        ways = [self._tcp(target, a, after=i * STAGGER) for i, a in enumerate(direct)]
        head_start = RELAY_AFTER if ways or target.mdns else 0.0
        ways += [
            self._relay(target, place, after=head_start + i * STAGGER)
            for i, place in enumerate(target.relays)
        ]
        return await first_channel(ways, self._discover(target) if target.mdns else None)

    async def close(self) -> None:
        await close_in_order(self._channels)

    def _tcp(self, target: Target, address: Address, after: float = 0.0) -> Way:
        async def reach() -> Channel:
            raw = await connect(address)
            return await self._authenticate(target, raw, str(address), address.host)

        return Way(str(address), reach, after)

    def _relay(self, target: Target, place: str, after: float) -> Way:
        name = relay_name(place)

        async def reach() -> Channel:
            if is_circuit(place):
                where = CircuitAddress.parse(place)
                raw = await circuit.call(self._tasks, where, target.key, self._meeting.tls)
            else:
                raw = await self._meeting.call(place, target)
            return await self._authenticate(target, raw, f"relay {name}", f"relay:{name}")

        return Way(f"relay {name}", reach, after)

    def _discover(self, target: Target) -> Discover:
        mdns = self._meeting.mdns

        async def look(found: Callable[[Way], None]) -> None:
            await look_for(
                target.label,
                lambda address: found(self._tcp(target, address)),
                loopback=mdns.loopback,
                port=mdns.port,
            )

        return look

    async def _authenticate(
        self, target: Target, raw: trio.abc.Stream, path: str, source: str
    ) -> Channel:
        who = upgrade.Caller(path, source)
        channel = await upgrade.call(self._tasks, Pipe(raw), self._identity, target.key, who)
        self._channels = [known for known in self._channels if not known.ended.is_set()]
        self._channels.append(channel)
        return channel


async def connect(address: Address) -> trio.abc.Stream:
    """A TCP connection. Raises errors.UnreachableError, after 3 seconds at the latest."""
    name = str(address)
    try:
        with trio.fail_after(CONNECT_SECONDS):
            return await trio.open_tcp_stream(address.host, address.port)
    except trio.TooSlowError:
        raise errors.UnreachableError("no answer", element=name) from None
    except OSError as error:
        raise errors.UnreachableError(_reason(error), element=name) from None


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


def _reason(error: OSError) -> str:
    """The system's words for the first failure; trio wraps those of several addresses."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    known = cause if isinstance(cause, OSError) else error
    return (known.strerror or type(known).__name__).lower().rpartition(": ")[2]
