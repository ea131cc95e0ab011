"""The first peers of a DHT: given ones, or the public list for who says so."""

from __future__ import annotations

from collections.abc import Sequence

import trio
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from pairing import errors
from pairing.transport.base import Address
from pairing.transport.p2p.gossip.addresses import from_text

PUBLIC = "public"
_PUBLIC_DOMAIN = "/dnsaddr/bootstrap.libp2p.io/p2p/"
PUBLIC_PEERS = (
    f"{_PUBLIC_DOMAIN}QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
    f"{_PUBLIC_DOMAIN}QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa",
    f"{_PUBLIC_DOMAIN}QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvbUcqanj75Nb",
    f"{_PUBLIC_DOMAIN}QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt",
    "/ip4/104.131.131.82/tcp/4001/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ",
)
"""The list that go-libp2p-kad-dht and edgevpn use by default."""
RESOLVE_SECONDS = 10.0


def bootstrap_peers(texts: Sequence[str]) -> Sequence[str]:
    """The multiaddrs meant by what somebody wrote: `public` stands for the public list.

    Raises errors.BootstrapInvalid for what is neither that nor a multiaddr with TCP and peer id.
    """
    found: list[str] = []
    for text in texts:
        if text == PUBLIC:
            found += PUBLIC_PEERS
            continue
        known = from_text(text)
        if (known is None or known[1] is None) and not _is_dnsaddr(text):
            raise errors.BootstrapInvalid(element=text)
        found.append(text)
    return tuple(dict.fromkeys(found))


async def resolved(texts: Sequence[str]) -> Sequence[tuple[ID, Address]]:
    """The peers behind these multiaddrs, as far as DNS answers within 10 seconds."""
    found: list[tuple[ID, Address]] = []

    async def one(text: str) -> None:
        for plain in await _through_dns(text) if _is_dnsaddr(text) else (text,):
            known = from_text(plain)
            if known is not None and known[1] is not None:
                found.append((known[1], known[0]))

    with trio.move_on_after(RESOLVE_SECONDS):
        async with trio.open_nursery() as tasks:
            for text in texts:
                tasks.start_soon(one, text)
    return tuple(found)


async def _through_dns(text: str) -> Sequence[str]:
    try:
        return [str(address) for address in await Multiaddr(text).resolve()]
    except Exception:  # No network, no DNS, no record: the next round asks again.
        return ()


def _is_dnsaddr(text: str) -> bool:
    if not text.startswith("/dnsaddr/"):
        return False
    try:
        Multiaddr(text)
    except Exception:  # The library raises many things, and each means the same here.
        return False
    return True
