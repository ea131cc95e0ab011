"""A network inside one process, with the faults of a real one, on trio's clock.

For tests and simulations: the session and both state machines run on it unchanged, and with
`trio.testing.MockClock` (pytest-trio's `autojump_clock`) every deadline passes at once.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial

import trio

from pairing import errors, keys
from pairing.keys import SigningKey
from pairing.transport.base import Address, Channel, Presence, Reachable, Target
from pairing.transport.dial import RELAY_AFTER, Way, first_channel

BUFFER = 1024 * 1024
"""Bytes under way in one direction before `send` has to wait."""
HOST = "memory"
"""Host name of every address here; the port tells listeners apart."""


@dataclass(eq=False, slots=True)
class MemoryNetwork:
    """Who listens where, and what is wrong with the wires.

    `latency`: seconds one way. `parted`: nothing arrives and nobody can connect until it is
    False again; what was sent meanwhile arrives then. `cut_after`: after so many bytes, counted
    over all channels, every channel is cut and the count ends; None: never.
    """

    latency: float = 0.0
    cut_after: int | None = None
    _parted: bool = False
    _listeners: dict[int, MemoryListener] = field(default_factory=dict)
    _channels: list[MemoryChannel] = field(default_factory=list)

    @property
    def parted(self) -> bool:
        return self._parted

    @parted.setter
    def parted(self, parted: bool) -> None:
        self._parted = parted
        for channel in self._channels:
            channel.wake()

    def cut(self) -> None:
        """Break every channel there is; what is under way still arrives. New ones may be made."""
        for channel in self._channels:
            channel.break_off()
        self._channels.clear()

    def watch(self, channel: MemoryChannel) -> None:
        """Remember a channel, for `cut`."""
        self._channels.append(channel)

    def transport(self, source: str = "192.0.2.1") -> MemoryTransport:
        """A machine on this network, known to others by `source`."""
        return MemoryTransport(self, source)

    def listen(self, key: bytes, port: int) -> MemoryListener:
        """A new listener at this port, at the next free one if 0. Raises errors.PortTaken."""
        if port in self._listeners:
            raise errors.PortTaken(element=str(port))
        chosen = port or max(self._listeners, default=0) + 1
        listener = self._listeners[chosen] = MemoryListener(self, key, chosen)
        return listener

    async def stop(self, listener: MemoryListener) -> None:
        """The listener's machine is gone, and with it every channel to it."""
        self._listeners.pop(listener.address.port, None)
        await listener.stop()

    def find(self, target: Target, where: Address | str | None) -> MemoryListener:
        """Who answers at an address, at a relay (its name), or by mDNS (None).

        Raises errors.UnreachableError.
        """
        for listener in self._listeners.values():
            presence = listener.presence
            known = target.label in presence.labels
            if not self._parted and (
                where == listener.address
                or (where is None and presence.mdns and known)
                or (isinstance(where, str) and where in presence.relays and known)
            ):
                return listener
        raise errors.UnreachableError("no answer")

    def carry(self, data: bytes) -> bytes:
        """Count bytes that are being sent; what of them still passes before a cut."""
        passed = data if self.cut_after is None else data[: self.cut_after]
        if self.cut_after is not None:
            self.cut_after = self.cut_after - len(data) if passed == data else None
        return passed


class _Flow:
    """One direction of a channel."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self._parts: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._changed = trio.Event()
        self.closed = False
        self.broken = False
        self._abandoned = False

    def wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def close(self) -> None:
        """An end follows what is under way."""
        self.closed = True
        self.wake()

    def break_off(self) -> None:
        """The connection is lost after what is under way."""
        self.broken = True
        self.wake()

    def leave(self) -> None:
        """The reader is gone."""
        self._abandoned = True
        self.break_off()

    async def put(self, data: bytes) -> None:
        while self._size >= BUFFER and not self.broken:
            await self._changed.wait()
        if self.broken:
            raise errors.ConnectionLost
        passed = self._network.carry(data)
        if passed:
            self._parts.append((trio.current_time() + self._network.latency, passed))
        self._size += len(passed)
        self.wake()
        if len(passed) < len(data):
            self._network.cut()
            raise errors.ConnectionLost

    async def take(self, max_bytes: int) -> bytes:
        while not self._abandoned:
            if self._parts and not self._network.parted:
                due, data = self._parts[0]
                if due <= trio.current_time():
                    return self._taken(due, data, max_bytes)
                with trio.move_on_at(due):
                    await self._changed.wait()
            elif not self._parts and self.broken:
                break
            elif not self._parts and self.closed:
                return b""
            else:
                await self._changed.wait()
        raise errors.ConnectionLost

    def _taken(self, due: float, data: bytes, max_bytes: int) -> bytes:
        self._parts.popleft()
        if len(data) > max_bytes:
            self._parts.appendleft((due, data[max_bytes:]))
        self._size -= min(len(data), max_bytes)
        self.wake()
        return data[:max_bytes]


class MemoryChannel:
    """See `pairing.transport.base.Channel`."""

    def __init__(
        self, local_key: bytes, remote_key: bytes, path: str, source: str, out: _Flow, into: _Flow
    ) -> None:
        self.local_key = local_key
        self.remote_key = remote_key
        self.path = path
        self.source = source
        self.vouched = False
        self._out = out
        self._into = into
        self._closed = False

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self._closed or self._into.closed:
            raise errors.ConnectionLost
        if data:
            await self._out.put(data)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise errors.ConnectionLost
        return await self._into.take(max_bytes)

    def vouch(self) -> None:
        self.vouched = True

    async def aclose(self) -> None:
        self._closed = True
        self._out.close()
        self._into.leave()

    def wake(self) -> None:
        """Look at the network again."""
        self._out.wake()
        self._into.wake()

    def break_off(self) -> None:
        """Lose the connection."""
        self._out.break_off()
        self._into.break_off()


class MemoryListener:
    """See `pairing.transport.base.Listener`."""

    def __init__(self, network: MemoryNetwork, key: bytes, port: int) -> None:
        self.key = key
        self.address = Address(HOST, port)
        self.presence = Presence(mdns=False)
        self._network = network
        self._channels: list[MemoryChannel] = []
        self._arrived, self._arrivals = trio.open_memory_channel[Channel](64)

    def channels(self) -> AsyncIterator[Channel]:
        return self._arrivals

    def announce(self, presence: Presence) -> None:
        self.presence = presence

    def reachable(self) -> Reachable:
        relays = tuple(self.presence.relays)
        parted = self._network.parted
        return Reachable((self.address,), () if parted else relays, relays if parted else ())

    def connect(self, key: bytes, path: str, source: str) -> MemoryChannel:
        """A caller has arrived: his end of the new channel. Raises errors.UnreachableError."""
        there, back = _Flow(self._network), _Flow(self._network)
        ours = MemoryChannel(self.key, key, path, source, back, there)
        try:
            self._arrived.send_nowait(ours)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            raise errors.UnreachableError("It takes no more callers.") from None
        self._channels.append(ours)
        self._network.watch(ours)
        return MemoryChannel(key, self.key, path, HOST, there, back)

    async def stop(self) -> None:
        """Take no more callers and close every channel."""
        self._arrived.close()
        for channel in self._channels:
            await channel.aclose()


class MemoryDialer:
    """See `pairing.transport.base.Dialer`. Ways and their order are those of the real one."""

    def __init__(self, network: MemoryNetwork, source: str) -> None:
        self._network = network
        self._source = source
        self._key = keys.generate().public
        self._channels: list[MemoryChannel] = []

    async def dial(self, target: Target) -> Channel:
        ways = [
            Way(str(address), partial(self._reach, target, str(address), address))
            for address in target.addresses
        ]
        if target.mdns:
            ways.append(Way("mDNS", partial(self._reach, target, "mDNS", None)))
        head_start = RELAY_AFTER if ways else 0.0
        ways += [
            Way(f"relay {name}", partial(self._reach, target, f"relay {name}", name), head_start)
            for name in target.relays
        ]
        return await first_channel(ways)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.aclose()

    async def _reach(self, target: Target, path: str, where: Address | str | None) -> Channel:
        await trio.sleep(2 * self._network.latency)
        listener = self._network.find(target, where)
        if listener.key != target.key:
            raise errors.WrongKey(element=path)
        source = f"relay:{where}" if isinstance(where, str) else self._source
        channel = listener.connect(self._key, path, source)
        self._channels.append(channel)
        return channel


@dataclass(frozen=True, slots=True)
class MemoryTransport:
    """See `pairing.transport.base.Transport`."""

    network: MemoryNetwork
    source: str

    @contextlib.asynccontextmanager
    async def listener(self, private_key: bytes, port: int) -> AsyncIterator[MemoryListener]:
        listener = self.network.listen(SigningKey(private_key).public, port)
        try:
            yield listener
        finally:
            await self.network.stop(listener)

    @contextlib.asynccontextmanager
    async def dialer(self) -> AsyncIterator[MemoryDialer]:
        dialer = MemoryDialer(self.network, self.source)
        try:
            yield dialer
        finally:
            await dialer.close()
