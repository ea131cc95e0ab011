"""libp2p as a transport: Noise over TCP, reached by address, mDNS or relay."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from pairing.transport.p2p import identity, sockets
from pairing.transport.p2p.background import background
from pairing.transport.p2p.dialer import P2PDialer
from pairing.transport.p2p.gate import Limits
from pairing.transport.p2p.listener import P2PListener
from pairing.transport.p2p.meeting import Meeting
from pairing.transport.p2p.presence import PresenceKeeper


@contextlib.asynccontextmanager
async def listening(
    private_key: bytes, port: int, hosts: Sequence[str], limits: Limits, meeting: Meeting
) -> AsyncIterator[P2PListener]:
    """See `pairing.transport.base.Transport.listener`. Raises errors.PortTaken."""
    me = identity.from_seed(private_key)
    listeners = await sockets.listen(hosts, port)
    async with background() as connections:
        listener = P2PListener(me, listeners, limits, connections)
        try:
            async with background() as services:
                services.start_soon(
                    listener.run, PresenceKeeper(private_key, listener.port, meeting)
                )
                yield listener
        finally:
            await listener.close()


@contextlib.asynccontextmanager
async def dialing(meeting: Meeting) -> AsyncIterator[P2PDialer]:
    """See `pairing.transport.base.Transport.dialer`."""
    async with background() as connections:
        dialer = P2PDialer(identity.fresh(), meeting, connections)
        try:
            yield dialer
        finally:
            await dialer.close()
