"""How much of a terminal may be on its way, and a node or operator that sends more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import errors
from pairing.protocol.terminal import (
    PIECE,
    PIECES,
    WINDOW,
    Inflow,
    Outflow,
    TerminalData,
    TerminalTaken,
)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, PIECE)), max_size=300))
def test_never_more_than_the_window_and_never_stuck(steps: list[tuple[bool, int]]) -> None:
    out, into, waiting = Outflow(), Inflow(), 0
    for sends, size in steps:
        room = out.room()
        assert room <= PIECE
        if sends and room:
            data = bytes(min(size, room))
            into.add(out.send(data))
            waiting += len(data)
        elif not sends and waiting:
            used = min(size, waiting)
            out.acknowledged(into.take(used))
            waiting -= used
        assert out.sent - out.taken == waiting <= WINDOW
    if waiting:
        out.acknowledged(into.take(waiting))
    assert out.room() == PIECE


def test_many_small_pieces_wait_too() -> None:
    out = Outflow()
    for _ in range(PIECES):
        out.send(b"a")
    assert out.room() == 0
    out.acknowledged(TerminalTaken(total=1))
    assert out.room() > 0


@pytest.mark.parametrize("size", [1, PIECE])
def test_who_sends_more_is_cut_off(size: int) -> None:
    into = Inflow()
    for _ in range(min(PIECES, WINDOW // size)):
        into.add(TerminalData(data=bytes(size)))
    with pytest.raises(errors.ProtocolBroken):
        into.add(TerminalData(data=bytes(size)))


@pytest.mark.parametrize("total", [0, 7])
def test_who_takes_what_was_not_sent_is_cut_off(total: int) -> None:
    out = Outflow()
    out.send(b"abcdef")
    out.acknowledged(TerminalTaken(total=3))
    with pytest.raises(errors.ProtocolBroken):
        out.acknowledged(TerminalTaken(total=total))


def test_keys_are_in_no_repr() -> None:
    assert "hunter2" not in repr(TerminalData(data=b"hunter2"))
