"""The one host of Kairos' protocol: listens, dials, knows who is connected.

Noise and yamux over TCP and nothing else; a fresh identity for each run. What libp2p's own host
would add (TLS, plaintext, its swarm's dialing and its caches) is left out on purpose:
docs/adr/0007 and 0024.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence

import trio
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID

from pairing import errors
from pairing.transport.base import Address
from pairing.transport.interfaces import addresses_by_use
from pairing.transport.p2p import dialer, sockets, upgrade
from pairing.transport.p2p.background import background, until_the_body_has_ended
from pairing.transport.p2p.gate import Gate, Limits, source_of
from pairing.transport.p2p.gossip.connection import Connection, Handler
from pairing.transport.p2p.gossip.identify import IDENTIFY, answer_identify
from pairing.transport.p2p.gossip.line import Line
from pairing.transport.p2p.gossip.ping import PING, answer_ping
from pairing.transport.p2p.identity import Identity, fresh, peer_id
from pairing.transport.p2p.listener import ACCEPT_PAUSE
from pairing.transport.p2p.pipe import Pipe
from pairing.transport.p2p.roster import Roster

LIMITS = Limits(channels=64, channels_per_source=8)
ADDRESS_LIMIT = 16
"""Addresses of one peer that are tried."""
STAGGER = 0.2
"""Seconds between the first attempts at two addresses of one peer."""
DIAL_SECONDS = 15.0
SILENCE_SECONDS = 20.0
"""A peer whose machine confirms nothing of what was sent for so long is gone."""


class Host:
    """One peer of libp2p's network. Made by `hosting` only."""

    def __init__(
        self,
        identity: Identity,
        listeners: Sequence[trio.SocketListener],
        limits: Limits,
        tasks: trio.Nursery,
    ) -> None:
        self.identity = identity
        self.own = peer_id(identity.public_key)
        self.port = sockets.port_of(listeners[0])
        self.handlers: dict[TProtocol, Handler] = {IDENTIFY: self._identify, PING: answer_ping}
        self.on_connected: Callable[[Connection], None] = lambda _: None
        self.tasks = tasks
        self._listeners = listeners
        self._gate = Gate(limits)
        self._roster: Roster[Connection] = Roster(limits)
        self._connections: dict[ID, list[Connection]] = {}

    def connections(self, peer: ID) -> Sequence[Connection]:
        """The living ones with this peer, oldest first."""
        return tuple(self._connections.get(peer, ()))

    def connected(self) -> frozenset[ID]:
        """Every peer with a living connection."""
        return frozenset(self._connections)

    def addresses(self) -> Sequence[Address]:
        """Where others may reach us, the likeliest first."""
        hosts = [str(listener.socket.getsockname()[0]) for listener in self._listeners]
        found = [host for host in hosts if host not in sockets.EVERYWHERE]
        if len(found) < len(hosts):
            found += [str(address) for address in addresses_by_use()]
        return tuple(Address(host, self.port) for host in found)

    async def dial(self, peer: ID, addresses: Sequence[Address]) -> Connection:
        """A connection with this peer and nobody else, the first that works of its addresses.

        Raises errors.UnreachableError or errors.WrongKey, after 15 seconds at the latest.
        """
        won: list[Connection] = []
        failed: list[errors.KnownError] = []

        async def attempt(address: Address, after: float, race: trio.CancelScope) -> None:
            await trio.sleep(after)
            try:
                connection = await self._reach(peer, address)
            except errors.KnownError as error:
                failed.append(error)
                return
            won.append(connection)
            race.cancel()

        with trio.move_on_after(DIAL_SECONDS):
            async with trio.open_nursery() as attempts:
                for number, address in enumerate(addresses[:ADDRESS_LIMIT]):
                    attempts.start_soon(attempt, address, number * STAGGER, attempts.cancel_scope)
        for spare in won[1:]:
            spare.tear_down()
        if not won:
            raise failed[0] if failed else errors.UnreachableError("no answer")
        return won[0]

    async def open(self, peer: ID, protocol: TProtocol) -> Line:
        """A line to a connected peer, on its newest connection. Raises errors.ConnectionLost."""
        for connection in reversed(self.connections(peer)):
            return await connection.open(protocol)
        raise errors.ConnectionLost

    async def accept(self) -> None:
        """Take callers until cancelled."""
        async with trio.open_nursery() as tasks:
            for listener in self._listeners:
                tasks.start_soon(self._accept, listener)

    def close(self) -> None:
        """Stop listening and end every connection, at once."""
        for listener in self._listeners:
            listener.socket.close()
        for connections in tuple(self._connections.values()):
            for connection in tuple(connections):
                connection.tear_down()

    async def _accept(self, listener: trio.SocketListener) -> None:
        while True:
            try:
                raw = await listener.accept()
                host, port = raw.socket.getpeername()[:2]
            except OSError:
                self._gate.make_room()
                await trio.sleep(ACCEPT_PAUSE)
                continue
            who = upgrade.Caller(str(Address(host, port)), source_of(host))
            self.tasks.start_soon(self._receive, raw, who)

    async def _receive(self, raw: trio.abc.Stream, who: upgrade.Caller) -> None:
        """A stranger's handshake, within the limits. What fails is nothing to talk about."""
        _notice_silence(raw)
        pipe = Pipe(raw)
        scope = self._gate.enter(who.source, pipe.has_spoken)
        try:
            with scope, contextlib.suppress(errors.KnownError):
                await self._secure(pipe, who, None)
        finally:
            self._gate.leave(scope)

    async def _reach(self, peer: ID, address: Address) -> Connection:
        raw = await dialer.connect(address)
        _notice_silence(raw)
        who = upgrade.Caller(str(address), source_of(address.host))
        return await self._secure(Pipe(raw), who, peer)

    async def _secure(self, pipe: Pipe, who: upgrade.Caller, expected: ID | None) -> Connection:
        try:
            with trio.fail_after(upgrade.HANDSHAKE_SECONDS):
                muxed, peer = await upgrade.multiplexed(pipe, self.identity, expected)
            if peer == self.own:
                raise errors.UnreachableError("That is ourselves.", element=who.path)
            pipe.handshake_done()
            connection = Connection(muxed, peer, pipe, who)
            if not self._roster.admit(connection):
                raise errors.UnreachableError("Too many connections.", element=who.path)
        except BaseException as error:
            await pipe.close()
            if isinstance(error, errors.KnownError) or not isinstance(error, Exception):
                raise
            raise upgrade.named(error, who.path) from error
        self._connections.setdefault(connection.peer, []).append(connection)
        self.tasks.start_soon(self._carry, connection)
        self.on_connected(connection)
        return connection

    async def _carry(self, connection: Connection) -> None:
        try:
            await connection.run(self.handlers)
        finally:
            self._roster.forget(connection)
            mine = self._connections[connection.peer]
            mine.remove(connection)
            if not mine:
                del self._connections[connection.peer]

    async def _identify(self, connection: Connection, line: Line) -> None:
        await answer_identify(self.identity, self.addresses(), tuple(self.handlers), line)


def _notice_silence(raw: trio.abc.Stream) -> None:
    """Without this a peer whose cable was pulled counts as connected for a quarter of an hour."""
    if isinstance(raw, trio.SocketStream) and hasattr(socket, "TCP_USER_TIMEOUT"):  # tcp(7)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SILENCE_SECONDS * 1000))


@contextlib.asynccontextmanager
async def hosting(
    hosts: Sequence[str] = sockets.EVERYWHERE, port: int = 0, limits: Limits = LIMITS
) -> AsyncIterator[Host]:
    """A host with a fresh identity on a free port, until the context ends.

    `hosts` are IP addresses to listen on. Callers are answered at once; set `handlers` and
    `on_connected` before the first await. If the body is cancelled, connections last until it has
    ended. Raises errors.PortTaken.
    """
    listeners = await sockets.listen(hosts, port)
    async with until_the_body_has_ended() as tasks:
        host = Host(fresh(), listeners, limits, tasks)
        try:
            async with background() as services:
                services.start_soon(host.accept)
                yield host
        finally:
            host.close()
