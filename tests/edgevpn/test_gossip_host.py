"""Kairos' gossip over real sockets: two or more peers in one process, on the loopback interface."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing
from libp2p.custom_types import TProtocol
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2

from pairing import errors
from pairing.edgevpn import nettoken
from pairing.edgevpn.limits import MAX_DATA
from pairing.edgevpn.names import Names, names_at
from pairing.testing.network import LOOPBACK, eventually, free_udp_port
from pairing.transport.base import Address
from pairing.transport.p2p import EdgeVpn, Limits, Mdns
from pairing.transport.p2p.gossip import flood, messages
from pairing.transport.p2p.gossip.connection import Connection
from pairing.transport.p2p.gossip.flood import FLOODSUB, Flood
from pairing.transport.p2p.gossip.host import LIMITS, Host, hosting
from pairing.transport.p2p.gossip.identify import IDENTIFY
from pairing.transport.p2p.gossip.line import Line
from pairing.transport.p2p.identity import fresh

TOPIC, NEXT = "1e56312234baccdaa4f1f77cf294f215", "48dc67d83d398cfa9a9fd0f525dac545"
TOKEN = nettoken.fresh(secrets.token_bytes)


def names() -> Names:
    return names_at(TOKEN, int(time.time()))


def address_of(host: Host) -> Address:
    return Address(LOOPBACK, host.port)


@contextlib.asynccontextmanager
async def member(limits: Limits = LIMITS) -> AsyncIterator[tuple[Host, Flood]]:
    """A host that follows TOPIC."""
    async with hosting((LOOPBACK,), limits=limits) as host:
        place = Flood(host)
        await place.follow([TOPIC])
        yield host, place


async def until(*met: tuple[Flood, int]) -> None:
    """Wait until each of these knows so many others that follow its topics."""
    await eventually(lambda: all(len(place.peers()) == count for place, count in met))


async def next_from(place: Flood) -> bytes:
    with trio.fail_after(20):
        return (await place.receive()).data


async def talk(one: Flood, other: Flood) -> None:
    """A message each way arrives."""
    for speaker, listener in ((one, other), (other, one)):
        said = secrets.token_bytes(40)
        await speaker.publish(TOPIC, said)
        assert await next_from(listener) == said


async def test_they_find_each_other_by_mdns_and_talk() -> None:
    link = Mdns(loopback=True, port=free_udp_port())
    network = EdgeVpn(hosts=(LOOPBACK,), link=link)
    topic = names().topic
    async with (
        network.joining(TOKEN, names=names) as one,
        network.joining(TOKEN, names=names) as other,
    ):
        await one.follow([topic])
        await other.follow([topic])
        await eventually(lambda: bool(one.peers() and other.peers()))
        assert one.peers() == {other.own_id}
        large = secrets.token_bytes(600_000)  # 256 KiB of config, as hex in JSON
        await one.publish(topic, large)
        with trio.fail_after(20):
            heard = await other.receive()
        assert (heard.topic, heard.data, heard.sender) == (topic, large, one.own_id)
        assert not hasattr(heard, "__dict__")
        assert large.hex()[:8] not in repr(heard)


async def test_another_token_is_not_met() -> None:
    link = Mdns(loopback=True, port=free_udp_port())
    network = EdgeVpn(hosts=(LOOPBACK,), link=link)
    stranger = nettoken.fresh(secrets.token_bytes)
    async with (
        network.joining(TOKEN, names=names) as one,
        network.joining(stranger, names=names) as other,
        network.joining(TOKEN, names=names) as control,
    ):
        for place in (one, other, control):
            await place.follow([names().topic])
        await eventually(lambda: bool(one.peers()))
        await trio.sleep(1)
        assert one.peers() == {control.own_id}
        assert other.peers() == frozenset()


@pytest.mark.parametrize("lost", [0, 1])
async def test_both_dial_in_the_same_instant(lost: int) -> None:
    async with member() as (here, one), member() as (there, other), trio.open_nursery() as tasks:
        tasks.start_soon(here.dial, there.own, [address_of(there)])
        tasks.start_soon(there.dial, here.own, [address_of(here)])
        await until((one, 1), (other, 1))
        await talk(one, other)
        await eventually(lambda: len(here.connections(there.own)) == 2)
        # One of two connections goes, with whatever line runs on it: nobody becomes deaf.
        here.connections(there.own)[lost].tear_down()
        await eventually(
            lambda: len(here.connections(there.own)) == len(there.connections(here.own)) == 1
        )
        await _until_heard(one, other)
        await talk(one, other)


async def _until_heard(one: Flood, other: Flood) -> None:
    """Wait until a message gets through both ways; what is heard before is thrown away."""
    for speaker, listener in ((one, other), (other, one)):
        mark = secrets.token_bytes(16)
        with trio.fail_after(20):
            heard = b""
            while heard != mark:
                await speaker.publish(TOPIC, mark)
                with trio.move_on_after(0.3):
                    while heard != mark:
                        heard = (await listener.receive()).data
    for place in (one, other):
        with trio.move_on_after(0.3):
            while True:
                await place.receive()


async def test_a_line_that_the_peer_resets_is_opened_again() -> None:
    async with member() as (here, one), member() as (there, other):
        broken: list[Line] = []
        listen = there.handlers[FLOODSUB]

        async def reset_the_first(connection: Connection, line: Line) -> None:
            if not broken:
                broken.append(line)
                return
            await listen(connection, line)

        there.handlers[FLOODSUB] = reset_the_first
        await here.dial(there.own, [address_of(there)])
        await until((one, 1), (other, 1))
        assert broken
        await talk(one, other)


async def test_a_peer_that_opens_a_new_line_is_told_our_topics_again() -> None:
    async with member() as (here, _one), hosting((LOOPBACK,)) as peer:
        told = trio.Event()
        count = 0

        async def listen(_connection: Connection, line: Line) -> None:
            nonlocal count
            while (data := await line.receive(1000)) is not None:
                rpc = rpc_pb2.RPC.FromString(data)
                count += any(entry.topicid == TOPIC for entry in rpc.subscriptions)
                told.set()

        peer.handlers[FLOODSUB] = listen
        await peer.dial(here.own, [address_of(here)])
        with trio.fail_after(20):
            await told.wait()
            before = count
            line = await peer.open(here.own, FLOODSUB)
            await line.send(messages.subscriptions([TOPIC]))
            await eventually(lambda: count > before)


async def test_a_peer_without_a_line_to_us_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "MUTE_SECONDS", 0.5)
    monkeypatch.setattr(flood, "REMIND_SECONDS", 0.2)
    async with member() as (here, place), hosting((LOOPBACK,)) as mute, member() as (there, other):

        async def listen(_connection: Connection, line: Line) -> None:
            while await line.receive(1000) is not None:
                pass

        mute.handlers[FLOODSUB] = listen
        async with trio.open_nursery() as tasks:
            tasks.start_soon(place.watch)
            first = await here.dial(mute.own, [address_of(mute)])
            second = await here.dial(there.own, [address_of(there)])
            with trio.fail_after(20):
                await first.ended.wait()
            await until((place, 1), (other, 1))
            assert not second.ended.is_set()
            tasks.cancel_scope.cancel()


async def test_a_message_is_passed_on_and_taken_once() -> None:
    async with member() as (left, one), member() as (middle, two), member() as (right, three):
        await middle.dial(left.own, [address_of(left)])
        await middle.dial(right.own, [address_of(right)])
        await until((one, 1), (two, 2), (three, 1))
        await one.publish(TOPIC, b"over the middle")
        for place in (two, three):
            with trio.fail_after(20):
                heard = await place.receive()
            assert (heard.data, heard.sender) == (b"over the middle", one.own_id)
        # A ring: everything would come twice, and go round for ever.
        await left.dial(right.own, [address_of(right)])
        await until((one, 2), (two, 2), (three, 2))
        await two.publish(TOPIC, b"once")
        for place in (one, three):
            assert await next_from(place) == b"once"
            with trio.move_on_after(0.3) as nothing_more:
                await place.receive()
            assert nothing_more.cancelled_caught


async def test_only_the_topics_followed_are_heard() -> None:
    async with member() as (here, one), member() as (there, other):
        await here.dial(there.own, [address_of(there)])
        await until((one, 1), (other, 1))
        await one.follow([NEXT])
        await until((one, 0), (other, 0))
        await other.follow([NEXT, TOPIC])
        await until((one, 1))
        await other.publish(TOPIC, b"old name")
        await other.publish(NEXT, b"new name")
        assert await next_from(one) == b"new name"


async def test_too_much_is_refused_here() -> None:
    async with member() as (_, place):
        with pytest.raises(errors.KairosConfigTooLarge):
            await place.publish(TOPIC, bytes(MAX_DATA + 1))


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
    wires["two topics"].topicIDs.append(NEXT)
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


async def test_identify_says_what_go_looks_for() -> None:
    async with member() as (here, _), hosting((LOOPBACK,)) as peer:
        await peer.dial(here.own, [address_of(here)])
        line = await peer.open(here.own, IDENTIFY)
        data = await line.receive(4096)
        assert data is not None
        said = Identify.FromString(data)
        assert said.protocols == [IDENTIFY, FLOODSUB]
        assert said.public_key == here.identity.pair.public_key.serialize()
        assert len(said.listen_addrs) == 1


async def test_what_nobody_answers_to_is_named() -> None:
    async with member() as (here, _), hosting((LOOPBACK,)) as peer:
        await peer.dial(here.own, [address_of(here)])
        with pytest.raises(errors.ConnectionLost):
            await peer.open(here.own, TProtocol("/nothing/1"))
        with pytest.raises(errors.ConnectionLost):
            await here.open(fresh_id(), FLOODSUB)


def fresh_id() -> ID:
    return messages.sign(fresh(), 0, TOPIC, b"").author


async def test_somebody_else_at_the_address_is_refused() -> None:
    async with hosting((LOOPBACK,)) as here, hosting((LOOPBACK,)) as there:
        with pytest.raises(errors.WrongKey):
            await here.dial(fresh_id(), [address_of(there)])
        with pytest.raises(errors.UnreachableError):
            await here.dial(here.own, [address_of(here)])
        assert here.connected() == frozenset()


async def test_another_service_of_a_peer_is_reached() -> None:
    async def echo(_connection: Connection, line: Line) -> None:
        while data := await line.stream.read(100):
            await line.stream.write(data)

    link = Mdns(loopback=True, port=free_udp_port())
    network = EdgeVpn(hosts=(LOOPBACK,), link=link)
    async with (
        network.joining(TOKEN, names=names) as one,
        network.joining(TOKEN, names=names) as other,
    ):
        await one.follow([TOPIC])
        await other.follow([TOPIC])
        other._host.handlers[TProtocol("/echo/1")] = echo  # type: ignore[attr-defined]
        await eventually(lambda: bool(one.peers()))
        stream = await one.open(other.own_id, "/echo/1")  # type: ignore[attr-defined]
        with trio.fail_after(20):
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
            await stream.send_eof()
        await stream.aclose()


def _alive() -> tuple[int, int]:
    """Open files and threads that belong to somebody (trio keeps idle worker threads)."""
    busy = [t for t in threading.enumerate() if not t.name.startswith("Trio thread")]
    return len(list(Path("/proc/self/fd").iterdir())), len(busy)


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.1, 0.4, 1.5])
async def test_everything_ends_with_the_context(seconds: float) -> None:
    link = Mdns(loopback=True, port=free_udp_port())
    bootstrap = [f"/ip4/{LOOPBACK}/tcp/9/p2p/{fresh_id().to_base58()}"]
    network = EdgeVpn(True, bootstrap, hosts=(LOOPBACK,), link=link)

    async def take_part() -> None:
        async with network.joining(TOKEN, names=names) as place:
            await place.follow([TOPIC])
            while True:
                await place.publish(TOPIC, b"here")
                await trio.sleep(0.05)

    async with trio.open_nursery() as warm:  # imports, trio's own wake-up sockets
        warm.start_soon(take_part)
        await trio.sleep(0.3)
        warm.cancel_scope.cancel()
    before, tasks = _alive(), trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as both:
            both.start_soon(take_part)
            both.start_soon(take_part)
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert _alive() == before


async def test_an_error_of_the_body_comes_out_as_it_was() -> None:
    network = EdgeVpn(False, hosts=(LOOPBACK,))
    with pytest.raises(errors.KairosNobodyCame):
        async with network.joining(TOKEN, names=names):
            raise errors.KairosNobodyCame
