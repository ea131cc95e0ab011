"""The node's side: accept, admit, authenticate, hand out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import trio

from pairing import errors
from pairing.transport.base import Address, Channel, Presence, Reachable
from pairing.transport.interfaces import addresses_by_use
from pairing.transport.p2p import sockets, upgrade
from pairing.transport.p2p.channel import P2PChannel
from pairing.transport.p2p.gate import Gate, Limits, source_of
from pairing.transport.p2p.identity import Identity
from pairing.transport.p2p.pipe import Pipe
from pairing.transport.p2p.presence import PresenceKeeper
from pairing.transport.p2p.roster import Roster

ARRIVALS = 64
"""Authenticated channels that may wait for the session to take them."""
ACCEPT_PAUSE = 0.05
"""Seconds before the next accept after one failed, for want of file descriptors mostly."""


class P2PListener:
    """See `pairing.transport.base.Listener`. Raw streams come in, channels come out."""

    def __init__(
        self,
        identity: Identity,
        listeners: Sequence[trio.SocketListener],
        limits: Limits,
        tasks: trio.Nursery,
    ) -> None:
        self._identity = identity
        self._listeners = listeners
        self._tasks = tasks
        self._gate = Gate(limits)
        self._roster: Roster[P2PChannel] = Roster(limits)
        self._arrived, self._arrivals = trio.open_memory_channel[Channel](ARRIVALS)
        self._presence: PresenceKeeper | None = None
        self._announced: Presence | None = None

    def channels(self) -> AsyncIterator[Channel]:
        return self._arrivals

    def announce(self, presence: Presence) -> None:
        self._announced = presence
        if self._presence is not None:
            self._presence.replace(presence)

    def reachable(self) -> Reachable:
        up, down = self._presence.relays() if self._presence is not None else ((), ())
        return Reachable(tuple(self._addresses()), up, down)

    @property
    def port(self) -> int:
        """The TCP port listened on."""
        return sockets.port_of(self._listeners[0])

    def _addresses(self) -> Sequence[Address]:
        hosts = [str(sock.socket.getsockname()[0]) for sock in self._listeners]
        found: list[str] = [host for host in hosts if host not in sockets.EVERYWHERE]
        versions = {6 if ":" in host else 4 for host in hosts if host in sockets.EVERYWHERE}
        if versions:
            found += [str(a) for a in addresses_by_use() if a.version in versions]
        return [Address(host, self.port) for host in found]

    # --- run by transport.py ---

    async def run(self, presence: PresenceKeeper) -> None:
        """Accept and stay present until cancelled."""
        self._presence = presence
        if self._announced is not None:  # before this task began
            presence.replace(self._announced)
        async with trio.open_nursery() as tasks:
            for listener in self._listeners:
                tasks.start_soon(self._accept, listener)
            tasks.start_soon(presence.run, self._serve)

    async def close(self) -> None:
        """Stop listening, then close every channel in order."""
        for listener in self._listeners:
            listener.socket.close()  # at once: we may be cancelled, and the port is wanted again
        self._arrived.close()
        await self._roster.close_all()

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
            self._tasks.start_soon(self._serve, raw, who)

    async def _serve(self, raw: trio.abc.Stream, who: upgrade.Caller) -> None:
        """Take a raw stream from somebody unknown, until its connection is over."""
        channel = await self._authenticate(raw, who)
        if channel is None:
            return
        try:
            if not self._roster.admit(channel):
                raise trio.WouldBlock
            self._arrived.send_nowait(channel)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            channel.tear_down()
        await channel.ended.wait()
        self._roster.forget(channel)

    async def _authenticate(self, raw: trio.abc.Stream, who: upgrade.Caller) -> P2PChannel | None:
        channel: P2PChannel | None = None
        pipe = Pipe(raw)
        scope = self._gate.enter(who.source, pipe.has_spoken)
        try:
            with scope:
                channel = await upgrade.answer(self._tasks, pipe, self._identity, who)
        except errors.KnownError:
            pass  # A stranger's failed handshake is nothing to talk about.
        finally:
            self._gate.leave(scope)
        return channel
