"""A lease over the reboot: same key, new boot, numbers go on, nothing is lost or said twice."""

from __future__ import annotations

import pytest

from pairing import errors, keys
from pairing.events import State
from pairing.protocol import handshake, messages
from pairing.protocol.terms import Identity, Release
from pairing.testing.conversation import Conversation, OperatorEnd

CONFIG = b"#cloud-config\nhostname: shop-1\n"


def until_written(talk: Conversation, goal: State = State.READY) -> OperatorEnd:
    end = talk.operator(goal=goal)
    talk.connect(end)
    talk.release(end, Release(config=CONFIG, escrow=(keys.generate_escrow().public,), reboot=True))
    machine = talk.node.machine
    talk.node_says(machine.entered(State.INSTALLING, talk.now))
    assert machine.tenancy is not None
    record = messages.EscrowRecord(
        node=machine.public, lease=machine.tenancy.lease, serial="S-1", keys=()
    )
    talk.node_says(machine.escrow(record, talk.now))
    talk.node.keeps = True
    talk.node_says(machine.progressed("keep-lease", "8/9", 1, 1, "", talk.now))
    talk.node_says(machine.entered(State.WRITTEN, talk.now))
    return end


def say(talk: Conversation, *states: State, code: str = "") -> None:
    for state in states:
        talk.node_says(talk.node.machine.entered(state, talk.now, code=code))


def test_one_operator_from_the_photo_through_the_reboot_to_ready() -> None:
    talk = Conversation()
    end = until_written(talk)
    say(talk, State.REBOOTING)
    key = talk.node.machine.public
    talk.reboot()
    assert talk.node.machine.public == key
    assert end.redials, "the operator looks for the node again"
    assert end.error is None
    talk.wait(300)
    say(talk, State.INSTALLED)
    talk.connect(end)
    say(talk, State.JOINED, State.READY)
    assert end.done is not None
    assert end.done.state is State.READY
    assert [event.seq for event in end.events] == list(range(1, len(end.events) + 1))
    assert {event.boot for event in end.events} == {"boot-1", "boot-2"}


def test_what_nobody_heard_before_the_reboot_is_said_after_it() -> None:
    talk = Conversation()
    end = until_written(talk, State.INSTALLED)
    heard = [event.seq for event in end.events]
    talk.cut(end)
    say(talk, State.REBOOTING)
    talk.reboot()
    say(talk, State.INSTALLED)
    talk.connect(end)
    states = [event.state for event in end.events if event.seq > heard[-1]]
    assert states == [State.REBOOTING, State.INSTALLED]
    assert end.done is not None


def test_numbers_are_never_used_twice_although_the_power_goes_at_any_event() -> None:
    talk = Conversation()
    end = until_written(talk)
    for _ in range(5):
        talk.reboot()
        say(talk, State.INSTALLED)
        talk.connect(end)
        talk.node_says(talk.node.machine.said("a line", talk.now))
    seqs = [event.seq for event in end.events]
    assert seqs == sorted(set(seqs))
    assert len({(event.boot, event.seq) for event in end.events}) == len(end.events)


def test_numbers_would_be_used_twice_if_it_were_not_stored_first() -> None:
    """The control of the test above."""
    talk = Conversation()
    end = until_written(talk)
    talk.node.keeps = False
    say(talk, State.REBOOTING)
    talk.reboot()
    say(talk, State.INSTALLED)
    assert talk.node.machine.tenancy is not None
    assert talk.node.machine.tenancy.log.last == end.events[-1].seq


def test_the_photo_alone_finds_the_installed_node_again() -> None:
    talk = Conversation()
    end = until_written(talk, State.WRITTEN)
    token = end.machine.token
    talk.reboot()
    say(talk, State.INSTALLED)
    assert handshake.label(token.secret, token.key) in talk.node.announced
    again = talk.operator(token, identity=end.machine.identity, goal=State.INSTALLED)
    talk.connect(again)
    assert again.done is not None
    stranger = talk.operator(token)
    talk.connect(stranger)
    assert isinstance(stranger.error, errors.Taken)


def test_nobody_claims_an_installed_node_with_a_code_it_does_not_show() -> None:
    talk = Conversation()
    until_written(talk)
    talk.reboot()
    stranger = talk.operator(talk.photo(), identity=Identity(talk.new_key()))
    talk.connect(stranger)
    assert stranger.error is not None
    assert stranger.view is None


def test_an_installed_node_takes_no_other_config() -> None:
    talk = Conversation()
    end = until_written(talk)
    talk.reboot()
    say(talk, State.FAILED, code=errors.StepFailed.slug)
    talk.connect(end)
    assert isinstance(end.error, errors.StepFailed)
    again = talk.operator(
        end.machine.token, identity=end.machine.identity, known=end.leases[-1], goal=State.READY
    )
    again.decide = lambda e: e.machine.release(Release(config=b"second"), talk.now)
    talk.connect(again)
    assert talk.node.configs == [CONFIG]
    assert isinstance(again.error, errors.StepFailed)


def test_an_unacknowledged_escrow_and_the_proof_survive() -> None:
    talk = Conversation()
    end = until_written(talk)
    machine = talk.node.machine
    talk.cut(end)
    assert machine.tenancy is not None
    assert machine.tenancy.escrow is not None
    digest = handshake.record_digest(machine.tenancy.escrow.record)
    proof = messages.VolumeProof(digest=digest, volumes=(), ek_hash="", dry_run=False)
    talk.node_says(machine.proved(proof, talk.now))
    talk.reboot()
    talk.connect(end)
    assert end.proofs == [proof]
    assert len(end.escrow) == 1


def test_the_report_key_is_kept_before_the_escrow_is_acknowledged() -> None:
    talk = Conversation()
    end = talk.operator()
    talk.connect(end)
    talk.release(end, Release(config=CONFIG))
    assert end.leases[-1].report is not None
    assert end.machine.known is not None
    end.machine._safe.report_keys = 1  # its disk is slow
    machine = talk.node.machine
    assert machine.tenancy is not None
    record = messages.EscrowRecord(
        node=machine.public, lease=machine.tenancy.lease, serial="", keys=()
    )
    talk.node_says(machine.escrow(record, talk.now))
    assert not machine.tenancy.escrow_kept
    talk.operator_says(end, end.machine.report_key_kept(talk.now))
    assert machine.tenancy.escrow_kept


def test_a_report_key_that_the_node_did_not_sign() -> None:
    forged = keys.SigningKey(b"f" * 32)

    def tap(direction: str, body: object) -> tuple[object, ...]:
        if isinstance(body, dict) and body["type"] == "report-key":
            body["record"]["key"] = handshake_text(forged.public)
        return (body,)

    talk = Conversation(tap=tap)  # type: ignore[arg-type]
    end = talk.operator()
    talk.connect(end)
    talk.release(end, Release(config=CONFIG))
    assert isinstance(end.error, errors.BadProof)


def handshake_text(key: bytes) -> str:
    from pairing.protocol.wire import to_base64

    return to_base64(key)


@pytest.mark.parametrize("hours", [0, 23])
def test_time_waited_is_counted_over_boots(hours: int) -> None:
    talk = Conversation()
    until_written(talk)
    talk.reboot()
    talk.wait(hours * 3600 + 601)
    talk.reboot()
    waited = talk.node.machine.listened()
    assert hours * 3600 <= waited <= hours * 3600 + 601
