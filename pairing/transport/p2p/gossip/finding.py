"""Finding the other holders of a token, and connecting to them."""

from __future__ import annotations

from collections.abc import Mapping

import trio
from libp2p.peer.id import ID

from pairing import errors
from pairing.transport.base import Address
from pairing.transport.p2p.gossip.host import Host
from pairing.transport.p2p.gossip.policy import DialPolicy

LOOK_SECONDS = 0.1
"""How often the policy is asked."""


class Finder:
    """Dials whom the policy names, until cancelled."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._policy = DialPolicy(host.own.to_base58())
        self._dialing: set[str] = set()

    def found(
        self,
        peer: str,
        addresses: tuple[Address, ...],
        *,
        own_kind: bool = False,
        dials_us: bool = True,
    ) -> None:
        """Somebody said that this peer is there. Anybody can say that of anybody."""
        now = trio.current_time()
        self._policy.found(peer, addresses, now, own_kind=own_kind, dials_us=dials_us)

    async def run(self) -> None:
        """Keep the connections that the policy wants."""
        async with trio.open_nursery() as tasks:
            while True:
                for peer, addresses in self._due().items():
                    self._dialing.add(peer)
                    tasks.start_soon(self._dial, peer, addresses)
                await trio.sleep(LOOK_SECONDS)

    def _due(self) -> Mapping[str, tuple[Address, ...]]:
        connected = frozenset(peer.to_base58() for peer in self._host.connected())
        return self._policy.due(connected | self._dialing, trio.current_time())

    async def _dial(self, peer: str, addresses: tuple[Address, ...]) -> None:
        try:
            await self._host.dial(ID.from_string(peer), addresses)
        except errors.KnownError:
            pass  # Not there, or not who it was said to be: the policy asks again later.
        finally:
            self._dialing.discard(peer)
