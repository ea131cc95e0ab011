"""Whom to dial and when, without network or clock."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pairing.transport.base import Address
from pairing.transport.p2p.gossip.policy import (
    ADDRESS_LIMIT,
    AGAIN_FIRST,
    AGAIN_MOST,
    CANDIDATES_LIMIT,
    GO_HEAD_START,
    OWN_KIND_HEAD_START,
    DialPolicy,
)

WHERE = (Address("192.0.2.7", 4001),)
NOBODY: frozenset[str] = frozenset()


def first_dial(policy: DialPolicy, connected: frozenset[str] = NOBODY) -> float | None:
    """When the policy first wants to dial, in tenths of a second."""
    for tenth in range(100):
        if policy.due(connected, tenth / 10):
            return tenth / 10
    return None


def policy_that_found(own: str, peer: str, *, own_kind: bool, dials_us: bool = True) -> DialPolicy:
    policy = DialPolicy(own)
    policy.found(peer, WHERE, 0.0, own_kind=own_kind, dials_us=dials_us)
    return policy


def test_a_go_peer_may_dial_us_first() -> None:
    policy = policy_that_found("b", "a", own_kind=False)
    assert first_dial(policy) == GO_HEAD_START
    policy = policy_that_found("b", "a", own_kind=False)
    assert first_dial(policy, frozenset({"a"})) is None


def test_one_that_cannot_know_us_is_dialed_at_once() -> None:
    assert first_dial(policy_that_found("b", "a", own_kind=False, dials_us=False)) == 0.0


@given(st.text("abc", min_size=1, max_size=3), st.text("abc", min_size=1, max_size=3))
def test_of_two_of_our_kind_one_waits(one: str, other: str) -> None:
    here = first_dial(policy_that_found(one, other, own_kind=True))
    there = first_dial(policy_that_found(other, one, own_kind=True))
    if one == other:
        assert here is None  # ourselves
    else:
        assert {here, there} == {0.0, OWN_KIND_HEAD_START}


def test_pauses_grow_and_a_connection_makes_them_short_again() -> None:
    policy = policy_that_found("b", "a", own_kind=False, dials_us=False)
    dialed = [at / 10 for at in range(2000) if policy.due(NOBODY, at / 10)]
    pauses = [round(later - sooner, 1) for sooner, later in itertools.pairwise(dialed)]
    assert pauses[:5] == [AGAIN_FIRST, 2.0, 4.0, 8.0, 16.0]
    assert max(pauses) == AGAIN_MOST
    assert not policy.due(frozenset({"a"}), 200.0)
    assert not policy.due(NOBODY, 200.9)
    assert policy.due(NOBODY, 201.0)


def test_newly_announced_addresses_come_first() -> None:
    policy = policy_that_found("b", "a", own_kind=False)
    new = Address("192.0.2.8", 4001)
    policy.found("a", (new, *WHERE), 1.0, own_kind=False, dials_us=True)
    assert policy.due(NOBODY, 5.0)["a"] == (new, *WHERE)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 40)), max_size=400))
def test_what_is_kept_is_bounded(said: list[tuple[int, int]]) -> None:
    policy = DialPolicy("own")
    for peer, port in said:
        policy.found(f"p{peer}", (Address("192.0.2.7", port),), 0, own_kind=False, dials_us=True)
    due = policy.due(NOBODY, 100.0)
    assert len(due) == min(CANDIDATES_LIMIT, len({peer for peer, _ in said}))
    assert all(0 < len(where) <= ADDRESS_LIMIT for where in due.values())


def test_a_flood_of_names_does_not_lock_an_honest_peer_out() -> None:
    policy = DialPolicy("own")
    for number in range(10 * CANDIDATES_LIMIT):
        policy.found(f"p{number}", WHERE, 0.0, own_kind=False, dials_us=False)
        policy.due(NOBODY, 0.0)
    policy.found("honest", WHERE, 1.0, own_kind=False, dials_us=False)
    assert "honest" in policy.due(NOBODY, 1.0)
