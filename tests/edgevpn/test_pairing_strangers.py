"""Who else may be there when two pair over Kairos' protocol, and what our ends make of it."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from pairing import errors
from pairing.edgevpn import authors, blocktext, nettoken, sealing
from pairing.edgevpn.authors import REMEMBERED
from pairing.edgevpn.exchange import (
    SPACING,
    Acknowledged,
    Delivered,
    Effect,
    Failed,
    Met,
    Publish,
)
from pairing.edgevpn.ledger import Block, Entry
from pairing.edgevpn.names import names_at
from pairing.edgevpn.payload import Payload
from pairing.edgevpn.receiver import Receiver
from pairing.edgevpn.sender import Sender
from pairing.edgevpn.session import WINDOW_SECONDS, receive, send
from pairing.testing.gopeer import GoPeer, blocks_said, go_peer, go_receive, go_send, go_silent
from pairing.testing.gossip import MemoryGossip

CONFIG = '#cloud-config\nhostname: "n1"\nusers: [{name: käthe}]\n'
PAYLOAD = Payload(CONFIG, "/dev/sda")
GO_TEXT = json.dumps({"cc": CONFIG, "device": "/dev/sda"})
Clock = trio.testing.MockClock


@pytest.fixture
def token() -> nettoken.NetworkToken:
    return nettoken.fresh(secrets.token_bytes)


async def stranger(
    network: MemoryGossip, token: nettoken.NetworkToken, bucket: str, key: str, value: str
) -> None:
    """Somebody with the photo who writes one key, again and again."""
    async with go_peer(network, token, 9) as (peer, nursery):
        nursery.start_soon(peer.announce, 1.0, bucket, key or peer.gossip.own_id, value)
        await trio.sleep_forever()


STRANGE = [
    pytest.param("presence", "", '""', id="third presence"),
    pytest.param("pairing", "data", '{"cc":"#cloud-config\\nhostname: evil\\n"}', id="config"),
    pytest.param("pairing", "somebody", '"ok"', id="answer"),
]


@pytest.mark.parametrize(("bucket", "key", "value"), STRANGE)
@pytest.mark.parametrize("when", [0.0, 5.0])
async def test_a_stranger_stops_a_sender(
    token: nettoken.NetworkToken,
    bucket: str,
    key: str,
    value: str,
    when: float,
    quick_clock: Clock,
) -> None:
    """Who was there before, or comes while the node is silent."""
    network = MemoryGossip()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(go_silent, network, token))
        nursery.start_soon(later, when, partial(stranger, network, token, bucket, key, value))
        await trio.sleep(3)
        with pytest.raises(errors.KairosIntruder):
            await send(network, token, PAYLOAD)
        nursery.cancel_scope.cancel()
    if when == 0.0:
        assert not carries_our_config(network, token)


@pytest.mark.parametrize("seed", range(20))
async def test_a_stranger_who_has_waited_for_long_stops_a_sender(
    token: nettoken.NetworkToken, seed: int, quick_clock: Clock
) -> None:
    """Our rise takes its presence away for a moment: the config waits until it is back."""
    network = MemoryGossip(seed=seed)
    async with (
        go_peer(network, token, seed) as (node, _),
        go_peer(network, token, seed + 100) as (other, _),
    ):
        await trio.sleep(30)
        node.block = other.block = replace(node.block, index=500)
        with pytest.raises(errors.KairosIntruder):
            await send(network, token, PAYLOAD)
        assert not carries_our_config(network, token)


def carries_our_config(network: MemoryGossip, token: nettoken.NetworkToken) -> bool:
    return any(
        "käthe" in block.values("pairing").get("data", "") for block in blocks_said(network, token)
    )


async def later(when: float, job: Callable[[], Any]) -> None:
    await trio.sleep(when)
    await job()


async def test_without_a_stranger_the_same_is_sent(
    token: nettoken.NetworkToken, quick_clock: Clock
) -> None:
    """The positive control of the two tests beside it."""
    network = MemoryGossip()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_receive, network, token)
        await trio.sleep(3)
        sent = await send(network, token, PAYLOAD)
    assert sent.acknowledged
    assert carries_our_config(network, token)


async def test_a_stranger_stops_a_receiver(
    token: nettoken.NetworkToken, quick_clock: Clock
) -> None:
    network = MemoryGossip()
    async with trio.open_nursery() as nursery:
        for seed in (1, 2):
            nursery.start_soon(partial(go_silent, network, token, seed))
        with pytest.raises(errors.KairosIntruder):
            await receive(network, token)
        nursery.cancel_scope.cancel()


async def test_a_config_that_is_changed_after_we_took_it(
    token: nettoken.NetworkToken, quick_clock: Clock
) -> None:
    """The config is there at once, but its receiver says while it lingers that it was changed."""
    network = MemoryGossip()

    async def changes_its_mind() -> None:
        async with go_peer(network, token, 5) as (peer, _):
            await peer.add("pairing", "data", GO_TEXT)
            await trio.sleep(8)
            await peer.add("pairing", "data", GO_TEXT.replace("n1", "n2"))
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(changes_its_mind)
        nobody_told = True
        with pytest.RaisesGroup(errors.KairosIntruder):
            async with trio.open_nursery() as node:
                got = await node.start(receive, network, token)
                assert got == PAYLOAD
                await trio.sleep(60)
                nobody_told = False
        assert nobody_told
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("value", ["no JSON", '"text"', '{"cc": 5}', "{}"])
async def test_what_is_no_config_is_named(
    token: nettoken.NetworkToken, value: str, quick_clock: Clock
) -> None:
    network = MemoryGossip()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_send, network, token, value)
        with pytest.raises(errors.KairosPayloadInvalid):
            await receive(network, token)
        nursery.cancel_scope.cancel()


async def test_a_second_attempt_after_one_that_was_stopped(
    token: nettoken.NetworkToken, quick_clock: Clock
) -> None:
    """Whoever gives up takes itself out of the ledger; else it would be a third party."""
    network = MemoryGossip()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(go_silent, network, token))
        with trio.move_on_after(4):
            await send(network, token, PAYLOAD)
        await trio.sleep(1)
        assert "data" not in blocks_said(network, token)[-1].values("pairing")
        sent = await send(network, token, PAYLOAD)
        assert not sent.acknowledged
        nursery.cancel_scope.cancel()


async def test_rubbish_does_not_disturb(token: nettoken.NetworkToken, quick_clock: Clock) -> None:
    network = MemoryGossip()
    names = names_at(token, 0)

    async def noise() -> None:
        chance = random.Random(1)
        async with network.joining(token, names=lambda: names) as gossip:
            while True:
                await gossip.publish(names.topic, chance.randbytes(chance.randrange(200)))
                junk = sealing.seal(chance.randbytes(50), names.seal_key, chance.randbytes(12))
                await gossip.publish(names.topic, junk)
                await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(noise)
        nursery.start_soon(receive, network, token)
        assert (await send(network, token, PAYLOAD)).acknowledged
        nursery.cancel_scope.cancel()


async def test_a_huge_index_of_somebody_with_the_photo_is_not_believed(
    token: nettoken.NetworkToken, quick_clock: Clock
) -> None:
    """Stock peers take it, and are deaf from then on (the control)."""
    network = MemoryGossip()
    names = names_at(token, 0)
    async with trio.open_nursery() as nursery, go_peer(network, token, 1) as (peer, _):
        nursery.start_soon(freeze, network, token)
        await trio.sleep(5)
        assert peer.block.index in (2**63 - 1, -(2**63))
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(freeze, network, token)
        nursery.start_soon(receive, network, token)
        assert (await send(network, token, PAYLOAD)).acknowledged
        nursery.cancel_scope.cancel()
    assert names.topic in {heard.topic for heard in network.said}


async def freeze(network: MemoryGossip, token: nettoken.NetworkToken) -> None:
    names = names_at(token, 0)
    async with network.joining(token, names=lambda: names) as gossip:
        peer = GoPeer(gossip, token, random.Random(3))
        peer.block = type(peer.block)(2**63 - 1, "", {}, "not-a-hash")
        while True:
            await peer.say()
            await trio.sleep(0.5)


@pytest.mark.parametrize("has_photo", [False, True])
async def test_who_repeats_what_he_cannot_read_stops_nobody(
    token: nettoken.NetworkToken, has_photo: bool, quick_clock: Clock
) -> None:
    """On a LAN anybody can follow the topic. With the photo he seals anew (the control)."""
    network, names = MemoryGossip(), names_at(token, 0)

    async def parrot() -> None:
        async with network.joining(token, names=lambda: names) as gossip:
            await gossip.follow([names.topic])
            chance = random.Random(1)
            while True:
                heard = await gossip.receive()
                data = heard.data
                if has_photo:
                    plain = sealing.unseal(data, [names.seal_key])
                    data = sealing.seal(plain, names.seal_key, chance.randbytes(12))
                await gossip.publish(names.topic, data)
                await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(parrot)
        nursery.start_soon(go_receive, network, token)
        await trio.sleep(3)
        if has_photo:
            with pytest.raises(errors.KairosIntruder):
                await send(network, token, PAYLOAD)
        else:
            assert (await send(network, token, PAYLOAD)).acknowledged
        nursery.cancel_scope.cancel()


def test_what_is_remembered_of_a_flood_is_bounded(
    token: nettoken.NetworkToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authors, "REMEMBERED", 500)
    names = names_at(token, 0)
    party = Sender(
        token, "me", "{}", 0.0, 0.0, secrets.token_bytes, wait_seconds=60, ack_seconds=60
    )
    party.tick(0.0, 0.0)
    plain = blocktext.to_bytes(Block(0, "", {}))
    for number in range(1000):
        data = sealing.seal(plain, names.seal_key, number.to_bytes(12, "big"))
        assert party.heard(names.topic, data, "node", 1.0) == []
    assert len(party._authors) == 500
    assert party.others == {"node"}


def test_what_is_said_while_a_code_is_shown_is_not_forgotten(
    token: nettoken.NetworkToken,
) -> None:
    """Whoever comes and goes makes a node speak; without the photo he can only say that again."""
    names, chance = names_at(token, 0), random.Random(1).randbytes
    party = Receiver(token, "node", 0.0, 0.0, chance, wait_seconds=7200)
    (first,) = [e for e in party.tick(0.0, 0.0) if isinstance(e, Publish)]
    now = 0.0
    for _ in range(1500):
        now += SPACING
        party.joined("parrot", now)
        assert [e for e in party.tick(now, 0.0) if isinstance(e, Publish)]
    assert party.heard(names.topic, first.data, "parrot", now) == []
    assert party.others == set()
    assert REMEMBERED * SPACING > 2 * WINDOW_SECONDS


@pytest.mark.parametrize("author", ["node", "another member"])
def test_in_a_network_that_lives_on_only_the_nodes_own_word_counts(author: str) -> None:
    """There many speak, and each says the whole ledger. The control is the node itself."""
    token = nettoken.fresh(secrets.token_bytes, rotate_seconds=3600)
    names, random_bytes = names_at(token, 0), random.Random(1).randbytes
    party = Sender(token, "me", "{}", 0.0, 0.0, random_bytes, wait_seconds=60, ack_seconds=60)
    party.tick(0.0, 0.0)

    def hear(sender: str, pairing: dict[str, str]) -> list[Effect]:
        values = {key: Entry(value) for key, value in pairing.items()}
        block = Block(50, "", {"presence": {"node": Entry('""')}, "pairing": values})
        data = sealing.seal(blocktext.to_bytes(block), names.seal_key, random_bytes(12))
        return party.heard(names.topic, data, sender, 1.0)

    assert hear("another member", {}) == [Met("node")]
    answer = hear(author, {"data": "{}", "node": '"ok"'})
    assert answer == ([Delivered("node"), Acknowledged("node")] if author == "node" else [])


@pytest.mark.parametrize("rotates", [None, 3600])
@pytest.mark.parametrize("bucket", ["presence", "pairing", ""])
def test_a_third_one_of_whom_only_the_node_tells(bucket: str, rotates: int | None) -> None:
    """He is connected with the node and not with us: two presences beside ours, or two answers.

    The control is the same without him.
    """
    token = nettoken.fresh(secrets.token_bytes, rotate_seconds=rotates)
    names, random_bytes = names_at(token, 0), random.Random(1).randbytes
    party = Sender(token, "me", "{}", 0.0, 0.0, random_bytes, wait_seconds=60, ack_seconds=60)
    party.tick(0.0, 0.0)
    told: list[Effect] = []
    for more in ({}, {bucket: {"third": Entry('""')}} if bucket else {}):
        storage = {"presence": {"node": Entry('""')}} | more
        block = Block(50, "", storage)
        data = sealing.seal(blocktext.to_bytes(block), names.seal_key, random_bytes(12))
        told += party.heard(names.topic, data, "node", 1.0)
    assert told[0] == Met("node")
    stopped = [e.error for e in told if isinstance(e, Failed)]
    assert [type(error) for error in stopped] == ([errors.KairosIntruder] if bucket else [])
