"""Who may be in a handshake, and who may stay: limits that hold before any cryptography."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

RELAY_PREFIX = "relay:"


@dataclass(frozen=True, slots=True)
class Limits:
    """How many at once. A relay is not one client: behind it may be everybody."""

    handshakes: int = 32
    handshakes_per_source: int = 4
    handshakes_per_relay: int = 16
    channels: int = 64
    channels_per_source: int = 16


@dataclass(eq=False, slots=True)
class _Guest:
    source: str
    has_spoken: Callable[[], bool]
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Gate:
    """At most so many strangers in total and per source; the newest always gets in.

    Who makes room: the oldest of those who have not said a byte, else the oldest. Idle sockets
    never lock an honest operator out: his handshake is over in some 20 milliseconds.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._guests: list[_Guest] = []

    def __len__(self) -> int:
        return len(self._guests)

    def enter(self, source: str, has_spoken: Callable[[], bool]) -> trio.CancelScope:
        """A place for one handshake: it is cancelled when a newer one needs the place."""
        per_source = (
            self._limits.handshakes_per_relay
            if source.startswith(RELAY_PREFIX)
            else self._limits.handshakes_per_source
        )
        same = [guest for guest in self._guests if guest.source == source]
        if len(same) >= per_source:
            self._evict_one(same)
        if len(self._guests) >= self._limits.handshakes:
            self._evict_one(self._guests)
        guest = _Guest(source, has_spoken)
        self._guests.append(guest)
        return guest.scope

    def leave(self, scope: trio.CancelScope) -> None:
        """The handshake in this place is over."""
        self._guests = [guest for guest in self._guests if guest.scope is not scope]

    def make_room(self) -> None:
        """Somebody has to go: this machine has run out of something."""
        if self._guests:
            self._evict_one(self._guests)

    def _evict_one(self, among: Sequence[_Guest]) -> None:
        silent = [guest for guest in among if not guest.has_spoken()]
        guest = silent[0] if silent else among[0]
        guest.scope.cancel()
        self._guests.remove(guest)


def source_of(host: str) -> str:
    """What rate limits count an IP address as.

    IPv4-mapped addresses are IPv4; a global IPv6 caller owns its whole /64; on the link each
    address is a neighbour of its own. Text that is no address is its own source.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if address.is_global:
            return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)
