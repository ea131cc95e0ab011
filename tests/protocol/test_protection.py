"""What a verdict says about the disk's protection: true for what is there, signed, harmless."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import keys, protection
from pairing.events import State
from pairing.protection import Protection
from pairing.protocol.terms import Release
from pairing.report import event_lines
from pairing.testing.conversation import Conversation

FULL = Protection(
    mode="tpm2",
    encrypted=True,
    tpm=True,
    literal=(7, 12),
    signed=(11,),
    recovery=True,
    recipients=2,
    secure_boot="on",
)
REGISTERS = st.lists(st.integers(0, 23), max_size=24).map(tuple)
ANY = st.builds(
    Protection,
    mode=st.sampled_from(["none", "tpm2", "tang", "tpm2+tang", "recovery-only"]),
    encrypted=st.booleans(),
    tpm=st.booleans(),
    pin=st.booleans(),
    literal=REGISTERS,
    signed=REGISTERS,
    tang=st.integers(0, 100),
    recovery=st.booleans(),
    recipients=st.integers(0, 100),
    secure_boot=st.sampled_from(["", "on", "off", "setup"]),
)


def test_the_usual_one() -> None:
    assert FULL.summary == (
        "encrypted (tpm2): TPM (registers 7+12, signed 11), recovery key, 2 escrow keys;"
        " Secure Boot on"
    )
    assert FULL.lacks == ()
    assert FULL.cautions == ("whoever takes the whole machine can start it: it opens by itself",)


def test_without_encryption_it_is_said_that_the_config_is_readable() -> None:
    bare = Protection(mode="none")
    assert bare.summary == "not encrypted"
    assert any("reads the config" in line for line in bare.cautions)
    assert not any("reads the config" in line for line in FULL.cautions)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"secure_boot": "off"}, "Secure Boot is not on"),
        ({"secure_boot": ""}, "Secure Boot is not on"),
        ({"literal": (7,)}, "register 12"),
        ({"recipients": 1}, "one escrow key"),
        ({"tpm": False}, "asked for and not there: the TPM"),
        ({"recovery": False}, "asked for and not there: a tried recovery key"),
        ({"encrypted": False}, "asked for and not there: encryption"),
        ({"mode": "tpm2+tang"}, "asked for and not there: a Tang server"),
    ],
)
def test_each_weakness_is_named_and_only_then(change: dict[str, object], said: str) -> None:
    weaker = replace(FULL, **change)  # type: ignore[arg-type]
    assert any(said in line for line in weaker.cautions)
    assert not any(said in line for line in FULL.cautions)


def test_approval_and_tang_do_not_open_by_themselves() -> None:
    for stronger in (replace(FULL, pin=True), replace(FULL, mode="tpm2+tang", tang=1)):
        assert not any("by itself" in line for line in stronger.cautions)


@given(ANY)
def test_it_survives_json(given_one: Protection) -> None:
    assert protection.from_json(given_one.to_json()) == given_one


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"mode": "x" * 33},
        {"mode": 1},
        {"literal": [24]},
        {"literal": [True]},
        {"literal": "7"},
        {"literal": [7] * 25},
        {"tang": -1},
        {"recipients": 10**9},
    ],
)
def test_nonsense_is_refused(body: object) -> None:
    with pytest.raises(ValueError, match="protection"):
        protection.from_json(body)


def test_it_comes_with_the_signed_verdict() -> None:
    talk = Conversation()
    end = talk.operator()
    talk.connect(end)
    talk.release(end, Release(config=b"#cloud-config\n", escrow=(keys.generate_escrow().public,)))
    machine = talk.node.machine
    talk.node_says(machine.entered(State.INSTALLING, talk.now))
    talk.node_says(machine.entered(State.WRITTEN, talk.now, protection=FULL))
    assert end.done is not None
    assert end.events[-1].protection == FULL
    lines = event_lines(end.events[-1])
    assert any(FULL.summary in line for line in lines)
    assert any("opens by itself" in line for line in lines)


def test_a_changed_protection_is_no_receipt() -> None:
    """Control: the unchanged one is one, above."""

    def tap(direction: str, body: object) -> tuple[object, ...]:
        assert isinstance(body, dict)
        if body.get("type") == "report" and "protection" in body["event"]:
            weaker = {**body["event"]["protection"], "secure_boot": "off"}
            body = {**body, "event": {**body["event"], "protection": weaker}}
        return (body,)

    talk = Conversation(tap=tap)  # type: ignore[arg-type]
    end = talk.operator()
    talk.connect(end)
    talk.release(end, Release(config=b"#cloud-config\n", escrow=(keys.generate_escrow().public,)))
    talk.node_says(talk.node.machine.entered(State.WRITTEN, talk.now, protection=FULL))
    assert end.error is not None
    assert end.error.slug == "bad-proof"
