"""Our own listening sockets, so that limits hold before libp2p sees a byte."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import trio

from pairing import errors

EVERYWHERE = ("0.0.0.0", "::")
BACKLOG = 256


async def listen(hosts: Sequence[str], port: int) -> Sequence[trio.SocketListener]:
    """Listening sockets on one port of each of these IP addresses; port 0 chooses a free one.

    IPv6 is left out where this machine has none. Raises errors.PortTaken.
    """
    listeners: list[trio.SocketListener] = []
    try:
        for host in hosts:
            listener = await _listen_on(host, port)
            if listener is not None:
                listeners.append(listener)
                port = port_of(listener)
    except OSError as error:
        for listener in listeners:
            await listener.aclose()
        if error.errno != errno.EADDRINUSE:
            raise errors.PortTaken(f"{error.strerror}.", element=str(port)) from None
        raise errors.PortTaken(element=str(port)) from None
    return listeners


def port_of(listener: trio.SocketListener) -> int:
    """The TCP port a listener is bound to."""
    return int(listener.socket.getsockname()[1])


async def _listen_on(host: str, port: int) -> trio.SocketListener | None:
    is_v6 = ":" in host
    family = trio.socket.AF_INET6 if is_v6 else trio.socket.AF_INET
    try:
        sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
    except OSError:
        if is_v6:
            return None
        raise
    try:
        sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
        if is_v6:
            sock.setsockopt(trio.socket.IPPROTO_IPV6, trio.socket.IPV6_V6ONLY, 1)
        await sock.bind((host, port))
        sock.listen(BACKLOG)
    except BaseException as error:
        sock.close()
        if is_v6 and isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return trio.SocketListener(sock)
