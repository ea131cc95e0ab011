"""Being found: the mDNS responder and the node's places at relays, as the session asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import trio

from pairing import errors
from pairing.transport.base import Presence
from pairing.transport.mdns import Responder
from pairing.transport.p2p import circuit
from pairing.transport.p2p.circuit_address import CircuitAddress, is_circuit
from pairing.transport.p2p.identity import from_seed
from pairing.transport.p2p.meeting import Meeting, relay_name
from pairing.transport.p2p.upgrade import Caller

Serve = Callable[[trio.abc.Stream, Caller], Awaitable[None]]
"""Takes a raw stream from somebody unknown and returns when its connection is over."""


@dataclass(eq=False, slots=True)
class _Place:
    """Waiting at one relay under one label."""

    relay: str
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    up: bool = False
    talking: int = 0
    withdrawn: bool = False

    def report(self, problem: errors.KnownError | None) -> None:
        self.up = problem is None

    def withdraw(self) -> None:
        """Wait no more; but a conversation that began here is not cut off."""
        self.withdrawn = True
        if not self.talking:
            self.scope.cancel()


class PresenceKeeper:
    """Does what `announce` asked for last. What stays the same is not interrupted."""

    def __init__(self, seed: bytes, tcp_port: int, meeting: Meeting) -> None:
        self._seed = seed
        self._identity = from_seed(seed)
        self._meeting = meeting
        self._presence = Presence(mdns=False)
        self._places: dict[tuple[str, bytes], _Place] = {}
        self._news = trio.Event()
        settings = meeting.mdns
        self._responder = Responder(tcp_port, loopback=settings.loopback, port=settings.port)

    def replace(self, presence: Presence) -> None:
        self._presence = presence
        self._responder.announce(presence.labels if presence.mdns else ())
        self._news.set()

    def relays(self) -> tuple[Sequence[str], Sequence[str]]:
        """The relays wanted: those that know us under at least one label, and the others."""
        up = {place.relay for place in self._places.values() if place.up}
        wanted = self._presence.relays
        return tuple(r for r in wanted if r in up), tuple(r for r in wanted if r not in up)

    async def run(self, serve: Serve) -> None:
        """Be present until cancelled."""
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._responder.run)
            while True:
                self._arrange(tasks, serve)
                await self._news.wait()
                self._news = trio.Event()

    def _arrange(self, tasks: trio.Nursery, serve: Serve) -> None:
        presence = self._presence
        # A Circuit relay knows a node by its key, whatever the label.
        wanted = {
            (where, b"" if is_circuit(where) else label)
            for where in presence.relays
            for label in presence.labels
        }
        for gone in self._places.keys() - wanted:
            self._places.pop(gone).withdraw()
        for where, label in wanted - self._places.keys():
            place = self._places[where, label] = _Place(where)
            tasks.start_soon(self._wait, place, label, serve)

    async def _wait(self, place: _Place, label: bytes, serve: Serve) -> None:
        name = relay_name(place.relay)
        who = Caller(f"relay {name}", f"relay:{name}")

        async def called(stream: trio.abc.Stream) -> None:
            place.talking += 1
            try:
                await serve(stream, who)
            finally:
                place.talking -= 1
                if place.withdrawn:
                    place.withdraw()

        try:
            with place.scope:
                if is_circuit(place.relay):
                    where = CircuitAddress.parse(place.relay)
                    await circuit.wait(
                        where, self._identity, called, place.report, self._meeting.tls
                    )
                else:
                    await self._meeting.wait(place.relay, self._seed, label, called, place.report)
        except errors.KnownError as problem:
            place.report(problem)  # An address that is none: nothing to wait for.
