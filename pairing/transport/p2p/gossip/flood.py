"""Flooded messages: `/floodsub/1.0.0`, which every gossipsub router of go-libp2p speaks too.

https://github.com/libp2p/specs/blob/master/pubsub/README.md. A meeting has two to a few dozen
members, so a mesh with scores buys nothing: who follows a topic gets each of its messages once
from each neighbour.

Why a race cannot make us deaf or mute (it did with libp2p's own pubsub, where two connections
made in the same instant shared one stream): what a peer follows is forgotten only with its last
connection; a lost line is opened again on a living connection; whenever the peer opens a line,
and every few seconds anyway, it is told our topics again.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence

import trio
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.pubsub.pb.rpc_pb2 import Message

from pairing import errors
from pairing.edgevpn.gossip import Heard
from pairing.edgevpn.limits import MAX_DATA
from pairing.transport.p2p.gossip import messages
from pairing.transport.p2p.gossip.connection import Connection
from pairing.transport.p2p.gossip.host import Host
from pairing.transport.p2p.gossip.inbox import Inbox
from pairing.transport.p2p.gossip.line import Line
from pairing.transport.p2p.gossip.neighbour import Neighbour

FLOODSUB = TProtocol("/floodsub/1.0.0")
RPC_LIMIT = MAX_DATA + 64 * 1024
"""Bytes of one RPC from a peer that follows our topic."""
STRANGER_LIMIT = 64 * 1024
"""Bytes of one RPC from a peer that does not follow our topic; whoever connects is told it."""
SEEN_LIMIT = 4096
"""Messages that are remembered, so that none is taken twice."""
AGAIN_FIRST, AGAIN_MOST = 0.2, 5.0
"""Seconds before a lost line is opened again: the first pause, doubled up to the second."""
REMIND_SECONDS = 4.0
"""Between two announcements of our topics to each neighbour."""
MUTE_SECONDS = 6.0
"""A neighbour that is connected for so long and has no line to us is cut off, to start afresh."""
ECHO_SECONDS = 0.2
"""Between two questions whether what was sent has come."""
ECHO_AGAIN_SECONDS = 4.0
"""After one without an answer: the peer is slow now, or answers to no such thing."""
FLUSH_SECONDS = 1.0
"""At the end, for what is still on its way."""


class Flood:
    """See `pairing.edgevpn.gossip.Gossip`. One for each host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._topics: frozenset[str] = frozenset()
        self._neighbours: dict[ID, Neighbour] = {}
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._inbox = Inbox()
        # Random, so that a clock that was set back cannot make a message look old.
        self._sequence = secrets.randbits(62)
        host.handlers[FLOODSUB] = self._listen
        host.on_connected = self._meet

    @property
    def own_id(self) -> str:
        return self._host.own.to_base58()

    async def follow(self, topics: Sequence[str]) -> None:
        wanted = frozenset(topics)
        left, self._topics = self._topics - wanted, wanted
        for neighbour in self._neighbours.values():
            if left:
                neighbour.put(messages.subscriptions(left, wanted=False))
            self._announce(neighbour)
        await trio.lowlevel.checkpoint()

    async def publish(self, topic: str, data: bytes) -> None:
        if len(data) > MAX_DATA:
            raise errors.KairosConfigTooLarge
        self._sequence += 1
        message = messages.sign(self._host.identity, self._sequence, topic, data)
        self._remember(message.identifier)
        rpc = messages.publication(message)
        for neighbour in self._who_follow(topic):
            neighbour.publish(rpc)
        await trio.lowlevel.checkpoint()

    async def receive(self) -> Heard:
        return await self._inbox.take()

    def peers(self) -> frozenset[str]:
        return frozenset(n.name for n in self._neighbours.values() if n.follows(self._topics))

    def reached(self) -> frozenset[str]:
        return frozenset(
            n.name for n in self._neighbours.values() if n.follows(self._topics) and n.has_all
        )

    def vouch(self, peer: str) -> None:
        for neighbour in self._neighbours.values():
            if neighbour.name == peer:
                neighbour.has_token = True
                for connection in self._host.connections(neighbour.peer):
                    connection.vouched = True

    async def watch(self) -> None:
        """Remind everybody of our topics, and cut off who stays mute. Until cancelled."""
        while True:
            await trio.sleep(REMIND_SECONDS)
            for neighbour in tuple(self._neighbours.values()):
                self._announce(neighbour)
                if self._is_mute(neighbour):
                    for connection in self._host.connections(neighbour.peer):
                        connection.tear_down()

    async def flush(self) -> None:
        """Wait until everything is out, a second at most, even if cancelled."""
        with trio.move_on_after(FLUSH_SECONDS, shield=True):
            for neighbour in tuple(self._neighbours.values()):
                if neighbour.is_heard:
                    await neighbour.emptied()

    # --- neighbours ---

    def _meet(self, connection: Connection) -> None:
        """A new connection: speak to this peer, if we do not already."""
        known = self._neighbours.get(connection.peer)
        connection.vouched = known is not None and known.has_token
        if known is None:
            neighbour = self._neighbours[connection.peer] = Neighbour(connection.peer)
            self._host.tasks.start_soon(self._speak, neighbour)

    async def _speak(self, neighbour: Neighbour) -> None:
        """Keep a line to this peer as long as there is a connection with it."""
        pause = AGAIN_FIRST
        try:
            while self._host.connections(neighbour.peer):
                try:
                    connection = self._host.connections(neighbour.peer)[-1]
                    line = await connection.open(FLOODSUB)
                except errors.KnownError:
                    pause = min(2 * pause, AGAIN_MOST)
                else:
                    pause = AGAIN_FIRST
                    await self._speak_on(line, connection, neighbour)
                await trio.sleep(pause)
        finally:
            self._neighbours.pop(neighbour.peer, None)

    async def _speak_on(self, line: Line, connection: Connection, neighbour: Neighbour) -> None:
        """Send what is put out for this peer, until the line is lost."""
        neighbour.is_heard = True
        neighbour.put(messages.subscriptions(self._topics))
        try:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(_until_lost, line, tasks.cancel_scope)
                tasks.start_soon(_ask_for_echoes, connection, neighbour)
                while True:
                    rpc = await neighbour.next()
                    try:
                        await line.send(rpc)
                    except errors.ConnectionLost:
                        break
                    neighbour.sent(rpc)
                tasks.cancel_scope.cancel()
        finally:
            neighbour.is_heard = False
            neighbour.line_lost()
            await line.drop()

    def _announce(self, neighbour: Neighbour) -> None:
        if neighbour.is_heard and self._topics:
            neighbour.put(messages.subscriptions(self._topics))

    def _is_mute(self, neighbour: Neighbour) -> bool:
        connections = self._host.connections(neighbour.peer)
        newest = max((connection.since for connection in connections), default=0.0)
        is_old = trio.current_time() - newest > MUTE_SECONDS
        # Only where we are heard: a DHT server, say, speaks no pubsub and is in nobody's way.
        return is_old and neighbour.is_heard and not neighbour.speaks

    # --- hearing ---

    async def _listen(self, connection: Connection, line: Line) -> None:
        """A peer speaks to us on this line, until it ends."""
        neighbour = self._neighbours.get(connection.peer)
        if neighbour is None:
            return
        neighbour.speaks += 1
        # Who opens a new line has forgotten what we follow, or never knew.
        self._announce(neighbour)
        try:
            while True:
                is_friend = neighbour.follows(self._topics)
                data = await line.receive(RPC_LIMIT if is_friend else STRANGER_LIMIT)
                if data is None:
                    return
                self._take(data, neighbour)
                connection.follows_us = neighbour.follows(self._topics)
        finally:
            neighbour.speaks -= 1

    def _take(self, data: bytes, neighbour: Neighbour) -> None:
        rpc = messages.parse(data)
        if rpc is None:
            raise errors.ProtocolBroken("That is no pubsub message.")
        for entry in rpc.subscriptions[: messages.ENTRIES_LIMIT]:
            neighbour.subscribe(entry.topicid, entry.subscribe, self._topics)
        for wire in rpc.publish[: messages.ENTRIES_LIMIT]:
            self._judge(wire, neighbour)

    def _judge(self, wire: Message, forwarder: Neighbour) -> None:
        """Take a message and pass it on, if it is new, ours to hear and properly signed."""
        identifier = messages.identifier_of(wire)
        if identifier in self._seen or not self._topics.intersection(wire.topicIDs):
            return
        message = messages.checked(wire)
        if message is None or message.author == self._host.own:
            return
        self._remember(identifier)
        forwarder.subscribe(message.topic, True, self._topics)
        heard = Heard(message.topic, message.data, message.author.to_base58())
        self._inbox.put(heard, forwarder.name)
        rpc = messages.publication(message)
        for neighbour in self._who_follow(message.topic):
            if neighbour.peer not in (forwarder.peer, message.author):
                neighbour.put(rpc)  # It stands for none of ours.

    def _who_follow(self, topic: str) -> Sequence[Neighbour]:
        return [n for n in self._neighbours.values() if topic in n.topics]

    def _remember(self, identifier: bytes) -> None:
        self._seen[identifier] = None
        while len(self._seen) > SEEN_LIMIT:
            self._seen.popitem(last=False)


async def _ask_for_echoes(connection: Connection, neighbour: Neighbour) -> None:
    """Learn what has come to it. A peer that answers nothing is not known to have anything."""
    while True:
        await neighbour.something_sent()
        count = neighbour.count_sent
        try:
            await connection.echo()
        except errors.ConnectionLost:
            await trio.sleep(ECHO_AGAIN_SECONDS)
        else:
            neighbour.count_echoed = count
            await trio.sleep(ECHO_SECONDS)


async def _until_lost(line: Line, speaking: trio.CancelScope) -> None:
    """The other end says nothing on a line of ours; but it may reset it, or be gone."""
    try:
        await line.receive(STRANGER_LIMIT)
        await line.cut.wait()  # It has closed its half only, or said something odd.
    except errors.KnownError:
        pass
    speaking.cancel()
