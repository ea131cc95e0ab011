"""The addresses that this machine has right now, interface by interface."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_ELSEWHERE = ("192.0.2.1", 9)
"""An address of documentation (RFC 5737): asked for its route only, no packet is sent."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface that has at least one address. `index` as in `if_nametoindex`."""

    name: str
    index: int
    addresses: Sequence[IPAddress]

    @property
    def is_loopback(self) -> bool:
        return all(address.is_loopback for address in self.addresses)


def interfaces() -> Sequence[Interface]:
    """Every interface with an address, as the system lists them; nothing is cached."""
    import ifaddr

    found = []
    for adapter in ifaddr.get_adapters():
        texts = [ip.ip if isinstance(ip.ip, str) else ip.ip[0] for ip in adapter.ips]
        addresses = tuple(ipaddress.ip_address(text) for text in texts)
        if addresses and adapter.index is not None:
            found.append(Interface(str(adapter.name), adapter.index, addresses))
    return tuple(found)


def addresses_by_use() -> Sequence[IPAddress]:
    """Addresses others may reach us at: the default route's first, then IPv4, then IPv6.

    Without loopback and link-local ones; empty on a machine without a network.
    """
    usable = [
        address
        for interface in interfaces()
        for address in interface.addresses
        if not (address.is_loopback or address.is_link_local or address.is_multicast)
    ]
    primary = _primary()
    return tuple(sorted(usable, key=lambda a: (str(a) != primary, a.version, int(a))))


def _primary() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return ""
        return str(probe.getsockname()[0])
