"""What the session needs of a transport, and nothing more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol


class Channel(Protocol):
    """An encrypted, mutually authenticated stream of bytes between two ends.

    Closing or losing it makes `receive` return `b""` or raise `errors.ConnectionLost`. `send`
    raises `errors.ConnectionLost` once the other end is gone. No other exception leaves a channel.
    """

    @property
    def local_key(self) -> bytes:
        """This end's Ed25519 public key on this channel (32 bytes)."""

    @property
    def remote_key(self) -> bytes:
        """The other end's Ed25519 public key, proved by the handshake (32 bytes)."""

    @property
    def path(self) -> str:
        """How it was reached, for people: `192.0.2.7:4917`, `relay relay.example`, `memory`."""

    @property
    def source(self) -> str:
        """Whom rate limits count: the caller's IP address, or `relay:<name>` behind a relay."""

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """At least one byte, or `b""` when the other end has closed."""

    def vouch(self) -> None:
        """The session trusts this end (it proved the code): keep the channel in a flood.

        Channels not vouched for make room for newer ones: the oldest of who has most.
        """

    async def aclose(self) -> None:
        """Close at once. Never raises; calling it twice is fine. What was sent still arrives."""


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address: an IP literal or a host name, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """Whom an operator wants to reach, and where to look.

    `key` is the node's Ed25519 public key; a transport must refuse every other. `label` is the
    rendezvous label (32 bytes) that mDNS and relays know the node by; see `protocol.labels`.
    """

    key: bytes
    label: bytes
    addresses: Sequence[Address] = ()
    relays: Sequence[str] = ()
    mdns: bool = True


@dataclass(frozen=True, slots=True)
class Presence:
    """How a node wants to be found. A new one replaces the old one (labels change)."""

    labels: Sequence[bytes] = ()
    relays: Sequence[str] = ()
    mdns: bool = True


class Dialer(Protocol):
    """The operator's side of a transport."""

    async def dial(self, target: Target) -> Channel:
        """The first way that works: addresses, mDNS, relays. Cancellable at any time.

        Raises errors.UnreachableError (with what was tried) or errors.WrongKey.
        """


@dataclass(frozen=True, slots=True)
class Reachable:
    """What a node can say of how it is reached right now, for its screen and its token."""

    addresses: Sequence[Address] = field(default_factory=tuple)
    relays_up: Sequence[str] = field(default_factory=tuple)
    relays_down: Sequence[str] = field(default_factory=tuple)


class Listener(Protocol):
    """The node's side of a transport."""

    def channels(self) -> AsyncIterator[Channel]:
        """Incoming channels, authenticated and within the limits, as they arrive."""

    def announce(self, presence: Presence) -> None:
        """Be found under these labels, at these relays, from now on. Returns at once."""

    def reachable(self) -> Reachable:
        """The addresses listened on, and which relays know us now."""


class Transport(Protocol):
    """A way of pairing: libp2p, or memory in tests."""

    def listener(self, private_key: bytes, port: int) -> AbstractAsyncContextManager[Listener]:
        """Listen as the owner of this Ed25519 private key (32-byte seed) until the context ends."""

    def dialer(self) -> AbstractAsyncContextManager[Dialer]:
        """Dial with a fresh identity until the context ends."""
