"""UDP sockets for multicast DNS, one per interface and IP version, kept up to date."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from pairing.transport.dns import MESSAGE_LIMIT
from pairing.transport.interfaces import Interface, interfaces

GROUPS = {4: "224.0.0.251", 6: "ff02::fb"}
PORT = 5353
"""RFC 6762 section 3."""
LOOK_SECONDS = 5.0
"""How often the machine's interfaces are looked at."""
_IP_MULTICAST_ALL, _IPV6_MULTICAST_ALL = 49, 29
"""Linux (ip(7), ipv6(7)): 0 = only what arrives at the interface that this socket joined on."""


@dataclass(frozen=True, slots=True)
class Link:
    """One interface seen through one IP version."""

    interface: Interface
    version: int


Deliver = Callable[[bytes, Link], None]
"""Called with every datagram and the link it came in by. Must not block."""


class Multicast:
    """Sends to and hears the mDNS groups on every interface that can.

    `loopback`: use the loopback interface instead of all others (tests on one machine).
    """

    def __init__(self, *, loopback: bool = False, port: int = PORT) -> None:
        self._loopback = loopback
        self._port = port
        self._sockets: dict[Link, trio.socket.SocketType] = {}

    @property
    def links(self) -> Sequence[Link]:
        """The links in use now."""
        return tuple(self._sockets)

    async def run(self, deliver: Deliver, changed: Callable[[], None]) -> None:
        """Hear until cancelled; `changed` is called when there are links that were not before."""
        async with trio.open_nursery() as tasks:
            while True:
                if await self._look(tasks, deliver):
                    changed()
                await trio.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """Leave the groups. Not done by `run`: there may be a goodbye to send after it."""
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    async def send(self, data: bytes, links: Sequence[Link] | None = None) -> None:
        """Send to the group on these links, or on all. What cannot be sent is lost, as UDP is."""
        for link in self.links if links is None else links:
            sock = self._sockets.get(link)
            if sock is not None:
                # No route, or the interface just went: the next look takes care of it.
                with contextlib.suppress(OSError):
                    await sock.sendto(data, (GROUPS[link.version], self._port))

    async def _look(self, tasks: trio.Nursery, deliver: Deliver) -> bool:
        wanted = {
            Link(interface, address.version)
            for interface in interfaces()
            if interface.is_loopback == self._loopback
            for address in interface.addresses
        }
        for link in self._sockets.keys() - wanted:
            self._sockets.pop(link).close()
        fresh = False
        for link in wanted - self._sockets.keys():
            with contextlib.suppress(OSError):  # This interface cannot do multicast.
                sock = await _join(link, self._port)
                self._sockets[link] = sock
                tasks.start_soon(_hear, sock, link, deliver)
                fresh = True
        return fresh


async def _hear(sock: trio.socket.SocketType, link: Link, deliver: Deliver) -> None:
    while True:
        try:
            data = await sock.recv(MESSAGE_LIMIT + 1)
        except trio.ClosedResourceError:
            return
        except OSError:
            await trio.sleep(1)
            if sock.fileno() < 0:
                return
            continue
        deliver(data, link)


async def _join(link: Link, port: int) -> trio.socket.SocketType:
    """A socket that hears the group on this link only and sends to it there. Raises OSError."""
    family = socket.AF_INET if link.version == 4 else socket.AF_INET6
    sock = trio.socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if link.version == 4:
            _join_v4(sock, link.interface)
            await sock.bind(("", port))
        else:
            _join_v6(sock, link.interface)
            await sock.bind(("::", port))
    except BaseException:
        sock.close()
        raise
    return sock


def _join_v4(sock: trio.socket.SocketType, interface: Interface) -> None:
    local = next(address.packed for address in interface.addresses if address.version == 4)
    group = socket.inet_aton(GROUPS[4])
    # struct ip_mreqn: group, local address, interface index.
    where = struct.pack("=4s4si", group, local, interface.index)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, where)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, where)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)


def _join_v6(sock: trio.socket.SocketType, interface: Interface) -> None:
    group = socket.inet_pton(socket.AF_INET6, GROUPS[6])
    where = struct.pack("=16sI", group, interface.index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, where)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface.index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
