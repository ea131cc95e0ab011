"""What waits to be read or sent: nobody's rubbish costs another one his word."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from pairing.edgevpn.gossip import Heard
from pairing.transport.p2p.gossip.inbox import (
    BYTES_LIMIT,
    MESSAGES_EACH,
    MESSAGES_LIMIT,
    Inbox,
)
from pairing.transport.p2p.gossip.neighbour import OUTBOX_MESSAGES, Neighbour
from pairing.transport.p2p.identity import fresh, peer_id


def message(sender: str, data: bytes = b"") -> Heard:
    return Heard("topic", data, sender)


def all_of(inbox: Inbox) -> list[Heard]:
    """Everything that waits, in the order in which it is read."""

    async def take() -> list[Heard]:
        return [await inbox.take() for _ in range(len(inbox))]

    return trio.run(take)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("strangers", [1, 63])
@pytest.mark.parametrize("size", [10, 3_000_000])
def test_the_word_of_a_node_is_not_pushed_out(strangers: int, size: int, own: bool) -> None:
    inbox = Inbox()
    inbox.put(message("node", b"word"), "node")
    for number in range(640):
        stranger = f"stranger {number % strangers}"
        inbox.put(message(stranger if own else f"made up {number}", bytes(size)), stranger)
    found = all_of(inbox)
    assert message("node", b"word") in found[:1]
    assert len(found) <= MESSAGES_LIMIT
    assert sum(len(heard.data) for heard in found) <= BYTES_LIMIT


def test_a_node_that_passes_rubbish_on_is_heard_itself() -> None:
    inbox = Inbox()
    inbox.put(message("node", b"word"), "node")
    for number in range(100):
        inbox.put(message(f"made up {number}"), "node")
    found = all_of(inbox)
    assert found[0] == message("node", b"word")
    assert len(found) == 1 + MESSAGES_EACH


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.integers(0, 3))))
def test_each_neighbours_newest_are_there_in_their_order(said: list[tuple[str, str, int]]) -> None:
    inbox = Inbox()
    sent = [
        (neighbour, message(author, bytes([number % 256, size])))
        for number, (neighbour, author, size) in enumerate(said)
    ]
    for neighbour, heard in sent:
        inbox.put(heard, neighbour)
    found = all_of(inbox)
    for neighbour in "abc":
        for direct in (True, False):
            ours = [h for n, h in sent if n == neighbour and (h.sender == n) is direct]
            newest = ours[-MESSAGES_EACH:]
            assert [heard for heard in found if heard in newest] == newest


async def test_what_is_passed_on_does_not_push_out_what_we_say() -> None:
    neighbour = Neighbour(peer_id(fresh().public_key))
    ours = b"ours"
    neighbour.publish(ours)
    for number in range(3 * OUTBOX_MESSAGES):
        neighbour.put(str(number).encode())
    assert len(neighbour._outbox) == OUTBOX_MESSAGES
    assert neighbour._outbox[0] is ours
    newer = b"newer"
    neighbour.publish(newer)
    for number in range(3 * OUTBOX_MESSAGES):
        neighbour.put(str(number).encode())
    assert ours not in neighbour._outbox
    assert newer in neighbour._outbox
