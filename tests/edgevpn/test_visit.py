"""Visiting a running network: heard before written, nobody's keys lost, every wait ends."""

from __future__ import annotations

import contextlib
import random
import secrets
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from pairing import errors
from pairing.edgevpn import mesh, nettoken
from pairing.edgevpn.ledger import Block, Entry, go_time
from pairing.edgevpn.mesh import Setting
from pairing.edgevpn.names import names_at
from pairing.edgevpn.visit import SETTLE_SECONDS, visiting
from pairing.testing.gopeer import GoPeer, go_peer
from pairing.testing.gossip import MemoryGossip

TOKEN = nettoken.fresh(secrets.token_bytes, full=True)
OURS = mesh.role_entry("aaaa", "worker")


def unix() -> float:
    return 1_800_000_000.0 + trio.current_time()


@contextlib.asynccontextmanager
async def member(
    network: MemoryGossip, *, height: int = 50, seed: int = 3, old: bool = False
) -> AsyncIterator[GoPeer]:
    """A node of a network that has lived for a while."""
    async with go_peer(network, TOKEN, seed, old=old) as (peer, _):
        storage = {"kairos": {"bbbb-role": Entry(mesh.role_entry("bbbb", "master").value)}}
        peer.block = Block(height, go_time(0), storage, "f" * 64)
        yield peer


@pytest.mark.parametrize("old", [False, True])
async def test_a_role_is_written_and_nothing_else_changes(
    autojump_clock: trio.testing.MockClock, old: bool
) -> None:
    network = MemoryGossip()
    async with member(network, old=old) as peer, visiting(network, TOKEN, unix=unix) as visit:
        await visit.write(OURS, 60)
        kept = peer.block.values("kairos")
        assert kept["aaaa-role"] == OURS.value
        assert kept["bbbb-role"] == mesh.role_entry("bbbb", "master").value
        assert "presence" in peer.block.storage


async def test_nothing_is_said_before_somebody_was_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = MemoryGossip()
    async with visiting(network, TOKEN, unix=unix) as visit:
        with pytest.raises(errors.MeshNobody):
            await visit.write(OURS, 30)
        await trio.sleep(60)
    assert not network.said


async def test_a_reader_says_nothing_at_all(autojump_clock: trio.testing.MockClock) -> None:
    network = MemoryGossip()
    async with member(network) as peer, visiting(network, TOKEN, unix=unix) as visit:
        assert (await visit.settled(60))["kairos"]
        await trio.sleep(60)
        own = {heard.sender for heard in network.said}
        assert own == {peer.gossip.own_id}


async def test_what_is_not_there_is_said_after_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = MemoryGossip()
    async with member(network), visiting(network, TOKEN, unix=unix) as visit:
        before = trio.current_time()
        with pytest.raises(errors.MeshHoldsNone):
            await visit.find(mesh.kubeconfig, 25)
        assert trio.current_time() - before < 26


async def test_a_member_that_does_not_take_it_over_is_no_confirmation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = MemoryGossip()
    names = names_at(TOKEN, 0)
    async with (
        network.joining(TOKEN, names=lambda: names) as place,
        visiting(network, TOKEN, unix=unix) as visit,
        trio.open_nursery() as nursery,
    ):
        deaf = GoPeer(place, TOKEN, random.Random(1), block=Block(10_000, go_time(0), {}, "f" * 64))
        await place.follow([names.topic])
        nursery.start_soon(deaf.repeat)
        with pytest.raises(errors.MeshNotConfirmed):
            await visit.write(OURS, 40)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(6))
async def test_a_lossy_network_of_several_writers_loses_nobodys_keys(
    autojump_clock: trio.testing.MockClock, seed: int
) -> None:
    network = MemoryGossip(seed=seed, loss=0.2, repeats=0.2, jitter=0.4)
    chance = random.Random(seed)
    async with member(network, seed=seed) as first, member(network, seed=seed + 100) as second:
        async with trio.open_nursery() as nursery:
            for number, peer in enumerate((first, second)):
                key, value = f"n{number}-role", mesh.role_entry("x", "worker").value
                nursery.start_soon(peer.announce, chance.uniform(1, 4), "kairos", key, value)
            async with visiting(network, TOKEN, unix=unix) as visit:
                await visit.write(OURS, 120)
                await trio.sleep(30)
            nursery.cancel_scope.cancel()
        for peer in (first, second):
            assert {"aaaa-role", "n0-role", "n1-role"} <= set(peer.block.values("kairos"))


async def test_a_newcomers_empty_block_is_not_taken_for_the_network(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = MemoryGossip()
    async with go_peer(network, TOKEN, 9), visiting(network, TOKEN, unix=unix) as visit:
        await visit.find(lambda _: True, 30)
        async with member(network):
            with trio.move_on_after(SETTLE_SECONDS + 20):
                while "kairos" not in visit.storage():  # noqa: ASYNC110
                    await trio.sleep(1)
            assert visit.storage()["kairos"]


async def test_a_token_that_rotates_is_followed(autojump_clock: trio.testing.MockClock) -> None:
    token = nettoken.fresh(secrets.token_bytes, rotate_seconds=60)
    network = MemoryGossip()
    topics = set()
    async with (
        network.joining(token, names=lambda: names_at(token, int(unix()))),
        visiting(network, token, unix=unix) as visit,
    ):
        visit._heard = True
        visit._keep(Setting("b", "k", '"v"'))
        await trio.sleep(200)
        topics = {heard.topic for heard in network.said}
    assert len(topics) >= 3


async def test_rubbish_is_no_member(autojump_clock: trio.testing.MockClock) -> None:
    network = MemoryGossip()
    names = names_at(TOKEN, 0)
    async with (
        network.joining(TOKEN, names=lambda: names) as stranger,
        visiting(network, TOKEN, unix=unix) as visit,
    ):
        await stranger.follow([names.topic])
        await trio.sleep(1)
        for data in (b"", b"{}", b"\xff" * 100, b'{"Message": "00"}'):
            await stranger.publish(names.topic, data)
        with pytest.raises(errors.MeshNobody):
            await visit.settled(20)
