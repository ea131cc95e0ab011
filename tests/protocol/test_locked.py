"""A locked node: known by its report key, able to say that it is locked and to be unlocked."""

from __future__ import annotations

import pytest

from pairing import errors, keys
from pairing.events import Event, EventType, State
from pairing.protocol import handshake, messages, receipts, requests
from pairing.protocol.effects import NodeEffect, Opened, Send, TryUnlock
from pairing.protocol.kept import ReportFile, report_file
from pairing.protocol.locked import LockedMachine
from pairing.protocol.terms import Identity, KnownLease, Release
from pairing.protocol.wire import write_message
from pairing.testing.conversation import Conversation, OperatorEnd

TPM = errors.UnlockFailed.slug


def installed(talk: Conversation) -> OperatorEnd:
    end = talk.operator(goal=State.READY)
    talk.connect(end)
    talk.release(end, Release(config=b"#cloud-config\n", reboot=True))
    talk.node.keeps = True
    for state in (State.INSTALLING, State.WRITTEN, State.REBOOTING):
        talk.node_says(talk.node.machine.entered(state, talk.now))
    return end


def on_disk(talk: Conversation) -> ReportFile:
    machine = talk.node.machine
    assert machine.tenancy is not None
    return ReportFile.from_bytes(report_file(machine.key, machine.tenancy).to_bytes())


def test_the_operator_hears_locked_and_why() -> None:
    talk = Conversation()
    end = installed(talk)
    talk.lock(on_disk(talk), TPM, "another TPM")
    assert [way.label for way in end.redials[-1]][1] in talk.node.announced
    talk.connect(end)
    assert isinstance(end.error, errors.UnlockFailed)
    assert end.error.exit_code == 13
    assert "another TPM" in end.error.sentence
    assert end.events[-1].state is State.LOCKED


def test_another_run_hears_it_too_and_the_lease_is_kept_as_it_was() -> None:
    talk = Conversation()
    first = installed(talk)
    talk.lock(on_disk(talk), TPM, "")
    known = first.leases[-1]
    again = talk.operator(first.machine.token, identity=first.machine.identity, known=known)
    talk.connect(again)
    assert isinstance(again.error, errors.LockedError)
    assert again.leases == []
    assert again.machine.known == known


def test_a_node_that_was_locked_goes_on_under_its_own_key() -> None:
    talk = Conversation()
    end = installed(talk)
    file = on_disk(talk)
    talk.lock(file, TPM, "")
    talk.reboot()
    talk.node_says(talk.node.machine.entered(State.INSTALLED, talk.now))
    talk.node_says(talk.node.machine.entered(State.READY, talk.now))
    talk.connect(end)
    assert end.done is not None
    assert [event.seq for event in end.events] == list(range(1, len(end.events) + 1))


@pytest.mark.parametrize("state", [state for state in State if state is not State.LOCKED])
def test_a_report_key_is_believed_nothing_else(state: State) -> None:
    """Who has taken the disk out has this key; it must not be able to say that all is well."""
    talk = Conversation()
    end = installed(talk)
    talk.lock(on_disk(talk), TPM, "")
    machine = talk.node.machine
    assert machine.tenancy is not None
    machine.tenancy.log.add(
        node="", boot=machine.boot, up_ms=1, type=EventType.STATE, state=state, text=""
    )
    machine.tenancy.log._events[:] = machine.tenancy.log._events[-1:]
    talk.connect(end)
    assert isinstance(end.error, errors.BadProof)
    assert end.done is None
    assert end.events[-1].state is State.REBOOTING


@pytest.mark.parametrize("state", [State.INSTALLED, State.JOINED, State.READY])
def test_the_nodes_own_key_is_believed(state: State) -> None:
    """The control of the test above."""
    talk = Conversation()
    end = installed(talk)
    end.machine.goal = state
    talk.reboot()
    talk.node_says(talk.node.machine.entered(state, talk.now))
    talk.connect(end)
    assert end.done is not None


def test_a_locked_word_signed_by_another_key() -> None:
    talk = Conversation()
    end = installed(talk)
    known = end.leases[-1]
    rogue = keys.SigningKey(b"r" * 32)
    event = Event(
        node="N", boot="b", seq=1, up_ms=1, type=EventType.STATE, state=State.LOCKED, code=TPM
    )
    with pytest.raises(errors.BadProof):
        receipts.check_locked(receipts.report(rogue, known.lease, event), known)
    file = on_disk(talk)
    talk.lock(file, TPM, "")
    honest = receipts.report(talk.node.machine.key, known.lease, event)
    assert receipts.check_locked(honest, known) == event


def test_messages_that_only_the_node_may_send() -> None:
    talk = Conversation()
    end = installed(talk)
    talk.lock(on_disk(talk), TPM, "")
    machine = talk.node.machine
    assert machine.tenancy is not None
    machine.tenancy.log._events.clear()
    talk.connect(end)
    record = messages.EscrowRecord(
        node=end.machine.token.key, lease=machine.tenancy.lease, serial="", keys=()
    )
    talk.node_says(machine.escrow(record, talk.now))
    assert isinstance(end.error, errors.BadProof)
    assert end.escrow == []


def test_a_locked_node_takes_no_config_and_no_stranger() -> None:
    talk = Conversation()
    end = installed(talk)
    talk.lock(on_disk(talk), TPM, "")
    stranger = talk.operator(
        end.machine.token, identity=Identity(talk.new_key()), known=end.leases[-1]
    )
    talk.connect(stranger)
    assert isinstance(stranger.error, errors.Taken)
    machine = talk.node.machine
    assert machine.tenancy is not None
    machine.tenancy.log._events.clear()
    talk.connect(end)
    _, release = forged_release(end)
    talk.forge(end, write_message(release))
    assert isinstance(end.error, errors.Busy)
    assert talk.node.configs == [b"#cloud-config\n"]


def forged_release(end: OperatorEnd) -> tuple[bytes, messages.Release]:
    known = end.leases[-1]
    manifest = Release(config=b"x").manifest(end.machine.token.key, known.lease, 9)
    body = handshake.signed_body(manifest)
    signature = end.machine.identity.key.sign(handshake.MANIFEST_DOMAIN, body)
    return known.lease, messages.Release(manifest=manifest, signature=signature)


# --- unlocking --------------------------------------------------------------------------------


def the_lock(talk: Conversation) -> tuple[LockedMachine, KnownLease, int]:
    """A locked node with its operator connected."""
    end = installed(talk)
    talk.lock(on_disk(talk), TPM, "")
    machine = talk.node.machine
    assert isinstance(machine, LockedMachine)
    assert machine.tenancy is not None
    machine.tenancy.log._events.clear()
    talk.connect(end)
    known = end.machine.known
    assert known is not None
    return machine, known, end.conn


def sealed(machine: LockedMachine, known: KnownLease, boot: str, secret: bytes = b"pin") -> bytes:
    assert known.report is not None
    context = handshake.unlock_context(known.report.key, known.lease, boot)
    return keys.seal(secret, known.report.seal, context)


def ask(machine: LockedMachine, conn: int, data: bytes, kind: str = "approval") -> list[NodeEffect]:
    return machine.received(conn, write_message(requests.Unlock(kind=kind, sealed=data)), 10.0)


def answers(effects: list[NodeEffect]) -> list[requests.Answer]:
    said = [effect.message for effect in effects if isinstance(effect, Send)]
    return [message for message in said if isinstance(message, requests.Answer)]


def test_an_unlock_reaches_the_machine_and_is_answered() -> None:
    machine, known, conn = the_lock(Conversation())
    effects = ask(machine, conn, sealed(machine, known, machine.boot))
    assert effects == [TryUnlock(requests.UnlockKind.APPROVAL, b"pin")]
    assert "pin'" not in repr(effects)
    failed = machine.unlock_failed(errors.UnlockFailed("wrong"), 11.0)
    assert [answer.code for answer in answers(failed)] == [errors.UnlockFailed.slug]
    ask(machine, conn, sealed(machine, known, machine.boot))
    opened = machine.unlocked(12.0)
    assert [answer.code for answer in answers(opened)] == [""]
    assert Opened() in opened


def test_an_unlock_of_another_boot_is_worth_nothing() -> None:
    machine, known, conn = the_lock(Conversation())
    effects = ask(machine, conn, sealed(machine, known, "boot-before"))
    assert not any(isinstance(effect, TryUnlock) for effect in effects)


def test_an_unlock_of_an_unknown_kind_and_two_at_once() -> None:
    machine, known, conn = the_lock(Conversation())
    data = sealed(machine, known, machine.boot)
    assert ask(machine, conn, data)
    second = ask(machine, conn, data)
    assert not any(isinstance(effect, TryUnlock) for effect in second)
    other, known, conn = the_lock(Conversation(seed=1))
    effects = ask(other, conn, sealed(other, known, other.boot), kind="magic")
    assert not any(isinstance(effect, TryUnlock) for effect in effects)


def test_nobody_unlocks_a_node_that_is_not_locked() -> None:
    talk = Conversation()
    end = installed(talk)
    talk.forge(end, write_message(requests.Unlock(kind="recovery", sealed=b"s" * 64)))
    assert isinstance(end.error, errors.ProtocolBroken)


def test_a_photo_of_the_locked_screen_says_locked_to_its_operator_only() -> None:
    talk = Conversation()
    end = installed(talk)
    talk.lock(on_disk(talk), TPM, "why")
    owner = talk.operator(talk.photo(), identity=end.machine.identity)
    talk.connect(owner)
    assert isinstance(owner.error, errors.LockedError)
    assert "why" in owner.error.sentence
    assert owner.machine.view is not None
    stranger = talk.operator(talk.photo())
    talk.connect(stranger)
    assert isinstance(stranger.error, errors.Taken)
    assert stranger.machine.view is None
