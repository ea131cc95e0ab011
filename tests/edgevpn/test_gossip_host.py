"""Kairos' gossip over real sockets: two or more peers in one process, on the loopback interface."""

from __future__ import annotations

import secrets
import threading
import time
from pathlib import Path

import pytest
import trio
import trio.testing
from libp2p.custom_types import TProtocol
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2

from pairing import errors
from pairing.edgevpn import blocktext, nettoken, sealing, session
from pairing.edgevpn.exchange import present
from pairing.edgevpn.gossip import Gossip
from pairing.edgevpn.names import Names, names_at
from pairing.edgevpn.payload import Payload
from pairing.testing.flooding import (
    TOPIC,
    address_of,
    member,
    next_from,
    talk,
    until,
    until_heard,
)
from pairing.testing.network import LOOPBACK, eventually, free_udp_port
from pairing.transport.p2p import EdgeVpn, Mdns
from pairing.transport.p2p.gossip import flood, messages
from pairing.transport.p2p.gossip.connection import Connection
from pairing.transport.p2p.gossip.flood import FLOODSUB
from pairing.transport.p2p.gossip.host import hosting
from pairing.transport.p2p.gossip.identify import IDENTIFY
from pairing.transport.p2p.gossip.line import Line
from pairing.transport.p2p.gossip.ping import PING
from pairing.transport.p2p.identity import fresh, peer_id

NEXT = "48dc67d83d398cfa9a9fd0f525dac545"
TOKEN = nettoken.fresh(secrets.token_bytes)


def names() -> Names:
    return names_at(TOKEN, int(time.time()))


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
        await until_heard(one, other)
        await talk(one, other)


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


async def test_a_reset_is_noticed_even_if_there_is_nothing_to_say() -> None:
    async with member() as (here, _), hosting((LOOPBACK,)) as peer:
        times = 0

        async def reset(_connection: Connection, line: Line) -> None:
            nonlocal times
            await line.receive(1000)
            times += 1

        peer.handlers[FLOODSUB] = reset
        await here.dial(peer.own, [address_of(peer)])
        await eventually(lambda: times >= 3)


async def test_who_has_our_last_words_is_known() -> None:
    async with member() as (here, one), member() as (there, other):
        await here.dial(there.own, [address_of(there)])
        await until((one, 1), (other, 1))
        assert not one.reached()  # Connected, but nothing has been said.
        await one.publish(TOPIC, bytes(400_000))
        assert not one.reached()
        await eventually(lambda: one.reached() == {other.own_id})
        assert await next_from(other) == bytes(400_000)


async def test_words_on_a_line_that_was_lost_have_reached_nobody() -> None:
    async with member() as (here, one), member() as (there, other):
        lines: list[Line] = []
        listen = there.handlers[FLOODSUB]

        async def lose_the_second_message(connection: Connection, line: Line) -> None:
            lines.append(line)
            if len(lines) > 1:
                return await listen(connection, line)
            there_is = there.connections(here.own)
            assert there_is
            await line.receive(1000)  # The topics.
            other._neighbours[here.own].subscribe(TOPIC, True, frozenset({TOPIC}))
            await line.receive(1000)
            return None

        there.handlers[FLOODSUB] = lose_the_second_message
        await here.dial(there.own, [address_of(there)])
        await eventually(lambda: bool(one.peers()))
        # It stops reading after the first bytes of this, and resets the line.
        await one.publish(TOPIC, bytes(500_000))
        await eventually(lambda: len(lines) > 1)
        await trio.sleep(1)
        assert not one.reached()
        await one.publish(TOPIC, b"again")
        await eventually(lambda: one.reached() == {other.own_id})


async def test_last_words_are_heard() -> None:
    async with member() as (here, place):
        network = EdgeVpn(False, hosts=(LOOPBACK,))
        async with network.joining(TOKEN, names=names) as other:
            await other.follow([TOPIC])
            await other._host.dial(here.own, [address_of(here)])  # type: ignore[attr-defined]
            await eventually(lambda: bool(other.peers()))
            await other.publish(TOPIC, bytes(400_000))
        assert await next_from(place) == bytes(400_000)


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


async def test_identify_says_what_go_looks_for() -> None:
    async with member() as (here, _), hosting((LOOPBACK,)) as peer:
        await peer.dial(here.own, [address_of(here)])
        line = await peer.open(here.own, IDENTIFY)
        data = await line.receive(4096)
        assert data is not None
        said = Identify.FromString(data)
        assert said.protocols == [IDENTIFY, PING, FLOODSUB]
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
    """A peer id that nobody has."""
    return peer_id(fresh().public_key)


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
        stream = await one.open(other.own_id, "/echo/1")
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


async def test_who_gives_up_takes_its_presence_along() -> None:
    """Else its next attempt would meet two others: the machine, and its own former self."""
    network = EdgeVpn(hosts=(LOOPBACK,), link=Mdns(loopback=True, port=free_udp_port()))
    there: list[list[str]] = []

    async def listen(place: Gossip) -> None:
        while True:
            data = (await place.receive()).data
            block = blocktext.from_bytes(sealing.unseal(data, [names().seal_key]))
            there.append(sorted(present(block)))

    async with network.joining(TOKEN, names=names) as place, trio.open_nursery() as tasks:
        await place.follow([names().topic])
        tasks.start_soon(listen, place)
        async with trio.open_nursery() as attempt:
            attempt.start_soon(session.send, network, TOKEN, Payload("x", "/dev/sda"))
            await eventually(lambda: len(there) > 0)
            assert len(there[-1]) == 1
            attempt.cancel_scope.cancel()
        await eventually(lambda: there[-1] == [])
        tasks.cancel_scope.cancel()
