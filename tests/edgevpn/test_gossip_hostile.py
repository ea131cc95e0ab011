"""Kairos' gossip with somebody who lies, floods or sends rubbish."""

from __future__ import annotations

import contextlib
import os

import pytest
import trio
from libp2p.custom_types import TProtocol
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX, signature_validator

from pairing import errors
from pairing.edgevpn.limits import MAX_DATA
from pairing.testing.flooding import TOPIC, address_of, member, next_from, talk, until
from pairing.testing.network import LOOPBACK, eventually
from pairing.transport.p2p import Limits, upgrade
from pairing.transport.p2p.gossip import flood, messages
from pairing.transport.p2p.gossip.connection import LINES_LIMIT, Connection
from pairing.transport.p2p.gossip.flood import FLOODSUB
from pairing.transport.p2p.gossip.host import Host, hosting
from pairing.transport.p2p.gossip.line import Line
from pairing.transport.p2p.identity import Identity, fresh
from pairing.transport.p2p.pipe import Pipe

NEXT = "48dc67d83d398cfa9a9fd0f525dac545"


async def test_too_much_is_refused_here() -> None:
    async with member() as (_, place):
        with pytest.raises(errors.KairosConfigTooLarge):
            await place.publish(TOPIC, bytes(MAX_DATA + 1))


def signed_again(author: Identity, wire: rpc_pb2.Message) -> rpc_pb2.Message:
    """The message with a second topic, and its author's signature over both."""
    wire.topicIDs.append(NEXT)
    wire.ClearField("signature")
    text = PUBSUB_SIGNING_PREFIX.encode() + wire.SerializeToString()
    wire.signature = author.pair.private_key.sign(text)
    assert signature_validator(wire)
    return wire


def forged() -> dict[str, rpc_pb2.Message]:
    """What somebody who knows the topic may send, and the honest one as control."""
    author, other = fresh(), fresh()
    wires = {
        name: messages.sign(author, number, TOPIC, b"data").wire
        for number, name in enumerate(
            ("data", "sequence", "no signature", "author", "short sequence", "two topics", "key")
        )
    }
    wires["data"].data = b"other"
    wires["sequence"].seqno = (99).to_bytes(8, "big")
    wires["no signature"].signature = b""
    wires["author"].from_id = messages.sign(other, 1, TOPIC, b"").wire.from_id
    wires["short sequence"].seqno = b"\0"
    wires["two topics"] = signed_again(author, wires["two topics"])
    wires["key"].from_id = b"\0" * 34
    wires["key"].key = author.pair.public_key.serialize()
    return wires


async def test_what_its_author_did_not_sign_is_dropped() -> None:
    async with member() as (here, place), hosting((LOOPBACK,)) as liar:
        await liar.dial(here.own, [address_of(here)])
        line = await liar.open(here.own, FLOODSUB)
        for wire in forged().values():
            await line.send(rpc_pb2.RPC(publish=[wire]).SerializeToString())
        honest = messages.sign(fresh(), 7, TOPIC, b"control")
        await line.send(messages.publication(honest))
        assert await next_from(place) == b"control"
        # Again, and as if it were ours: nothing comes of it.
        own = messages.sign(here.identity, 2**40, TOPIC, b"of ourselves")
        last = messages.sign(fresh(), 8, TOPIC, b"last")
        for message in (honest, own, last):
            await line.send(messages.publication(message))
        assert await next_from(place) == b"last"


@pytest.mark.parametrize("says_the_topic", [False, True])
async def test_a_stranger_may_not_send_much(says_the_topic: bool) -> None:
    async with member() as (here, place), hosting((LOOPBACK,)) as peer:
        await peer.dial(here.own, [address_of(here)])
        line = await peer.open(here.own, FLOODSUB)
        if says_the_topic:
            await line.send(messages.subscriptions([TOPIC]))
            await until((place, 1))
        large = messages.sign(peer.identity, 1, TOPIC, bytes(flood.STRANGER_LIMIT))
        with contextlib.suppress(errors.ConnectionLost):
            await line.send(messages.publication(large))
        with trio.move_on_after(20 if says_the_topic else 0.5) as waiting:
            assert (await place.receive()).data == large.data
        assert waiting.cancelled_caught is not says_the_topic


async def test_rubbish_ends_the_line_and_nothing_else() -> None:
    async with member() as (here, one), member() as (there, other):
        await there.dial(here.own, [address_of(here)])
        await until((one, 1), (other, 1))
        for rubbish in (b"\xff" * 40, bytes(9), b"\x80" * 8, os.urandom(300)):
            line = await there.open(here.own, FLOODSUB)
            with contextlib.suppress(errors.ConnectionLost):
                await line.stream.write(rubbish)
        await talk(one, other)


async def test_a_flood_of_topics_does_not_grow() -> None:
    async with member() as (here, place), hosting((LOOPBACK,)) as peer:
        await peer.dial(here.own, [address_of(here)])
        line = await peer.open(here.own, FLOODSUB)
        for start in range(0, 640, 64):
            await line.send(messages.subscriptions(f"{n:032}" for n in range(start, start + 64)))
        await line.send(messages.subscriptions([TOPIC]))
        await until((place, 1))
        (neighbour,) = place._neighbours.values()
        assert len(neighbour.topics) <= 65


async def test_connections_of_one_source_are_bounded() -> None:
    limits = Limits(channels=64, channels_per_source=4)
    async with member(limits) as (here, _), contextlib.AsyncExitStack() as stack:
        for _ in range(6):
            host = await stack.enter_async_context(hosting((LOOPBACK,)))
            await host.dial(here.own, [address_of(here)])
        await eventually(lambda: len(here.connected()) <= 4)
        assert len(here.connected()) == 4


@pytest.mark.parametrize("has_token", [True, False])
async def test_only_who_has_the_token_gives_way_to_no_newcomer(has_token: bool) -> None:
    """To follow the topic is nothing: whoever connects is told it."""
    limits = Limits(channels=64, channels_per_source=2)
    async with member(limits) as (here, place), contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            friend, friendly = await stack.enter_async_context(member())
            await friend.dial(here.own, [address_of(here)])
            await until((friendly, 1))
            if has_token:
                place.vouch(friendly.own_id)
        await until((place, 2))
        friends = here.connected()
        newcomer, _ = await stack.enter_async_context(member())
        connection = await newcomer.dial(here.own, [address_of(here)])
        if has_token:
            with trio.fail_after(10):
                await connection.ended.wait()
            assert here.connected() == friends
        else:
            await eventually(lambda: len(here.connected()) == 2)
            assert newcomer.own in here.connected()


async def test_places_that_all_are_held_open_one_for_a_newcomer_and_he_keeps_it() -> None:
    """Eight addresses with eight followers each: none has the token, and they keep coming."""
    limits = Limits(channels=6, channels_per_source=3)
    async with member(limits) as (here, place), contextlib.AsyncExitStack() as stack:

        async def crowd(count: int) -> None:
            for number in range(count):
                host = await stack.enter_async_context(hosting((LOOPBACK,)))
                with contextlib.suppress(errors.KnownError):
                    await dial_from(f"127.0.0.{2 + number % 2}", host, here)

        await crowd(6)
        await eventually(lambda: len(here.connected()) == 6)
        friend, friendly = await stack.enter_async_context(member())
        await friend.dial(here.own, [address_of(here)])
        await until((friendly, 1))
        await crowd(12)
        assert friend.own in here.connected()
        place.vouch(friendly.own_id)
        await talk(place, friendly)


async def dial_from(source: str, host: Host, here: Host) -> None:
    """A connection to `here` whose source is this address of the loopback network."""
    raw = trio.SocketStream(trio.socket.socket())
    await raw.socket.bind((source, 0))
    await raw.socket.connect((LOOPBACK, here.port))
    await host._secure(Pipe(raw), upgrade.Caller("", LOOPBACK), here.own)


async def test_lines_of_one_peer_are_bounded() -> None:
    open_now = 0

    async def hold(_connection: Connection, line: Line) -> None:
        nonlocal open_now
        open_now += 1
        await line.receive(10)
        open_now -= 1

    protocol = TProtocol("/hold/1")
    async with hosting((LOOPBACK,)) as here, hosting((LOOPBACK,)) as peer:
        here.handlers[protocol] = hold
        await peer.dial(here.own, [address_of(here)])
        refused = 0
        for _ in range(LINES_LIMIT + 5):
            try:
                await peer.open(here.own, protocol)
            except errors.ConnectionLost:
                refused += 1
        assert (open_now, refused) == (LINES_LIMIT, 5)
