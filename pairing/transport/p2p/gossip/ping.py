"""Answers to `/ipfs/ping/1.0.0`: what comes goes back, so that a peer knows how far it got.

https://github.com/libp2p/specs/blob/master/ping/ping.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from libp2p.custom_types import TProtocol

if TYPE_CHECKING:
    from pairing.transport.p2p.gossip.connection import Connection
    from pairing.transport.p2p.gossip.line import Line

PING = TProtocol("/ipfs/ping/1.0.0")
SIZE = 32
"""Bytes of one ping."""


async def answer_ping(_connection: Connection, line: Line) -> None:
    """Send back whatever comes, until the peer ends the line."""
    while data := await line.stream.read(SIZE):
        line.pipe.taken(len(data))
        await line.stream.write(data)
