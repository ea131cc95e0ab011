"""What is known of words that went to a peer, and what is left of lines that nobody took."""

from __future__ import annotations

import secrets

import pytest
import trio
from libp2p.custom_types import TProtocol

from pairing import errors
from pairing.edgevpn import nettoken
from pairing.edgevpn.names import names_at
from pairing.testing.flooding import TOPIC, address_of, member, next_from, until
from pairing.testing.network import LOOPBACK, eventually
from pairing.transport.p2p import EdgeVpn
from pairing.transport.p2p.gossip import flood
from pairing.transport.p2p.gossip.connection import Connection
from pairing.transport.p2p.gossip.host import hosting


async def test_somebody_elses_words_stand_for_none_of_ours() -> None:
    """What is passed on to a peer says nothing of a message of ours that it never got."""
    async with member() as (left, one), member() as (middle, two), member() as (right, three):
        await middle.dial(left.own, [address_of(left)])
        await middle.dial(right.own, [address_of(right)])
        await until((one, 1), (two, 2), (three, 1))
        await one.publish(TOPIC, b"passed on")
        assert await next_from(three) == b"passed on"
        neighbour = two._neighbours[right.own]
        await eventually(lambda: neighbour.count_sent == neighbour.count_echoed > 0)
        assert two.reached() == frozenset()
        await two.publish(TOPIC, b"of its own")
        await eventually(lambda: two.reached() == {one.own_id, three.own_id})


async def test_a_question_without_an_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine under load may be slow once: that must not count for good."""
    monkeypatch.setattr(flood, "ECHO_AGAIN_SECONDS", 0.1)
    echo, failed = Connection.echo, 0

    async def slow_at_first(connection: Connection) -> None:
        nonlocal failed
        if failed < 6:
            failed += 1
            await trio.lowlevel.checkpoint()
            raise errors.ConnectionLost
        await echo(connection)

    monkeypatch.setattr(Connection, "echo", slow_at_first)
    async with member() as (here, one), member() as (there, other):
        await here.dial(there.own, [address_of(there)])
        await until((one, 1), (other, 1))
        await one.publish(TOPIC, b"words")
        await eventually(lambda: one.reached() == {other.own_id})


async def test_nothing_is_left_of_a_line_that_nobody_answers_to() -> None:
    """A DHT's server speaks no pubsub, and is asked again and again for hours."""
    async with hosting((LOOPBACK,)) as here, hosting((LOOPBACK,)) as there:
        connection = await here.dial(there.own, [address_of(there)])
        for _ in range(5):
            with pytest.raises(errors.ConnectionLost):
                await connection.open(TProtocol("/nothing/1"))
        assert connection._connection.streams == {}  # type: ignore[attr-defined]


@pytest.mark.parametrize("peer", ["", "0OIl", "no such peer", "\ud800", "12D3KooW"])
async def test_a_peer_that_is_none_is_not_connected(peer: str) -> None:
    token = nettoken.fresh(secrets.token_bytes)
    async with EdgeVpn(False, hosts=(LOOPBACK,)).joining(
        token, names=lambda: names_at(token, 0)
    ) as place:
        with pytest.raises(errors.ConnectionLost):
            await place.open(peer, "/echo/1")
