"""The code on the screen in each form: it rotates, is spent and is forgotten as one thing."""

from __future__ import annotations

import secrets

import pytest

from node.code import DRAWN, Code, hints
from node.settings import Form
from pairing import errors, keys, peertoken
from pairing.edgevpn import nettoken
from pairing.edgevpn.native import native_token
from pairing.events import State
from pairing.protocol.callers import NodePolicy
from pairing.protocol.node import NodeMachine
from pairing.transport.base import Address, Reachable

HERE = hints(Reachable((Address("fe80::1", 4917), Address("192.168.1.9", 4917))), ())


def drawn(form: Form) -> tuple[Code, NodeMachine]:
    code = Code(form)
    machine = NodeMachine(
        key=keys.generate(),
        boot="b",
        facts={},
        policy=NodePolicy(window=100.0),
        random=secrets.token_bytes,
        draw=code.draw,
    )
    return code, machine


def test_our_own_form_knows_no_network_token() -> None:
    code, machine = drawn(Form.NATIVE)
    assert not code.is_weak
    assert code.valid(machine) == ()
    token = peertoken.parse(code.text(machine, HERE))
    assert token.secret == machine.window.current.value
    assert code.smaller_text(machine, HERE) == ""


def test_kairos_form_says_nothing_of_our_own() -> None:
    code, machine = drawn(Form.KAIROS)
    token = nettoken.parse(code.text(machine, HERE))
    assert (token,) == code.valid(machine)
    assert native_token(token) is None
    assert code.smaller_text(machine, HERE) == ""
    assert len(code.text(machine, HERE)) <= 252


def test_both_carries_the_native_token_that_the_machine_honours() -> None:
    code, machine = drawn(Form.BOTH)
    token = nettoken.parse(code.text(machine, HERE))
    native = native_token(token)
    assert native == machine.token(HERE)
    assert native is not None
    assert native.addresses == (Address("192.168.1.9", 4917),)
    assert peertoken.parse(code.smaller_text(machine, HERE)) == native
    assert code.valid(machine)[0].crypto == token.crypto


@pytest.mark.parametrize("form", [Form.KAIROS, Form.BOTH])
def test_network_tokens_live_as_long_as_the_secrets(form: Form) -> None:
    code, machine = drawn(form)
    first = code.valid(machine)
    machine.tick(100.0)
    second = code.valid(machine)
    assert second[1:] == first
    assert second[0] != first[0]
    machine.tick(200.0)
    assert code.valid(machine)[1:] == second[:1]
    assert machine.taken_elsewhere(201.0)
    assert not set(code.valid(machine)) & {*first, *second}


def test_only_so_many_are_remembered() -> None:
    code, machine = drawn(Form.BOTH)
    for _ in range(3 * DRAWN):
        code.draw(16)
    assert len(code._drawn) == DRAWN
    machine.open_again(1.0)
    assert len(code.valid(machine)) == 1


def test_the_other_channel_takes_a_node_that_waits_once() -> None:
    _, machine = drawn(Form.BOTH)
    took = [machine.taken_elsewhere(now) for now in (1.0, 2.0)]
    machine.open_again(3.0)
    assert [*took, machine.taken_elsewhere(4.0)] == [True, False, True]
    assert machine.state is State.CLAIMED


def test_no_token_is_in_the_representation() -> None:
    code, machine = drawn(Form.BOTH)
    assert code.valid(machine)[0].crypto.key not in repr((code, machine))
    assert errors.Taken.hint
