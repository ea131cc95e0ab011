"""libp2p's addresses (multiaddr), as far as TCP goes.

https://github.com/multiformats/multiaddr. Text `/ip4/192.0.2.7/tcp/4001/p2p/<peer id>`; on the
wire the same as bytes.
"""

from __future__ import annotations

import ipaddress
import re

from libp2p.peer.id import ID
from multiaddr import Multiaddr

from pairing.transport.base import Address

_TCP = re.compile(
    r"/(?P<kind>ip4|ip6|dns|dns4|dns6)/(?P<host>[^/]{1,253})/tcp/(?P<port>[0-9]{1,5})"
    r"(?:/(?:p2p|ipfs)/(?P<peer>[1-9A-HJ-NP-Za-km-z]{40,80}))?/?"
)
BYTES_LIMIT = 512
"""An address longer than this is none of ours."""


def to_bytes(address: Address) -> bytes:
    """The address as multiaddr bytes, without peer id or zone."""
    return bytes(Multiaddr(to_text(address)).to_bytes())


def to_text(address: Address, peer: str | None = None) -> str:
    """`/ip4/192.0.2.7/tcp/4001`, and `/p2p/<peer>` behind it."""
    host = address.host.partition("%")[0]
    kind = f"ip{ipaddress.ip_address(host).version}"
    behind = f"/p2p/{peer}" if peer else ""
    return f"/{kind}/{host}/tcp/{address.port}{behind}"


def from_bytes(data: bytes) -> Address | None:
    """The TCP address in multiaddr bytes; None for every other transport and for nonsense."""
    if len(data) > BYTES_LIMIT:
        return None
    try:
        text = str(Multiaddr(data))
    except Exception:  # The library raises many things, and each means the same here.
        return None
    found = from_text(text)
    return found[0] if found else None


def from_text(text: str) -> tuple[Address, ID | None] | None:
    """Address and peer of a plain TCP multiaddr; None if it is something else."""
    match = _TCP.fullmatch(text.strip())
    if match is None or not 0 < int(match["port"]) < 65536:
        return None
    host = match["host"]
    if match["kind"] in ("ip4", "ip6"):
        try:
            if f"ip{ipaddress.ip_address(host).version}" != match["kind"]:
                return None
        except ValueError:
            return None
    try:
        peer = ID.from_string(match["peer"]) if match["peer"] else None
    except Exception:  # Base58 that is no multihash.
        return None
    return Address(host, int(match["port"])), peer
