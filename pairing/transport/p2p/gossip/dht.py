"""A client of Kademlia: be found, and find, under the rendezvous of a token.

https://github.com/libp2p/specs/blob/master/kad-dht/README.md, `/ipfs/kad/1.0.0`, provider records.
We ask and are never asked: a machine that waits for its config is no server for strangers.
Only the bootstrap peers that were given are asked first; whoever answers learns the rendezvous
(a hash), our peer id and our addresses, nothing that opens a message.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Callable, Sequence

import trio
from libp2p.peer.id import ID

from pairing import errors
from pairing.edgevpn.names import Names
from pairing.transport.base import Address
from pairing.transport.p2p.gossip.bootstrap import resolved
from pairing.transport.p2p.gossip.finding import Finder
from pairing.transport.p2p.gossip.host import Host
from pairing.transport.p2p.gossip.kademlia import Servers, ask, lookup, provide

PAUSES = (2.0, 5.0, 10.0, 30.0)
"""Seconds between two rounds; the last is repeated, each up to half longer or shorter."""
ROUND_SECONDS = 60.0
KEPT = 2
"""Rendezvous under which we can be found: the current one and the one before."""


def key_of_rendezvous(rendezvous: str) -> bytes:
    """The key of its provider records: the multihash of its SHA-256, as in a raw CIDv1."""
    return b"\x12\x20" + hashlib.sha256(rendezvous.encode()).digest()


class Dht:
    """Provides and finds, round after round, until cancelled. `bootstrap` are multiaddrs."""

    def __init__(
        self,
        host: Host,
        bootstrap: Sequence[str],
        names: Callable[[], Names],
        finder: Finder,
    ) -> None:
        self._host = host
        self._bootstrap = bootstrap
        self._names = names
        self._finder = finder
        self._kept: list[str] = []

    async def run(self) -> None:
        """See the class. What fails in a round is tried again in the next."""
        rounds = 0
        while True:
            self._note(self._names().rendezvous)
            for rendezvous in reversed(self._kept):
                with trio.move_on_after(ROUND_SECONDS):
                    await self._round(key_of_rendezvous(rendezvous))
            pause = PAUSES[min(rounds, len(PAUSES) - 1)]
            rounds += 1
            await self._sleep(pause * random.uniform(0.5, 1.5))

    async def _sleep(self, seconds: float) -> None:
        """Until the next round is due, or at once when the rendezvous has changed."""
        until = trio.current_time() + seconds
        while self._names().rendezvous in self._kept:
            left = until - trio.current_time()
            if left <= 0:
                return
            await trio.sleep(min(1.0, left))

    def _note(self, rendezvous: str) -> None:
        if rendezvous not in self._kept:
            self._kept = [*self._kept, rendezvous][-KEPT:]

    async def _round(self, key: bytes) -> None:
        servers = Servers(key)
        given = await resolved(self._bootstrap)
        for peer, address in given:
            servers.add(peer, (address,))
        before = self._host.connected() | {peer for peer, _ in given}

        async def question(peer: ID, addresses: Sequence[Address]) -> None:
            answer = await ask(self._host, peer, addresses, key)
            for provider, where in answer.providers:
                self._finder.found(provider.to_base58(), where, dials_us=False)
            for server, where in answer.closer:
                if server != self._host.own:
                    servers.add(server, where)

        try:
            await lookup(servers, question)
            async with trio.open_nursery() as tasks:
                for peer, addresses in servers.closest_alive():
                    tasks.start_soon(self._provide, peer, addresses, key)
        finally:
            self._hang_up(servers, before)

    async def _provide(self, peer: ID, addresses: Sequence[Address], key: bytes) -> None:
        with contextlib.suppress(errors.KnownError):  # One server less that knows us.
            await provide(self._host, peer, addresses, key)

    def _hang_up(self, servers: Servers, before: frozenset[ID]) -> None:
        """End what was opened for this round, but to those given and who follows our topic."""
        for peer in servers.peers() - before:
            for connection in self._host.connections(peer):
                if not (connection.vouched or connection.follows_us):
                    connection.tear_down()
