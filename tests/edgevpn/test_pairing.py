"""Whole pairings over Kairos' protocol, in memory and virtual time: ours, and with stock peers."""

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
from pairing.edgevpn import nettoken, sealing
from pairing.edgevpn.names import Names, names_at
from pairing.edgevpn.payload import Payload, from_json
from pairing.edgevpn.sender import Sender, height_at
from pairing.edgevpn.session import Progress, Sent, receive, send
from pairing.testing.gopeer import GoPeer, blocks_said, go_peer, go_receive, go_send, go_silent
from pairing.testing.gossip import MemoryGossip, MemoryPlace

CONFIG = '#cloud-config\nhostname: "n1"\nusers: [{name: käthe}]\n'
PAYLOAD = Payload(CONFIG, "/dev/sda")
GO_TEXT = json.dumps({"cc": CONFIG, "device": "/dev/sda"})
Clock = trio.testing.MockClock


@pytest.fixture
def token() -> nettoken.NetworkToken:
    return nettoken.fresh(secrets.token_bytes)


async def keep(results: list[Any], job: Callable[[], Any]) -> None:
    results.append(await job())


async def both(
    one: Callable[[], Any], two: Callable[[], Any], *, later: float = 0.0
) -> tuple[Any, Any]:
    """Two jobs side by side, the second one later; their results."""
    first: list[Any] = []
    second: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, first, one)
        await trio.sleep(later)
        nursery.start_soon(keep, second, two)
    return first[0], second[0]


NETWORKS = [
    pytest.param({}, id="good"),
    pytest.param({"latency": 0.4, "jitter": 1.0, "repeats": 0.5}, id="slow, overtaking, repeating"),
    pytest.param({"loss": 0.3}, id="losing"),
]


@pytest.mark.parametrize("faults", NETWORKS)
@pytest.mark.parametrize("later", [0.0, 40.0])
async def test_ours_with_ours(
    token: nettoken.NetworkToken, faults: Any, later: float, quick_clock: Clock
) -> None:
    network = MemoryGossip(**faults)
    progress: list[Progress] = []
    got, sent = await both(
        partial(receive, network, token),
        partial(send, network, token, PAYLOAD, on_event=progress.append),
        later=later,
    )
    assert got == PAYLOAD
    assert isinstance(sent, Sent)
    assert sent.acknowledged
    steps = [*Progress]
    if "loss" in faults or "jitter" in faults:
        progress += [Progress.DELIVERED] if Progress.DELIVERED not in progress else []
        assert sorted(progress, key=steps.index) == steps
    else:
        assert progress == steps


async def test_ours_with_ours_takes_no_polls(
    token: nettoken.NetworkToken, quick_clock: Clock
) -> None:
    """Virtual seconds: there is no wait in it but for messages."""
    network = MemoryGossip()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive, network, token)
        await trio.sleep(20)
        began = trio.current_time()
        assert (await send(network, token, PAYLOAD)).acknowledged
        assert trio.current_time() - began < 2


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
async def test_we_send_to_a_stock_node(
    token: nettoken.NetworkToken, seed: int, old: bool, quick_clock: Clock
) -> None:
    network = MemoryGossip(seed=seed)
    received, sent = await both(
        partial(go_receive, network, token, seed, old=old),
        partial(send, network, token, PAYLOAD),
        later=seed * 1.7,
    )
    assert from_json(received) == PAYLOAD
    assert isinstance(sent, Sent)


async def seconds_to_meet(token: nettoken.NetworkToken, seed: int, unix: float) -> float:
    """Until we have met a stock node that waited, and wrote block after block, for an hour."""
    network = MemoryGossip(seed=seed)
    met: list[float] = []

    def progress(now: Progress) -> None:
        met.extend([trio.current_time()] if now is Progress.MET else [])

    async with go_peer(network, token, seed) as (peer, nursery):
        await trio.sleep(20)
        peer.block = replace(peer.block, index=121)
        began = trio.current_time()
        job = partial(send, network, token, PAYLOAD, clock=lambda: unix, on_event=progress)
        nursery.start_soon(job)
        while not met:  # noqa: ASYNC110 (virtual time)
            await trio.sleep(0.1)
        return met[0] - began


@pytest.mark.parametrize("seed", range(12))
async def test_a_node_that_has_waited_for_an_hour_is_met_soon(
    token: nettoken.NetworkToken, seed: int, quick_clock: Clock
) -> None:
    assert await seconds_to_meet(token, seed, 1_800_000_000) < 7


async def test_from_below_it_takes_until_it_repeats_itself(
    token: nettoken.NetworkToken, quick_clock: Clock
) -> None:
    """The control, and a sender whose clock is wrong: slower, but it works."""
    assert max([await seconds_to_meet(token, seed, 0) for seed in range(12)]) > 8


def test_a_network_that_lives_on_is_not_overruled() -> None:
    """There all members would have to say again what they had written."""
    fresh = partial(nettoken.fresh, random.Random(1).randbytes)
    now = 1_800_000_000.0
    heights = []
    for rotate in (None, 3600):
        party = Sender(
            fresh(rotate_seconds=rotate), "us", "", 0.0, now, random.Random(1).randbytes,
            wait_seconds=9, ack_seconds=9,
        )  # fmt: skip
        party.joined("silent", 1.0)
        party.tick(1.4, now)
        assert party.ledger.block.index < 10
        party.tick(1.5, now)
        heights.append(party.ledger.block.index)
    assert heights == [height_at(now) + 1, 1]
    assert [height_at(unix) for unix in (0.0, 1_600_000_000.0, 1e12)] == [0, 22_163_200, 2**30]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
async def test_a_stock_sender_sends_to_us(
    token: nettoken.NetworkToken, seed: int, old: bool, quick_clock: Clock
) -> None:
    """It waits for ever if it does not hear our answer: so it must."""
    network = MemoryGossip(seed=seed, loss=0.1 * (seed % 3))
    got, _ = await both(
        partial(receive, network, token),
        partial(go_send, network, token, GO_TEXT, seed, old=old),
        later=seed * 1.7,
    )
    assert got == PAYLOAD


async def test_a_stock_sender_needs_the_time_that_we_linger(
    token: nettoken.NetworkToken, quick_clock: Clock
) -> None:
    """Control: who leaves as soon as it has the config leaves some of them waiting for ever."""
    waiting = 0
    for seed in range(8):
        network = MemoryGossip(seed=seed, loss=0.3)
        with trio.move_on_after(120) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(go_send, network, token, GO_TEXT, seed)
                async with trio.open_nursery() as short:
                    await short.start(receive, network, token)
                    await trio.sleep(0.05)
                    short.cancel_scope.cancel()
        waiting += scope.cancelled_caught
    assert waiting


async def test_the_config_is_there_before_the_answer_was_heard(
    token: nettoken.NetworkToken, quick_clock: Clock
) -> None:
    """A sender that stays hears us for 12 seconds; one that hears nothing, for 40."""
    for adopts, most in ((True, 26.0), (False, 41.0)):
        network = MemoryGossip()
        async with trio.open_nursery() as stock, trio.open_nursery() as nursery:
            stock.start_soon(partial(stays_after_sending, network, token, adopts=adopts))
            got = await nursery.start(receive, network, token)
            assert got == PAYLOAD
            then = trio.current_time()
            while nursery.child_tasks:  # noqa: ASYNC110 (a nursery tells nobody)
                await trio.sleep(0.1)
            assert 12 <= trio.current_time() - then < most
            if not adopts:
                assert trio.current_time() - then > 39
            stock.cancel_scope.cancel()


async def stays_after_sending(
    network: MemoryGossip, token: nettoken.NetworkToken, *, adopts: bool
) -> None:
    """A sender that never leaves. Without `adopts` it is deaf."""
    async with go_peer(network, token, 5) as (peer, nursery):
        await peer.add("pairing", "data", GO_TEXT)
        if not adopts:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.sleep(60)
        await trio.sleep_forever()


# --- names that change ----------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [-30, -7, 0, 7, 30])
@pytest.mark.parametrize("start", [1000, 1029])
async def test_a_token_that_rotates(skew: int, start: int, quick_clock: Clock) -> None:
    """Clocks a window apart, and windows that end meanwhile."""
    token = nettoken.fresh(secrets.token_bytes, rotate_seconds=30)
    network = MemoryGossip()
    got, sent = await both(
        partial(receive, network, token, clock=lambda: start + trio.current_time() % 1e6),
        partial(send, network, token, PAYLOAD, clock=lambda: start + skew + trio.current_time()),
        later=3,
    )
    assert got == PAYLOAD
    assert sent.acknowledged
    topics = {heard.topic for heard in network.said}
    assert names_at(token, start).topic in topics


async def test_clocks_two_windows_apart_do_not_meet(quick_clock: Clock) -> None:
    token = nettoken.fresh(secrets.token_bytes, rotate_seconds=30)
    network = MemoryGossip()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(receive, network, token, clock=lambda: 1000))
        with pytest.raises(errors.KairosNobodyCame):
            await send(network, token, PAYLOAD, clock=lambda: 1061)
        nursery.cancel_scope.cancel()


# --- deadlines --------------------------------------------------------------------------------


async def test_nobody_comes(token: nettoken.NetworkToken, quick_clock: Clock) -> None:
    network = MemoryGossip()
    with pytest.raises(errors.KairosNobodyCame):
        await send(network, token, PAYLOAD, wait_seconds=300)
    assert 300 <= trio.current_time() < 301
    assert not any("data" in block.values("pairing") for block in blocks_said(network, token))


async def test_no_config_comes(token: nettoken.NetworkToken, quick_clock: Clock) -> None:
    with pytest.raises(errors.KairosNobodyCame):
        await receive(MemoryGossip(), token, wait_seconds=600)
    assert 600 <= trio.current_time() < 601


async def test_a_config_that_is_too_large_is_not_begun(
    token: nettoken.NetworkToken, quick_clock: Clock
) -> None:
    network = MemoryGossip()
    with pytest.raises(errors.KairosConfigTooLarge):
        await send(network, token, Payload("x" * 700_000))
    assert not network.said


class Hanging:
    """A network that never lets anybody in."""

    def joining(self, token: nettoken.NetworkToken, *, names: Callable[[], Names]) -> Any:
        class Never:
            async def __aenter__(self) -> MemoryPlace:
                await trio.sleep_forever()
                raise AssertionError

            async def __aexit__(self, *_: object) -> None:
                return

        return Never()


async def test_a_network_that_hangs_ends_too(
    token: nettoken.NetworkToken, quick_clock: Clock
) -> None:
    with pytest.raises(errors.KairosNobodyCame):
        await send(Hanging(), token, PAYLOAD)
    with pytest.raises(errors.KairosNobodyCame):
        await receive(Hanging(), token)


@pytest.mark.parametrize("leaves", [0.5, 30.0, None])
async def test_delivered_and_not_acknowledged(
    token: nettoken.NetworkToken, leaves: float | None, quick_clock: Clock
) -> None:
    network = MemoryGossip()
    progress: list[Progress] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(go_silent, network, token, leaves=leaves))
        sent = await send(network, token, PAYLOAD, ack_seconds=60, on_event=progress.append)
        nursery.cancel_scope.cancel()
    assert not sent.acknowledged
    assert progress[-1] is Progress.DELIVERED
    assert trio.current_time() < (20 if leaves == 0.5 else 75)


async def test_gone_with_it_before_its_ledger_was_heard(
    token: nettoken.NetworkToken, quick_clock: Clock
) -> None:
    """A stock node leaves a second after it has the config; all its last words can be lost."""
    network = MemoryGossip()

    async def shows_itself_and_leaves() -> None:
        names = names_at(token, 0)
        async with network.joining(token, names=lambda: names) as gossip:
            await gossip.follow([names.topic])
            peer = GoPeer(gossip, token, random.Random(1))
            await trio.sleep(2)
            await peer.add("presence", gossip.own_id, '""')
            await trio.sleep(3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shows_itself_and_leaves)
        sent = await send(network, token, PAYLOAD, ack_seconds=60)
    assert not sent.acknowledged
    assert trio.current_time() < 12


async def test_sent_and_never_seen_again(token: nettoken.NetworkToken, quick_clock: Clock) -> None:
    """It showed itself once, and its ledger never had our config."""
    network = MemoryGossip()

    async def shows_itself_once() -> None:
        names = names_at(token, 0)
        async with network.joining(token, names=lambda: names) as gossip:
            await gossip.follow([names.topic])
            peer = GoPeer(gossip, token, random.Random(1))
            await trio.sleep(2)
            await peer.add("presence", gossip.own_id, '""')
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shows_itself_once)
        with pytest.raises(errors.KairosNoAnswer):
            await send(network, token, PAYLOAD, ack_seconds=60)
        nursery.cancel_scope.cancel()
    assert 60 <= trio.current_time() < 65


async def test_a_network_that_hangs_while_we_speak_stops_no_deadline(
    token: nettoken.NetworkToken, monkeypatch: pytest.MonkeyPatch, quick_clock: Clock
) -> None:
    async def never(_place: MemoryPlace, _topic: str, _data: bytes) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(MemoryPlace, "publish", never)
    with pytest.raises(errors.KairosNobodyCame) as told:
        await send(MemoryGossip(), token, PAYLOAD, wait_seconds=100)
    assert 100 <= trio.current_time() < 110
    assert told.value.detail == ""


async def test_what_could_not_be_read_is_told_in_the_end(
    token: nettoken.NetworkToken, quick_clock: Clock
) -> None:
    """Somebody is there, with another key: a machine that was restarted, or another program."""
    network, names = MemoryGossip(), names_at(token, 0)

    async def speaks_otherwise() -> None:
        async with network.joining(token, names=lambda: names) as gossip:
            await trio.sleep(5)
            await gossip.publish(names.topic, sealing.seal(b"x", b"k" * 32, b"n" * 12))
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(speaks_otherwise)
        with pytest.raises(errors.KairosNobodyCame, match="1 message"):
            await send(network, token, PAYLOAD, wait_seconds=20)
        nursery.cancel_scope.cancel()
