"""The whole conversation, both machines against each other."""

from __future__ import annotations

import pytest

from pairing import errors, keys
from pairing.events import EventType, State
from pairing.protocol import handshake, messages
from pairing.protocol.callers import NodePolicy
from pairing.protocol.terms import Identity, Patience, Release
from pairing.testing.conversation import Conversation, OperatorEnd

CONFIG = b"#cloud-config\nhostname: shop-1\n"


def pair(talk: Conversation, end: OperatorEnd, config: bytes = CONFIG) -> None:
    talk.connect(end)
    talk.release(end, Release(config=config, escrow=(keys.generate_escrow().public,)))


def install(talk: Conversation, *, until: State = State.WRITTEN) -> None:
    machine = talk.node.machine
    talk.node_says(machine.entered(State.INSTALLING, talk.now))
    assert machine.tenancy is not None
    record = messages.EscrowRecord(
        node=machine.public, lease=machine.tenancy.lease, serial="S-1", keys=()
    )
    talk.node_says(machine.progressed("escrow-key", "1/2", 0, 1, "", talk.now))
    talk.node_says(machine.escrow(record, talk.now))
    talk.node_says(machine.progressed("escrow-key", "1/2", 1, 1, "", talk.now))
    talk.node_says(machine.progressed("copy", "2/2", 1, 1, "", talk.now))
    talk.node_says(machine.entered(until, talk.now))


def test_from_photo_to_written() -> None:
    talk = Conversation(facts={"serial": "S-7"})
    end = talk.operator()
    pair(talk, end)
    assert end.view is not None
    assert end.view.facts == {"serial": "S-7"}
    assert end.view.trust == "O0"
    assert end.view.words == talk.node.machine.tenancy.words  # type: ignore[union-attr]
    assert talk.node.configs == [CONFIG]
    assert len(talk.node.installs) == 1
    install(talk)
    assert end.error is None
    assert end.done is not None
    assert end.done.state is State.WRITTEN
    assert not end.done.already
    states = [event.state for event in end.events if event.type is EventType.STATE]
    assert states == [
        State.CLAIMED, State.APPROVED, State.PLANNED, State.INSTALLING, State.WRITTEN,
    ]  # fmt: skip
    assert [event.seq for event in end.events] == list(range(1, len(end.events) + 1))
    assert talk.node.escrow_kept == 1
    assert talk.node.settled == 1


def test_a_rehearsal_is_done_when_the_disk_would_be_written() -> None:
    talk = Conversation()
    talk.node.machine.dry_run = True
    end = talk.operator(goal=State.READY)
    pair(talk, end)
    install(talk)
    assert end.done is not None
    assert end.done.state is State.WRITTEN


def test_nothing_of_the_config_crosses_before_the_decision() -> None:
    crossed: list[str] = []

    def tap(direction: str, body: object) -> tuple[object, ...]:
        crossed.append(str(body))
        return (body,)

    talk = Conversation(tap=tap)  # type: ignore[arg-type]
    end = talk.operator()
    talk.connect(end)
    assert end.view is not None
    assert not any("release" in said or "chunk" in said for said in crossed)
    talk.operator_says(end, end.machine.hold(errors.NotApprovedError("no disk")))
    assert isinstance(end.error, errors.NotApprovedError)
    assert talk.node.configs == []


def test_a_large_config_arrives_whole() -> None:
    talk = Conversation()
    config = talk.random.randbytes(messages.CONFIG_LIMIT)
    end = talk.operator()
    pair(talk, end, config)
    assert talk.node.configs == [config]


def test_a_second_operator_hears_who_was_first() -> None:
    talk = Conversation()
    photo = talk.photo()
    first, second = talk.operator(photo), talk.operator(photo)
    talk.connect(first)
    talk.wait(7)
    talk.connect(second, "192.0.2.9")
    assert isinstance(second.error, errors.Taken)
    assert keys.fingerprint(first.machine.identity.key.public) in second.error.sentence
    assert "7 seconds" in second.error.sentence
    assert second.view is None
    assert first.error is None


def test_the_same_operator_resumes_with_the_same_photo() -> None:
    talk = Conversation()
    photo, identity = talk.photo(), Identity(talk.new_key())
    first = talk.operator(photo, identity=identity)
    pair(talk, first)
    talk.cut(first)
    again = talk.operator(photo, identity=identity)
    talk.connect(again)
    assert again.view is None, "nothing is decided twice"
    install(talk)
    assert again.done is not None
    assert talk.node.configs == [CONFIG]
    assert [event.seq for event in again.events] == list(range(1, len(again.events) + 1))


def test_a_finished_node_is_already_done() -> None:
    talk = Conversation()
    photo, identity = talk.photo(), Identity(talk.new_key())
    first = talk.operator(photo, identity=identity)
    pair(talk, first)
    install(talk)
    again = talk.operator(photo, identity=identity)
    talk.connect(again)
    assert again.done is not None
    assert again.done.already
    assert len(talk.node.installs) == 1


@pytest.mark.parametrize("after", range(1, 60))
def test_a_connection_cut_anywhere_is_resumed(after: int) -> None:
    count = 0
    cut: list[bool] = []

    def tap(direction: str, body: object) -> tuple[object, ...]:
        nonlocal count
        count += 1
        if count == after:
            cut.append(True)
        return () if cut else (body,)

    talk = Conversation(tap=tap)  # type: ignore[arg-type]
    config = talk.random.randbytes(200_000)
    end = talk.operator()
    end.decide = lambda e: e.machine.release(Release(config=config), talk.now)
    talk.connect(end)
    talk.cut(end)
    cut.clear()
    count = 1000
    if end.machine.known is None:  # the claim itself was lost: the photo serves once more
        assert end.redials == [end.machine.ways()]
        photo = end.machine.token
        assert end.machine.ways()[0].label == handshake.label(photo.secret, photo.key)
    talk.connect(end)
    assert end.error is None
    assert talk.node.configs == [config]
    install(talk)
    assert end.done is not None
    assert [event.seq for event in end.events] == list(range(1, len(end.events) + 1))


def test_a_failure_reaches_the_operator_by_its_own_name_and_may_be_tried_again() -> None:
    talk = Conversation()
    photo, identity = talk.photo(), Identity(talk.new_key())
    end = talk.operator(photo, identity=identity)
    pair(talk, end)
    machine = talk.node.machine
    talk.node_says(machine.entered(State.INSTALLING, talk.now))
    talk.node_says(
        machine.entered(State.FAILED, talk.now, code=errors.StepFailed.slug, text="disk is gone")
    )
    assert isinstance(end.error, errors.StepFailed)
    assert "disk is gone" in end.error.sentence
    again = talk.operator(photo, identity=identity)
    again.decide = lambda e: e.machine.release(Release(config=b"second"), talk.now)
    talk.connect(again)
    assert talk.node.configs[-1] == b"second"
    install(talk)
    assert again.done is not None


def test_a_config_that_the_node_refuses() -> None:
    talk = Conversation()

    def refuse(config: bytes) -> list[str]:
        raise errors.ConfigRefusedByNode("no such disk")

    talk.node.plan = refuse
    end = talk.operator()
    pair(talk, end)
    assert isinstance(end.error, errors.ConfigRefusedByNode)
    assert end.error.exit_code == 7
    assert talk.node.installs == []


def test_a_person_refuses_and_a_new_code_appears() -> None:
    talk = Conversation()
    photo = talk.photo()
    end = talk.operator(photo)
    talk.connect(end)
    talk.operator_says(end, end.machine.refuse(errors.NotApprovedError()))
    assert talk.state() is State.REFUSED
    talk.wait(121)
    assert talk.state() is State.WAITING
    late = talk.operator(photo)
    talk.connect(late)
    assert isinstance(late.error, errors.TokenSpent)
    fresh = talk.operator()
    talk.connect(fresh)
    assert fresh.view is not None


def test_an_operator_that_vanishes_undecided_gives_the_node_back() -> None:
    talk = Conversation()
    photo = talk.photo()
    end = talk.operator(photo)
    talk.connect(end)
    talk.cut(end)
    talk.wait(599)
    assert talk.state() is State.CLAIMED
    talk.wait(2)
    assert talk.state() is State.WAITING
    assert talk.photo().secret != photo.secret


def test_an_undecided_operator_loses_the_node_after_half_an_hour() -> None:
    talk = Conversation()
    end = talk.operator()
    talk.connect(end)
    talk.wait(1799)
    assert talk.state() is State.CLAIMED
    talk.wait(2)
    assert talk.state() is State.WAITING
    assert isinstance(end.error, errors.PhaseTimeout)


def silent_after(talk: Conversation, end: OperatorEnd, seconds: int) -> int | None:
    for _ in range(seconds):
        talk.now += 1
        talk.operator_says(end, end.machine.tick(talk.now))
    return end.error.exit_code if end.error else None


def test_a_node_that_dies_before_the_release_is_exit_5() -> None:
    talk = Conversation()
    end = talk.operator(patience=Patience(silence=20))
    talk.connect(end)
    talk.cut(end)
    # The decision falls while nobody is there: nothing leaves this machine.
    talk.operator_says(end, end.machine.release(Release(config=CONFIG), talk.now))
    assert silent_after(talk, end, 19) is None
    assert silent_after(talk, end, 2) == 5
    assert talk.node.configs == []


def test_a_node_that_dies_after_the_release_is_exit_12() -> None:
    talk = Conversation()
    end = talk.operator(patience=Patience(silence=20))
    pair(talk, end)
    talk.cut(end)
    assert silent_after(talk, end, 21) == 12


def test_heartbeats_do_not_extend_the_verdict_deadline() -> None:
    talk = Conversation()
    end = talk.operator(patience=Patience(silence=20, verdict=100))
    pair(talk, end)
    talk.wait(99)
    early = end.error
    talk.wait(2)
    assert early is None
    assert isinstance(end.error, errors.NoVerdictError)


def test_a_code_is_honoured_for_one_more_window() -> None:
    talk = Conversation(policy=NodePolicy(window=60))
    old = talk.photo()
    talk.wait(61)
    assert talk.photo().secret != old.secret
    assert talk.photo().key == old.key
    end = talk.operator(old)
    talk.connect(end)
    assert end.view is not None


def test_a_code_expires_after_two_windows() -> None:
    talk = Conversation(policy=NodePolicy(window=60))
    old = talk.photo()
    talk.wait(122)
    end = talk.operator(old)
    talk.connect(end)
    assert isinstance(end.error, errors.TokenSpent)


def test_the_node_is_found_under_the_code_and_later_under_the_lease() -> None:
    talk = Conversation()
    end = talk.operator()
    photo_label = handshake.label(end.machine.token.secret, end.machine.token.key)
    talk.node_says([talk.node.machine.announcement()])
    assert list(talk.node.announced) == [photo_label]
    talk.connect(end)
    lease_label = handshake.label(end.leases[0].secret, end.machine.token.key)
    assert list(talk.node.announced) == [lease_label, photo_label]


class TestPinnedFleet:
    fleet = keys.SigningKey(b"f" * 32)

    def policy(self, **more: object) -> NodePolicy:
        pinned = keys.PinnedFleet(self.fleet.public, **more)  # type: ignore[arg-type]
        return NodePolicy(fleets=(pinned,))

    def station(self, talk: Conversation, sequence: int = 1) -> Identity:
        key = talk.new_key()
        return Identity(key, keys.certify(self.fleet, key.public, sequence, "north"))

    def test_a_station_of_the_fleet_gets_in_without_an_abort_delay(self) -> None:
        talk = Conversation(policy=self.policy())
        assert talk.photo().signed
        end = talk.operator(identity=self.station(talk))
        pair(talk, end)
        assert end.view is not None
        assert end.view.trust == "O1"
        assert talk.node.configs == [CONFIG]

    def test_another_station_of_the_same_fleet_takes_over(self) -> None:
        talk = Conversation(policy=self.policy())
        photo = talk.photo()
        first = talk.operator(photo, identity=self.station(talk))
        pair(talk, first)
        second = talk.operator(photo, identity=self.station(talk, 2))
        talk.connect(second)
        install(talk)
        assert second.done is not None

    def test_the_photo_alone_learns_nothing(self) -> None:
        talk = Conversation(policy=self.policy(), facts={"serial": "SECRET-SERIAL"})
        stranger = talk.operator()
        talk.connect(stranger)
        assert isinstance(stranger.error, errors.FleetSignatureNeeded)
        assert stranger.error.exit_code == 6
        assert "SECRET" not in str(stranger.heard)
        assert talk.state() is State.WAITING

    def test_a_revoked_station(self) -> None:
        talk = Conversation(policy=self.policy(minimum=5, revoked=frozenset({7})))
        for sequence in (4, 7):
            end = talk.operator(identity=self.station(talk, sequence))
            talk.connect(end)
            assert isinstance(end.error, errors.CertificateRevoked)
        good = talk.operator(identity=self.station(talk, 8))
        talk.connect(good)
        assert good.view is not None

    def test_a_certificate_of_another_fleet_or_for_another_station(self) -> None:
        talk = Conversation(policy=self.policy())
        other_fleet, key = talk.new_key(), talk.new_key()
        for certificate in (
            keys.certify(other_fleet, key.public, 1, "x"),
            keys.certify(self.fleet, talk.new_key().public, 1, "x"),
        ):
            end = talk.operator(identity=Identity(key, certificate))
            talk.connect(end)
            assert isinstance(end.error, errors.FleetSignatureNeeded)
