"""What a pairing over Kairos' protocol needs of a network, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from pairing.edgevpn.names import Names
from pairing.edgevpn.nettoken import NetworkToken


@dataclass(frozen=True, slots=True)
class Heard:
    """One gossip message: `data` as its author sent it, `sender` the author's peer id.

    The network has checked the author's signature; anybody can have an identity.
    """

    topic: str
    data: bytes = field(repr=False)
    sender: str


class RawStream(Protocol):
    """Bytes to and from one peer, as trio's streams carry them."""

    async def send_all(self, data: bytes | bytearray | memoryview, /) -> None:
        """All of it. Raises trio.BrokenResourceError."""

    async def receive_some(self, max_bytes: int | None = None, /) -> bytes | bytearray:
        """Some bytes, none at the end. Raises trio.BrokenResourceError."""

    async def send_eof(self) -> None:
        """Nothing more will be sent; the other end may still talk."""

    async def aclose(self) -> None:
        """End it."""


class Gossip(Protocol):
    """A place in the gossip of one token's holders."""

    @property
    def own_id(self) -> str:
        """This end's peer id, base58."""

    async def follow(self, topics: Sequence[str]) -> None:
        """Hear exactly these topics from now on; peers are looked for under the first one."""

    async def publish(self, topic: str, data: bytes) -> None:
        """Say `data` to everybody who follows `topic`. Returns once it is on its way.

        Said to nobody, it is lost. Raises errors.KairosConfigTooLarge if it cannot get through.
        """

    async def receive(self) -> Heard:
        """The next message of others. Ours do not come back, repeated ones may."""

    def peers(self) -> frozenset[str]:
        """Who is connected now and follows one of our topics."""

    def reached(self) -> frozenset[str]:
        """Connected peers that our last words have come to: they answered something sent after.

        It has come to their program; what that makes of it is another matter.
        """

    def vouch(self, peer: str) -> None:
        """This peer has shown that it has the token: it gives way to no newcomer."""

    async def open(self, peer: str, protocol: str) -> RawStream:
        """A stream to a connected peer (base58 id) that answers to a libp2p protocol.

        Raises errors.ConnectionLost if it is not connected, or does not answer to it.
        """


class KairosNetwork(Protocol):
    """A network on which a token's holders find each other: libp2p, or memory in tests."""

    def joining(
        self, token: NetworkToken, *, names: Callable[[], Names]
    ) -> AbstractAsyncContextManager[Gossip]:
        """Take part with a fresh identity until the context ends.

        `names` says what the meeting is called right now; it is asked again and again.
        """
