"""libp2p, behind one door. Importing this package does not import libp2p; using it does.

What we use of it takes a third of a second (all of it: a whole one, see `lazy`). `warm_up` imports
it ahead of time, in a thread if you like, while the photo is being read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from pairing import errors
from pairing.edgevpn.gossip import Gossip
from pairing.edgevpn.names import Names
from pairing.edgevpn.nettoken import NetworkToken
from pairing.transport.base import Dialer, Listener
from pairing.transport.p2p import lazy
from pairing.transport.p2p.gate import Limits
from pairing.transport.p2p.meeting import Mdns, Meeting, meeting_from_files

__all__ = [
    "PORT",
    "EdgeVpn",
    "Limits",
    "Mdns",
    "Meeting",
    "P2PTransport",
    "meeting_from_files",
    "warm_up",
]

lazy.install()

PORT = 4917
"""The TCP port that a node listens on unless told otherwise."""


def warm_up() -> None:
    """Import libp2p now. Safe in a thread. Raises errors.TransportMissing."""
    try:
        import pairing.transport.p2p.transport  # noqa: F401
    except ImportError as error:
        raise errors.TransportMissing(f"({error})") from None


class P2PTransport:
    """See `pairing.transport.base.Transport`.

    `hosts` are the IP addresses to listen on (all of them by default), `limits` how many callers
    at once, `meeting` the settings of mDNS and relays. Both methods raise
    errors.TransportMissing if libp2p is not installed.
    """

    def __init__(
        self,
        *,
        hosts: Sequence[str] = ("0.0.0.0", "::"),
        limits: Limits | None = None,
        meeting: Meeting | None = None,
    ) -> None:
        self._hosts = hosts
        self._limits = limits or Limits()
        self._meeting = meeting or Meeting()

    def listener(
        self, private_key: bytes, port: int = PORT
    ) -> AbstractAsyncContextManager[Listener]:
        warm_up()
        from pairing.transport.p2p import transport

        return transport.listening(private_key, port, self._hosts, self._limits, self._meeting)

    def dialer(self) -> AbstractAsyncContextManager[Dialer]:
        warm_up()
        from pairing.transport.p2p import transport

        return transport.dialing(self._meeting)


class EdgeVpn:
    """Kairos' own network. See `pairing.edgevpn.gossip.KairosNetwork`.

    `mdns`: look on the link. `bootstrap`: multiaddrs of the first peers of a DHT, `public` for the
    public list; none, no DHT. `hosts` are the IP addresses to listen on, `link` how mDNS is
    spoken. `joining` raises errors.TransportMissing without libp2p, entering it
    errors.BootstrapInvalid.
    """

    def __init__(
        self,
        mdns: bool = True,
        bootstrap: Sequence[str] = (),
        *,
        hosts: Sequence[str] = ("0.0.0.0", "::"),
        link: Mdns | None = None,
    ) -> None:
        self._mdns = (link or Mdns()) if mdns else None
        self._bootstrap = tuple(bootstrap)
        self._hosts = hosts

    def joining(
        self, token: NetworkToken, *, names: Callable[[], Names]
    ) -> AbstractAsyncContextManager[Gossip]:
        """See `KairosNetwork.joining`; what it yields can also `open` a peer's other services."""
        warm_up()
        from pairing.transport.p2p.gossip import network

        settings = network.Settings(self._mdns, self._bootstrap, self._hosts)
        return network.joining(token, names, settings)
