"""Both ends as state machines: any order of messages, losses, repetitions, partings and clocks."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pairing import errors
from pairing.edgevpn import blocktext, nettoken, sealing
from pairing.edgevpn.exchange import (
    ENDS,
    Acknowledged,
    Delivered,
    Effect,
    Failed,
    Finished,
    Follow,
    Met,
    NotAcknowledged,
    Party,
    Publish,
    Received,
)
from pairing.edgevpn.ledger import Block, Entry
from pairing.edgevpn.names import names_at
from pairing.edgevpn.payload import Payload, to_json
from pairing.edgevpn.receiver import LINGER_MOST, LINGER_SECONDS, Receiver
from pairing.edgevpn.sender import Sender

PAYLOAD = Payload("#cloud-config\nhostname: n1\n", "/dev/sda")
TEXT = to_json(PAYLOAD)
TOKEN = nettoken.fresh(random.Random(1).randbytes)
NAMES = names_at(TOKEN, 0)
WAIT, ACK = 300.0, 60.0


def opened(data: bytes) -> Block:
    return blocktext.from_bytes(sealing.unseal(data, [NAMES.seal_key]))


class End:
    """One end, all it ever did, and what it hears."""

    def __init__(self, name: str, party: Party) -> None:
        self.name, self.party = name, party
        self.done: list[Effect] = []
        self.inbox: list[Publish] = []
        self.times: dict[type[Effect], float] = {}

    def kinds(self) -> list[type[Effect]]:
        return [type(effect) for effect in self.done]

    @property
    def error(self) -> errors.KnownError | None:
        return next((e.error for e in self.done if isinstance(e, Failed)), None)


class Pairing(RuleBasedStateMachine):
    """No stranger here: nothing that a network does may look like one, or lose what counts."""

    def __init__(self) -> None:
        super().__init__()
        self.now, chance = 0.0, random.Random(2).randbytes
        sender = Sender(TOKEN, "sender", TEXT, 0.0, 0.0, chance, wait_seconds=WAIT, ack_seconds=ACK)
        receiver = Receiver(TOKEN, "receiver", 0.0, 0.0, chance, wait_seconds=WAIT)
        self.sender, self.receiver = End("sender", sender), End("receiver", receiver)
        self.together = True
        for end in (self.sender, self.receiver):
            self.take(end, end.party.tick(0.0, 0.0))

    def other(self, end: End) -> End:
        return self.receiver if end is self.sender else self.sender

    def take(self, end: End, effects: list[Effect]) -> None:
        was_over = bool(set(end.kinds()) & set(ENDS))
        assert not (was_over and effects), "something after the end"
        for effect in effects:
            end.done.append(effect)
            end.times.setdefault(type(effect), self.now)
            if isinstance(effect, Publish) and self.together:
                self.other(end).inbox.append(effect)

    def ends(self, which: bool) -> End:
        return self.sender if which else self.receiver

    @rule(seconds=st.sampled_from([0.1, 0.1, 0.5, 1.0, 3.0, 13.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for end in (self.sender, self.receiver):
            self.take(end, end.party.tick(self.now, self.now))

    @rule(which=st.booleans(), place=st.integers(0), keep=st.booleans())
    def a_message_arrives(self, which: bool, place: int, keep: bool) -> None:
        end = self.ends(which)
        if not end.inbox:
            return
        place %= len(end.inbox)
        message = end.inbox[place] if keep else end.inbox.pop(place)
        sender = self.other(end).name
        self.take(end, end.party.heard(message.topic, message.data, sender, self.now))

    @rule(which=st.booleans())
    def all_arrive(self, which: bool) -> None:
        end = self.ends(which)
        while end.inbox:
            message = end.inbox.pop(0)
            sender = self.other(end).name
            self.take(end, end.party.heard(message.topic, message.data, sender, self.now))

    @rule(rounds=st.integers(1, 6))
    def a_good_while(self, rounds: int) -> None:
        for _ in range(rounds):
            self.time_passes(0.3)
            self.all_arrive(True)
            self.all_arrive(False)

    @rule(which=st.booleans())
    def all_is_lost(self, which: bool) -> None:
        self.ends(which).inbox.clear()

    @rule()
    @precondition(lambda self: self.together)
    def they_part(self) -> None:
        self.together = False
        for end in (self.sender, self.receiver):
            self.take(end, end.party.left(self.other(end).name, self.now))

    @rule()
    @precondition(lambda self: not self.together)
    def they_meet(self) -> None:
        self.together = True
        for end in (self.sender, self.receiver):
            self.take(end, end.party.joined(self.other(end).name, self.now))

    @rule(which=st.booleans(), data=st.binary(max_size=50))
    def rubbish_arrives(self, which: bool, data: bytes) -> None:
        end = self.ends(which)
        assert end.party.heard(NAMES.topic, data, "noise", self.now) == []

    @invariant()
    def nobody_is_taken_for_an_intruder(self) -> None:
        for end in (self.sender, self.receiver):
            assert not isinstance(end.error, errors.KairosIntruder | errors.KairosPayloadInvalid)

    @invariant()
    def the_config_is_said_only_after_the_meeting(self) -> None:
        kinds = self.sender.kinds()
        before = kinds.index(Met) if Met in kinds else len(kinds)
        for effect in self.sender.done[:before]:
            if isinstance(effect, Publish):
                assert "data" not in opened(effect.data).values("pairing")

    @invariant()
    def what_is_reported_is_true(self) -> None:
        sent, got = self.sender.kinds(), self.receiver.kinds()
        if Delivered in sent or Acknowledged in sent or NotAcknowledged in sent:
            assert Received in got
        if NotAcknowledged in sent:
            assert Delivered in sent
        for effect in self.receiver.done:
            if isinstance(effect, Received):
                assert (effect.payload, effect.sender) == (PAYLOAD, "sender")
        for kinds in (sent, got):
            for kind in set(kinds) - {Publish, Follow}:
                assert kinds.count(kind) == 1

    @invariant()
    def everything_ends(self) -> None:
        sender, receiver = self.sender, self.receiver
        if self.now > WAIT + ACK + 30:
            assert set(sender.kinds()) & set(ENDS)
        if self.now > WAIT + LINGER_MOST + 30:
            assert set(receiver.kinds()) & set(ENDS)

    @invariant()
    def an_answer_is_given_time(self) -> None:
        times = self.receiver.times
        if Finished in times and times[Finished] - times[Received] < LINGER_SECONDS:
            answered = [
                e for e in self.sender.done
                if isinstance(e, Publish) and "receiver" in opened(e.data).values("pairing")
            ]  # fmt: skip
            assert answered, "left although the sender had not shown that it heard"


TestPairing: Any = Pairing.TestCase
TestPairing.settings = settings(stateful_step_count=50)


# --- with a stranger ----------------------------------------------------------------------------


class Strange(Pairing):
    """Somebody with the photo says anything: never believed, unless nobody else is there."""

    knows_the_config = False

    @rule(
        which=st.booleans(),
        index=st.integers(0, 30),
        keys=st.dictionaries(
            st.tuples(
                st.sampled_from(["presence", "pairing"]),
                st.sampled_from(["sender", "receiver", "stranger", "data"]),
            ),
            st.sampled_from(['""', '"ok"', TEXT, '{"cc":"#cloud-config\\n"}', "x"]),
            max_size=4,
        ),
    )
    def the_stranger_speaks(self, which: bool, index: int, keys: dict[Any, str]) -> None:
        end = self.ends(which)
        self.knows_the_config |= keys.get(("pairing", "data")) == TEXT
        storage: dict[str, dict[str, Entry]] = {}
        for (bucket, key), value in keys.items():
            storage.setdefault(bucket, {})[key] = Entry(value)
        block = Block(index, "", storage, "f" * 64)
        data = sealing.seal(blocktext.to_bytes(block), NAMES.seal_key, b"n" * 12)
        before = end.party.others | {"stranger"}
        was_over = end.party.over
        effects = end.party.heard(NAMES.topic, data, "stranger", self.now)
        self.take(end, effects)
        if not was_over and len(before) > 1:
            assert isinstance(end.error, errors.KairosIntruder)
            assert Acknowledged not in {type(effect) for effect in effects}

    @invariant()
    def the_config_is_said_only_after_the_meeting(self) -> None:
        if not self.knows_the_config:
            super().the_config_is_said_only_after_the_meeting()

    @invariant()
    def nobody_is_taken_for_an_intruder(self) -> None:
        return

    @invariant()
    def what_is_reported_is_true(self) -> None:
        """An answer counts only as the word of the one that the config went to."""
        met = [e.peer for e in self.sender.done if isinstance(e, Met)]
        for effect in self.sender.done:
            if isinstance(effect, Acknowledged | Delivered | NotAcknowledged):
                assert [effect.peer] == met

    @invariant()
    def an_answer_is_given_time(self) -> None:
        return

    @invariant()
    def the_stranger_is_never_sent_to(self) -> None:
        for effect in self.sender.done:
            if isinstance(effect, Met) and effect.peer == "stranger":
                assert self.sender.party.others >= {"stranger"}


TestStrange: Any = Strange.TestCase
TestStrange.settings = settings(stateful_step_count=40)


def test_a_stock_peer_would_have_believed_the_stranger() -> None:
    """Control: at the sender's height and with its own hash the forged answer is in the ledger."""
    party = Sender(
        TOKEN, "sender", TEXT, 0.0, 0.0, random.Random(1).randbytes,
        wait_seconds=WAIT, ack_seconds=ACK,
    )  # fmt: skip
    party.tick(0.0, 0.0)
    block = party.ledger.block
    forged = replace(
        block,
        index=block.index + 1,
        storage={"presence": {"node": Entry('""')}, "pairing": {"node": Entry('"ok"')}},
    )
    data = sealing.seal(blocktext.to_bytes(forged), NAMES.seal_key, b"n" * 12)
    party.ledger.hear(forged, 0.0)
    assert "node" in party.ledger.block.values("pairing")
    effects = party.heard(NAMES.topic, data, "stranger", 1.0)
    assert any(isinstance(e, Failed) for e in effects)
    assert Acknowledged not in {type(effect) for effect in effects}


def new_sender() -> Sender:
    """It has said that it is there."""
    party = Sender(
        TOKEN, "sender", TEXT, 0.0, 0.0, random.Random(1).randbytes,
        wait_seconds=WAIT, ack_seconds=ACK,
    )  # fmt: skip
    party.tick(0.0, 0.0)
    return party


def sender_that_met() -> Sender:
    """At second 0.5: the node has shown itself; our config is said next."""
    party = new_sender()
    said(party, 0.5, {"presence": {"node": Entry('""')}})
    return party


def sender_that_delivered() -> Sender:
    """At second 1: the node has our config, has not answered, and is gone."""
    party = sender_that_met()
    effects = said(
        party, 0.6, {"presence": {"node": Entry('""')}, "pairing": {"data": Entry(TEXT)}}
    )
    assert effects == [Delivered("node")]
    party.left("node", 1.0)
    return party


def test_a_node_that_got_it_and_left_has_it() -> None:
    party = sender_that_met()
    party.reached(["node"])  # Before it was said: means nothing.
    assert any(isinstance(e, Publish) for e in party.tick(0.7, 0.7))
    other = sender_that_met()
    other.tick(0.7, 0.7)
    party.reached(["somebody"])
    other.reached(["node"])
    for each in (party, other):
        each.left("node", 1.0)
    assert NotAcknowledged("node") in other.tick(4.1, 4.1)
    assert not [e for e in party.tick(4.1, 4.1) if isinstance(e, ENDS)]
    (end,) = [e for e in party.tick(61.0, 61.0) if isinstance(e, Failed)]
    assert isinstance(end.error, errors.KairosNoAnswer)


def test_who_got_it_and_stays_silent_is_not_said_to_have_it() -> None:
    """What came to the program need not have come into its ledger."""
    party = sender_that_met()
    party.tick(0.7, 0.7)
    party.reached(["node"])
    assert not [e for e in party.tick(59.0, 59.0) if isinstance(e, ENDS)]
    (end,) = [e for e in party.tick(61.0, 61.0) if isinstance(e, Failed)]
    assert isinstance(end.error, errors.KairosNoAnswer)


def said(party: Party, now: float, storage: dict[str, dict[str, Entry]]) -> list[Effect]:
    """What the node's next block does."""
    block = Block(party.ledger.block.index + 1, "", storage, "0")
    data = sealing.seal(blocktext.to_bytes(block), NAMES.seal_key, b"n" * 12)
    return party.heard(NAMES.topic, data, "node", now)


def test_who_comes_back_may_still_answer() -> None:
    gone, back = sender_that_delivered(), sender_that_delivered()
    back.joined("node", 3.0)
    assert NotAcknowledged("node") in gone.tick(4.1, 4.1)
    assert NotAcknowledged("node") not in back.tick(4.1, 4.1)
    answer = {"presence": {"node": Entry('""')}, "pairing": {"node": Entry('"ok"')}}
    assert said(back, 5.0, answer) == [Acknowledged("node")]


def test_a_late_answer_counts_while_we_wait_for_it() -> None:
    party = sender_that_delivered()
    assert not [e for e in party.tick(3.9, 3.9) if isinstance(e, ENDS)]
    answer = {"presence": {"node": Entry('""')}, "pairing": {"node": Entry('"ok"')}}
    assert said(party, 3.95, answer) == [Acknowledged("node")]
    assert party.tick(5.0, 5.0) == []


@pytest.mark.parametrize("before", [True, False])
def test_a_node_that_says_another_config_than_ours(before: bool) -> None:
    """Before ours was said, or after; nobody else is there. The control: it says ours."""
    for text in ('{"cc":"#cloud-config\\n"}', TEXT):
        party = sender_that_met()
        if not before:
            party.tick(0.7, 0.7)
        storage = {"presence": {"node": Entry('""')}, "pairing": {"data": Entry(text)}}
        effects = said(party, 0.8, storage)
        stopped = [e.error for e in effects if isinstance(e, Failed)]
        if text == TEXT:
            assert not stopped
        else:
            assert [type(error) for error in stopped] == [errors.KairosIntruder]
            assert "Something else" in stopped[0].detail


def answered(party: Party, pairing: dict[str, str]) -> list[str]:
    """Why it stops when the node's block has this in `pairing`."""
    storage = {
        "presence": {"node": Entry('""')},
        "pairing": {key: Entry(value) for key, value in pairing.items()},
    }
    effects = said(party, 0.8, storage)
    return [e.error.detail for e in effects if isinstance(e, Failed)]


def test_an_answer_of_who_was_sent_nothing() -> None:
    """Controls: the node's answer to our config, and one from an earlier attempt at the same."""
    why = ["Somebody has answered who was sent nothing."]
    assert answered(sender_that_met(), {"sender": '"ok"', "data": TEXT}) == why
    assert answered(sender_that_met(), {"node": '"ok"', "data": TEXT}) == []
    assert answered(new_sender(), {"node": '"ok"'}) == why
    assert answered(new_sender(), {"node": '"ok"', "data": TEXT}) == []
    for text, stops in ((TEXT, why), ("", [])):
        receiver = Receiver(TOKEN, "receiver", 0, 0, random.Random(1).randbytes, wait_seconds=WAIT)
        receiver.tick(0.0, 0.0)
        assert answered(receiver, {"receiver": '"ok"', "data": text} if text else {}) == stops
