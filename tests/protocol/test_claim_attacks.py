"""T1, T2 and the frames: what an attacker with the photo, or on the wire, cannot do.

Each has its positive control: the same thing succeeds where the protection is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from pairing import errors, keys
from pairing.events import State
from pairing.protocol import handshake, messages
from pairing.protocol.callers import NodePolicy
from pairing.protocol.terms import Identity, Release
from pairing.protocol.wire import to_base64, write_message
from pairing.testing.conversation import Conversation, OperatorEnd


def test_t1_a_stored_photo_is_worthless_after_claim_window_and_reboot() -> None:
    talk = Conversation(policy=NodePolicy(window=60))
    stored = talk.photo()
    control = talk.operator(stored)
    talk.connect(control)
    assert control.view is not None, "control: the fresh photo works"
    accepted = 0
    for attempt in range(1000):
        thief = talk.operator(stored)
        talk.connect(thief, f"198.51.100.{attempt % 250}")
        accepted += thief.view is not None
    talk.cut(control)
    talk.wait(601)
    assert talk.state() is State.WAITING
    for _ in range(1000):
        thief = talk.operator(stored)
        talk.connect(thief)
        accepted += thief.view is not None
        assert isinstance(thief.error, errors.TokenSpent)
    assert accepted == 0


def test_t1_after_a_reboot_the_same_photo_names_another_key() -> None:
    before, after = Conversation(seed=1), Conversation(seed=2)
    stored = before.photo()
    thief = after.operator(stored)
    after.connect(thief)
    assert isinstance(thief.error, errors.BadProof)


def test_t2_ten_thousand_attempts_with_the_photo_alone_on_a_pinned_node() -> None:
    fleet = keys.SigningKey(b"f" * 32)
    policy = NodePolicy(fleets=(keys.PinnedFleet(fleet.public),))
    talk = Conversation(policy=policy, facts={"serial": "FACTS"})
    photo = talk.photo()
    forged = keys.SigningKey(b"x" * 32)
    for attempt in range(10_000):
        key = keys.SigningKey(attempt.to_bytes(32, "big"))
        shown = keys.certify(forged, key.public, 1, "") if attempt % 2 else None
        thief = talk.operator(photo, identity=Identity(key, shown))
        talk.connect(thief, f"source-{attempt}")
        assert isinstance(thief.error, errors.FleetSignatureNeeded)
        assert "FACTS" not in str(thief.heard)
    assert talk.node.machine.tenancy is None
    key = talk.new_key()
    station = talk.operator(photo, identity=Identity(key, keys.certify(fleet, key.public, 1, "")))
    talk.connect(station)
    assert station.view is not None, "control: a station of the fleet gets in"


def _relayed(talk: Conversation, end: OperatorEnd, thief: OperatorEnd) -> OperatorEnd:
    """The thief passes a genuine operator's proof on as its own."""
    captured: list[Mapping[str, Any]] = []

    def tap(direction: str, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        if direction == "to-node" and body["type"] == "proof":
            captured.append(body)
            return ()
        return (body,)

    talk.tap = tap
    talk.connect(end)
    talk.tap = lambda direction, body: (
        (captured[0],) if direction == "to-node" and body["type"] == "proof" else (body,)
    )
    talk.connect(thief)
    return thief


def test_a_proof_is_worthless_on_another_channel() -> None:
    talk = Conversation()
    photo = talk.photo()
    end, thief = talk.operator(photo), talk.operator(photo)
    _relayed(talk, end, thief)
    assert isinstance(thief.error, errors.BadProof)
    assert talk.node.machine.tenancy is None


@pytest.mark.parametrize("field", ["nonce", "mac", "key", "signature"])
def test_a_changed_proof_is_refused(field: str) -> None:
    def tap(direction: str, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        if body["type"] == "proof":
            changed = bytearray(b"\1" * (64 if field == "signature" else 32))
            return ({**body, field: to_base64(bytes(changed))},)
        return (body,)

    talk = Conversation(tap=tap)
    end = talk.operator()
    talk.connect(end)
    assert isinstance(end.error, errors.BadProof)
    talk.tap = lambda direction, body: (body,)
    control = talk.operator()
    talk.connect(control)
    assert control.view is not None


def test_an_operator_believes_only_the_node_that_knows_the_code() -> None:
    def tap(direction: str, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        if body["type"] == "lease":
            return ({**body, "mac": to_base64(b"\0" * 32)},)
        return (body,)

    talk = Conversation(tap=tap)
    end = talk.operator()
    talk.connect(end)
    assert isinstance(end.error, errors.BadProof)
    assert end.view is None


def test_a_forged_receipt_is_no_verdict() -> None:
    def tap(direction: str, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        if body["type"] == "report" and body["event"]["state"] == "planned":
            return ({**body, "event": {**body["event"], "state": "written"}},)
        return (body,)

    talk = Conversation(tap=tap)
    end = talk.operator()
    talk.connect(end)
    talk.release(end, Release(config=b"x"))
    assert isinstance(end.error, errors.BadProof)
    assert end.done is None


def test_a_changed_config_is_not_installed() -> None:
    def tap(direction: str, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        if body["type"] == "chunk":
            return ({**body, "data": to_base64(b"evil")},)
        return (body,)

    talk = Conversation(tap=tap)
    end = talk.operator()
    talk.connect(end)
    talk.release(end, Release(config=b"good"))
    assert talk.node.configs == []
    assert end.error is not None


def test_a_manifest_of_somebody_else_is_refused() -> None:
    talk = Conversation()
    end = talk.operator()
    talk.connect(end)
    held = talk.node.machine.tenancy
    assert held is not None
    manifest = messages.Manifest(
        node=talk.node.machine.public, lease=held.lease, sequence=1,
        digest=b"0" * 32, length=1, device="", escrow=(), relays=(), unlock="",
        reboot=False, poweroff=False, report_for=0, time=0,
    )  # fmt: skip
    rogue = keys.SigningKey(b"r" * 32)
    signature = rogue.sign(handshake.MANIFEST_DOMAIN, handshake.signed_body(manifest))
    forged = messages.Release(manifest=manifest, signature=signature)
    talk.forge(end, write_message(forged))
    assert isinstance(end.error, errors.BadProof)
    assert talk.node.configs == []


def test_an_escrow_acknowledgement_must_be_the_operators() -> None:
    talk = Conversation()
    end = talk.operator()
    end.keeps_escrow = False
    talk.connect(end)
    talk.release(end, Release(config=b"x"))
    machine = talk.node.machine
    assert machine.tenancy is not None
    record = messages.EscrowRecord(
        node=machine.public, lease=machine.tenancy.lease, serial="", keys=()
    )
    talk.node_says(machine.escrow(record, talk.now))
    digest = handshake.record_digest(record)
    rogue = keys.SigningKey(b"r" * 32).sign(handshake.ESCROWED_DOMAIN, digest)
    talk.forge(end, write_message(messages.Escrowed(digest=digest, signature=rogue)))
    assert talk.node.escrow_kept == 0


def test_unproved_callers_are_few_per_source_and_a_relay_is_not_one_source() -> None:
    talk = Conversation()
    machine = talk.node.machine
    for conn in range(100, 104):
        assert machine.opened(conn, "192.0.2.5", b"k" * 32, 0.0) == []
    assert machine.opened(104, "192.0.2.5", b"k" * 32, 0.0), "the fifth is refused"
    for conn in range(200, 220):
        assert machine.opened(conn, "relay:example", b"k" * 32, 0.0) == []
    talk.wait(11)
    assert machine.callers == {}, "and each has ten seconds"


def test_an_unknown_frame_is_refused_by_name() -> None:
    talk = Conversation()
    end = talk.operator()
    talk.connect(end)
    talk.forge(end, {"type": "evil"})
    assert isinstance(end.error, errors.ProtocolBroken)
    assert "'evil'" in end.error.sentence
