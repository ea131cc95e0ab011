"""Kademlia's messages and its walk towards a key."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import trio
from libp2p.custom_types import TProtocol
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID

from pairing import errors
from pairing.transport.base import Address
from pairing.transport.p2p.gossip.addresses import from_bytes, to_bytes
from pairing.transport.p2p.gossip.host import ADDRESS_LIMIT, Host
from pairing.transport.p2p.gossip.line import Line

KADEMLIA = TProtocol("/ipfs/kad/1.0.0")
ANSWER_SECONDS = 10.0
MESSAGE_LIMIT = 256 * 1024
PEERS_LIMIT = 40
"""Peers of one answer that are looked at; a server sends at most 20 of each kind."""
CLOSEST = 20
"""Kademlia's k: so many servers hold a record."""
AT_ONCE = 4
"""Kademlia's alpha: questions under way."""
ASKED_LIMIT = 100
"""Servers asked in one walk; more would be somebody leading us on."""
KNOWN_LIMIT = 400

Contact = tuple[ID, tuple[Address, ...]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: who has the key, and who is closer to it."""

    providers: Sequence[Contact]
    closer: Sequence[Contact]


class Servers:
    """The servers known during one walk towards a key."""

    def __init__(self, key: bytes) -> None:
        self._target = int.from_bytes(hashlib.sha256(key).digest(), "big")
        self._known: dict[ID, tuple[Address, ...]] = {}
        self._asked: set[ID] = set()
        self._failed: set[ID] = set()

    def add(self, peer: ID, addresses: tuple[Address, ...]) -> None:
        """Somebody named this server. Of too many the farthest are forgotten."""
        if peer in self._known or not addresses:
            return
        self._known[peer] = addresses
        if len(self._known) > KNOWN_LIMIT:
            del self._known[max(self._known, key=self._distance)]

    def peers(self) -> frozenset[ID]:
        """All that were named."""
        return frozenset(self._known)

    def next(self) -> Contact | None:
        """The closest one that was not asked yet, if it is among the 20 closest that live."""
        if len(self._asked) >= ASKED_LIMIT:
            return None
        for peer in self._closest():
            if peer not in self._asked:
                self._asked.add(peer)
                return peer, self._known[peer]
        return None

    def failed(self, peer: ID) -> None:
        """It did not answer."""
        self._failed.add(peer)

    def closest_alive(self) -> Sequence[Contact]:
        """The closest that have answered."""
        return [(peer, self._known[peer]) for peer in self._closest() if peer in self._asked]

    def _closest(self) -> Sequence[ID]:
        alive = [peer for peer in self._known if peer not in self._failed]
        return sorted(alive, key=self._distance)[:CLOSEST]

    def _distance(self, peer: ID) -> int:
        return int.from_bytes(hashlib.sha256(peer.to_bytes()).digest(), "big") ^ self._target


Question = Callable[[ID, Sequence[Address]], Awaitable[None]]
"""Asks one server and adds what it says. Raises errors.KnownError if it does not answer."""


async def lookup(servers: Servers, question: Question) -> None:
    """Walk towards the key until the closest servers have all been asked."""
    async with trio.open_nursery() as walkers:
        idle = _Idle(AT_ONCE)
        for _ in range(AT_ONCE):
            walkers.start_soon(_walk, servers, question, idle)


class _Idle:
    """How many walkers have nothing to ask; with all of them idle the walk is over."""

    def __init__(self, walkers: int) -> None:
        self.walking = walkers
        self.news = trio.Event()

    def tell(self) -> None:
        self.news.set()
        self.news = trio.Event()


async def _walk(servers: Servers, question: Question, idle: _Idle) -> None:
    while True:
        chosen = servers.next()
        if chosen is None:
            idle.walking -= 1
            if idle.walking == 0:
                idle.tell()
                return
            await idle.news.wait()
            if idle.walking == 0:
                return
            idle.walking += 1
            continue
        peer, addresses = chosen
        try:
            await question(peer, addresses)
        except errors.KnownError:
            servers.failed(peer)
        idle.tell()


async def ask(host: Host, peer: ID, addresses: Sequence[Address], key: bytes) -> Answer:
    """What a server knows about a key. Raises errors.KnownError."""
    line = await _line(host, peer, addresses)
    try:
        with trio.fail_after(ANSWER_SECONDS):
            await line.send(Message(type=Message.GET_PROVIDERS, key=key).SerializeToString())
            data = await line.receive(MESSAGE_LIMIT)
    except trio.TooSlowError:
        raise errors.UnreachableError("no answer") from None
    finally:
        await line.drop()
    return read_answer(data or b"")


def read_answer(data: bytes) -> Answer:
    """An answer's peers, as far as they can be reached over TCP. Raises errors.ProtocolBroken."""
    answer = Message()
    try:
        answer.ParseFromString(data)
    except Exception as error:
        raise errors.ProtocolBroken("That is no Kademlia message.") from error
    return Answer(_contacts(answer.providerPeers), _contacts(answer.closerPeers))


async def provide(host: Host, peer: ID, addresses: Sequence[Address], key: bytes) -> None:
    """Tell a server that we have a key, and where we listen. Raises errors.KnownError."""
    line = await _line(host, peer, addresses)
    ours = Message.Peer(
        id=host.own.to_bytes(), addrs=[to_bytes(address) for address in host.addresses()]
    )
    message = Message(type=Message.ADD_PROVIDER, key=key, providerPeers=[ours])
    try:
        with trio.fail_after(ANSWER_SECONDS):
            await line.send(message.SerializeToString())
            await line.finish()
    except trio.TooSlowError:
        raise errors.UnreachableError("no answer") from None


async def _line(host: Host, peer: ID, addresses: Sequence[Address]) -> Line:
    if not host.connections(peer):
        await host.dial(peer, addresses)
        await trio.lowlevel.checkpoint()
    return await host.open(peer, KADEMLIA)


def _contacts(peers: Iterable[Message.Peer]) -> Sequence[Contact]:
    found = []
    for number, peer in enumerate(peers):
        if number == PEERS_LIMIT:
            break
        where = [from_bytes(data) for data in peer.addrs[:ADDRESS_LIMIT]]
        usable = tuple(dict.fromkeys(address for address in where if address))
        if usable and 0 < len(peer.id) <= 64:
            found.append((ID(peer.id), usable))
    return found
