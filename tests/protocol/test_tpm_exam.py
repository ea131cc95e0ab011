"""A node's TPM is asked before anybody decides: proofs, refusals, silence and lies."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import tpmkeys
from pairing.protocol.tpmproof import (
    ASK_SECONDS,
    ActivateTpm,
    EkProof,
    TpmActivated,
    TpmAnswer,
    TpmKeys,
    TpmQuestion,
    TpmUnproved,
)
from pairing.testing.conversation import Conversation, OperatorEnd
from pairing.testing.papertpm import PaperTpm

OURS, ANOTHER = PaperTpm(), PaperTpm()
FACTS = {"serial": "S-1", "tpm": {"version": "2.0", "ek_hash": "00" * 32}}


@dataclass
class Machine:
    """A node that answers with this TPM, but shows these keys."""

    tpm: PaperTpm = field(default_factory=lambda: OURS)
    shows: PaperTpm | None = None
    talk: Conversation = field(init=False)

    def __post_init__(self) -> None:
        self.talk = Conversation(facts=FACTS)
        self.talk.node.tpm = self.answer

    def answer(self, question: TpmQuestion) -> TpmAnswer | None:
        held = self.talk.node.machine.tenancy
        assert held is not None
        asked = self.tpm if isinstance(question, ActivateTpm) else self.shows or self.tpm
        return asked.answer(question, self.talk.node.machine.public, held.lease)

    def met(self) -> OperatorEnd:
        end = self.talk.operator()
        self.talk.connect(end)
        return end


def proof(end: OperatorEnd) -> EkProof:
    assert end.view is not None
    assert end.view.ek is not None
    return end.view.ek


def test_an_honest_tpm_proves_its_key() -> None:
    found = proof(Machine().met())
    assert found.proved
    assert found.ek_hash == tpmkeys.read_key(OURS.endorsement).hash


def test_the_key_of_another_tpm_proves_nothing() -> None:
    found = proof(Machine(tpm=OURS, shows=ANOTHER).met())
    assert not found.proved
    assert found.ek_hash == ""


def test_the_answer_of_another_tpm_is_worth_nothing_in_another_lease() -> None:
    """Control: the same answer, for the right lease, is the proof."""
    machine = Machine()

    def stolen(question: TpmQuestion) -> TpmAnswer | None:
        return OURS.answer(question, machine.talk.node.machine.public, bytes(16))

    machine.talk.node.tpm = stolen
    assert not proof(machine.met()).proved
    assert proof(Machine().met()).proved


def test_a_machine_without_tpm_is_decided_on_at_once() -> None:
    talk = Conversation()
    end = talk.operator()
    talk.connect(end)
    assert end.view is not None
    assert end.view.ek is None


def test_a_refusal_and_its_reason_are_told() -> None:
    machine = Machine()
    machine.talk.node.tpm = lambda question: TpmUnproved(text="it is locked out")
    assert proof(machine.met()) == EkProof(proved=False, why="it is locked out")


def test_silence_ends() -> None:
    machine = Machine()
    machine.talk.node.tpm = lambda question: None
    end = machine.met()
    machine.talk.wait(ASK_SECONDS - 1)
    assert end.view is None
    machine.talk.wait(2)
    assert proof(end).why == "the machine did not answer in time"


def test_after_a_cut_it_is_asked_again() -> None:
    machine = Machine()
    answer, machine.talk.node.tpm = machine.talk.node.tpm, lambda question: None
    end = machine.met()
    machine.talk.cut(end)
    machine.talk.node.tpm = answer
    machine.talk.connect(end)
    assert proof(end).proved


@pytest.mark.parametrize(
    "said",
    [
        TpmActivated(mac=bytes(32)),
        TpmKeys(endorsement=b"\0", attestation=b"\0", certificate=b""),
        TpmKeys(endorsement=OURS.attestation, attestation=OURS.attestation, certificate=b""),
        TpmKeys(endorsement=OURS.endorsement, attestation=OURS.endorsement, certificate=b""),
    ],
)
def test_nonsense_is_no_proof(said: TpmAnswer) -> None:
    machine = Machine()
    machine.talk.node.tpm = lambda question: said
    assert not proof(machine.met()).proved


@pytest.mark.parametrize("bit", [1, 4, 5, 16, 17])
def test_an_endorsement_key_that_may_leave_its_tpm_is_none(bit: int) -> None:
    weak = PaperTpm(key=OURS.key, attributes=0x000300B2 ^ (1 << bit))
    with pytest.raises(ValueError, match="not a restricted"):
        tpmkeys.read_endorsement(weak.endorsement)
    tpmkeys.read_endorsement(OURS.endorsement)


@pytest.mark.parametrize("bit", [1, 4, 5, 16, 18])
def test_an_attestation_key_that_signs_anything_is_none(bit: int) -> None:
    weak = PaperTpm(key=OURS.key, signing_attributes=0x00050072 ^ (1 << bit))
    with pytest.raises(ValueError, match="not a restricted"):
        tpmkeys.read_attestation(weak.attestation)
    tpmkeys.read_attestation(OURS.attestation)


@given(st.binary(max_size=tpmkeys.PUBLIC_LIMIT + 1))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        tpmkeys.read_key(data)
    except ValueError:
        return


@given(st.integers(0, 313), st.integers(0, 255))
def test_a_changed_key_is_read_or_refused(at: int, value: int) -> None:
    changed = bytearray(OURS.endorsement)
    changed[at] = value
    try:
        found = tpmkeys.read_endorsement(bytes(changed))
    except ValueError:
        return
    assert (
        bytes(changed) == OURS.endorsement or found.hash != tpmkeys.read_key(OURS.endorsement).hash
    )
