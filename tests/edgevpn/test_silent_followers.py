"""Who follows the topic and says nothing: a stock node that has waited, a stranger, a passer-by."""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
import trio
import trio.testing

from pairing import errors
from pairing.edgevpn import blocktext, nettoken, sealing
from pairing.edgevpn.exchange import Effect, Failed, Met, Publish
from pairing.edgevpn.ledger import STAND_IN, Block, Entry, Ledger
from pairing.edgevpn.names import names_at
from pairing.edgevpn.payload import Payload
from pairing.edgevpn.sender import PATIENCE_SECONDS, SETTLE_SECONDS, SILENT_SECONDS, Sender
from pairing.edgevpn.session import receive, send
from pairing.testing.gopeer import GoPeer, go_peer, go_receive
from pairing.testing.gossip import MemoryGossip

PAYLOAD = Payload('#cloud-config\nhostname: "n1"\n', "/dev/sda")
TOKEN = nettoken.fresh(random.Random(1).randbytes)
NAMES = names_at(TOKEN, 0)
UNIX = 1_800_000_000.0
Clock = trio.testing.MockClock


class Operator:
    """A sender, what it did, and its clock."""

    def __init__(self) -> None:
        self.now, self.done = 0.0, list[Effect]()
        self._chance = random.Random(2)
        self.party = Sender(
            TOKEN, "us", "{}", 0.0, 0.0, self._chance.randbytes, wait_seconds=60, ack_seconds=60
        )

    def until(self, when: float) -> None:
        """Time passes."""
        while self.now < when:
            self.now = min(when, self.now + 0.1)
            self.done += self.party.tick(self.now, UNIX + self.now)

    def joined(self, *peers: str) -> None:
        for peer in peers:
            self.done += self.party.joined(peer, self.now)

    def hears(self, peer: str, index: int = 1, present: Sequence[str] = ()) -> None:
        """A block of `peer` with its presence and others'."""
        storage = {"presence": {name: Entry('""') for name in (peer, *present)}}
        plain = blocktext.to_bytes(Block(index, "", storage))
        data = sealing.seal(plain, NAMES.seal_key, self._chance.randbytes(12))
        self.done += self.party.heard(names_at(TOKEN, 0).topic, data, peer, self.now)

    @property
    def met(self) -> list[str]:
        return [effect.peer for effect in self.done if isinstance(effect, Met)]

    def said(self) -> Block:
        """Its last block."""
        data = [effect.data for effect in self.done if isinstance(effect, Publish)][-1]
        return blocktext.from_bytes(sealing.unseal(data, [NAMES.seal_key]))


def test_who_speaks_first_is_not_met_while_another_one_is_silent() -> None:
    """The control is the same without the other one."""
    for others in ((), ("silent",)):
        operator = Operator()
        operator.joined("node", *others)
        operator.until(0.2)
        operator.hears("node")
        assert operator.met == ([] if others else ["node"])
    operator.until(SILENT_SECONDS + 0.4)
    assert operator.said().index > 1000
    operator.hears("silent", operator.said().index + 1, ["node"])
    assert [type(e.error) for e in operator.done if isinstance(e, Failed)] == [
        errors.KairosIntruder
    ]
    assert not operator.met


def test_who_stays_silent_though_spoken_to_takes_no_part() -> None:
    operator = Operator()
    operator.joined("node", "passer-by")
    operator.until(0.2)
    operator.hears("node")
    operator.until(SILENT_SECONDS + SETTLE_SECONDS - 0.1)
    assert not operator.met
    operator.until(SILENT_SECONDS + SETTLE_SECONDS + 0.3)
    assert operator.met == ["node"]


def test_passers_by_do_not_put_the_meeting_off_for_ever() -> None:
    """Whoever has no token can come again under another name, every moment."""
    operator = Operator()
    operator.joined("node", "0")
    operator.until(0.2)
    operator.hears("node")
    for number in range(1, 200):
        operator.until(operator.now + 0.3)
        operator.done += operator.party.left(str(number - 1), operator.now)
        operator.joined(str(number))
        if operator.met:
            break
    assert operator.met == ["node"]
    assert PATIENCE_SECONDS <= operator.now < PATIENCE_SECONDS + 1
    kept = operator.said().storage["presence"]
    assert len(kept) < 5


def test_who_was_silent_and_left_is_not_waited_for() -> None:
    operator = Operator()
    operator.joined("node", "passer-by")
    operator.until(0.2)
    operator.hears("node")
    operator.done += operator.party.left("passer-by", operator.now)
    operator.until(0.4)
    assert operator.met == ["node"]


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
async def test_no_stock_node_misses_its_look_because_we_overrule_it(
    old: bool, quick_clock: Clock
) -> None:
    """It looks every ten seconds whether two are there. Whenever we come, the next look sees
    both, but for the first second: we keep its place in the block that overrules its own."""
    longest = 0.0
    for seed in range(24):
        network, token = MemoryGossip(seed=seed), nettoken.fresh(secrets.token_bytes)
        async with go_peer(network, token, seed, old=old) as (node, nursery):
            nursery.start_soon(starve, node)
            looked = trio.Event()
            nursery.start_soon(look, node, looked)
            await trio.sleep(15 + seed * 10 / 24)
            began = trio.current_time()
            nursery.start_soon(partial(send, network, token, PAYLOAD, clock=lambda: UNIX))
            await looked.wait()
            longest = max(longest, trio.current_time() - began)
            nursery.cancel_scope.cancel()
    assert longest < 10 + 1


async def starve(node: GoPeer) -> None:
    """It has waited for an hour: nobody's blocks reach its height."""
    await trio.sleep(12)
    node.block = replace(node.block, index=121)


async def look(node: GoPeer, looked: trio.Event) -> None:
    await node.two_present()
    looked.set()


async def test_a_place_kept_for_a_node_is_no_third_party(quick_clock: Clock) -> None:
    """A passer-by follows the topic all the time, at our node and at our operator."""
    network, token = MemoryGossip(), nettoken.fresh(secrets.token_bytes)
    names = names_at(token, 0)
    async with (
        network.joining(token, names=lambda: names) as passer_by,
        trio.open_nursery() as nursery,
    ):
        await passer_by.follow([names.topic])
        nursery.start_soon(receive, network, token)
        await trio.sleep(20)
        assert (await send(network, token, PAYLOAD, clock=lambda: UNIX)).acknowledged


@pytest.mark.parametrize("ours", [True, False], ids=["our node", "stock node"])
async def test_a_rerun_after_one_that_was_stopped_before_it_sent(
    ours: bool, quick_clock: Clock
) -> None:
    """It had met the node already: its second name is no third party."""
    network, token = MemoryGossip(), nettoken.fresh(secrets.token_bytes)
    names = names_at(token, 0)
    async with (
        network.joining(token, names=lambda: names) as passer_by,
        trio.open_nursery() as nursery,
    ):
        await passer_by.follow([names.topic])
        nursery.start_soon(partial(receive if ours else go_receive, network, token))
        await trio.sleep(5)
        with trio.move_on_after(2) as stopped:
            await send(network, token, PAYLOAD, clock=lambda: UNIX)
        assert stopped.cancelled_caught
        await trio.sleep(0.5)
        sent = await send(network, token, PAYLOAD, clock=lambda: UNIX)
        assert sent.acknowledged or not ours


async def test_who_vanishes_without_taking_itself_out_is_not_forgotten(
    quick_clock: Clock,
) -> None:
    """The control of the test before, and of what makes a third party one."""
    network, token = MemoryGossip(), nettoken.fresh(secrets.token_bytes)
    async with go_peer(network, token, 1), trio.open_nursery() as nursery:
        nursery.start_soon(failing_with, errors.KairosIntruder, network, token)
        await trio.sleep(5)
        async with go_peer(network, token, 2):
            await trio.sleep(5)


async def failing_with(
    kind: type[errors.KnownError], network: MemoryGossip, token: nettoken.NetworkToken
) -> None:
    with pytest.raises(kind):
        await receive(network, token)


def test_a_stand_in_yields_to_any_other_value_and_is_taken_back() -> None:
    ours, theirs = Ledger(0.0), Ledger(0.0)
    ours.stand_in("presence", "node", 0.0)
    theirs.write("presence", "node", '""', 0.0)
    height = max(ours.block.index, theirs.block.index)
    for wins in ("0", "f"):
        ledger = Ledger(0.0)
        ledger.block = replace(ours.block, index=height, hash=wins * 64)
        ledger.hear(replace(theirs.block, index=height, hash="8" * 64), 0.0)
        assert ledger.block.values("presence") == {"node": '""'}
    assert ours.block.values("presence") == {"node": STAND_IN}
    assert ours.withdraw(0.0)
    assert ours.block.values("presence") == {}
    ours.stand_in("presence", "node", 0.0)
    ours.take_back("presence", "node", 0.0)
    assert ours.block.values("presence") == {}


async def test_only_who_has_the_token_is_vouched_for(quick_clock: Clock) -> None:
    """A parrot says again what it cannot read, under its own name; the operator speaks itself."""
    network, token = MemoryGossip(), nettoken.fresh(secrets.token_bytes)
    names = names_at(token, 0)
    async with (
        network.joining(token, names=lambda: names) as parrot,
        trio.open_nursery() as nursery,
    ):
        await parrot.follow([names.topic])

        async def repeat() -> None:
            while True:
                await parrot.publish(names.topic, (await parrot.receive()).data)

        nursery.start_soon(repeat)
        nursery.start_soon(receive, network, token)
        await trio.sleep(5)
        (node,) = [place for place in network._places if place is not parrot]
        assert node.vouched == set()
        assert (await send(network, token, PAYLOAD, clock=lambda: UNIX)).acknowledged
        assert len(node.vouched) == 1
        assert parrot.own_id not in node.vouched
        nursery.cancel_scope.cancel()
