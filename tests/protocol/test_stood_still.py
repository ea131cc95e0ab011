"""A node that stood still: firmware that writes its variables stops the whole machine."""

from __future__ import annotations

from pairing import errors
from pairing.protocol import messages
from pairing.protocol.terms import Patience
from pairing.protocol.wire import write_message
from pairing.testing.conversation import Conversation, OperatorEnd
from tests.protocol.test_conversation import install, pair, silent_after


def refused_while_still(talk: Conversation, end: OperatorEnd) -> None:
    """The node was silent for so long that it hangs up on its operator as it goes on."""
    late = messages.Refused(code=errors.PhaseTimeout.slug, text="", holder="", age=0)
    talk.operator_says(end, end.machine.received(write_message(late), talk.now))
    talk.cut(end)
    talk.operator_says(end, end.machine.lost(talk.now))


def test_a_node_that_stood_still_after_the_release_is_dialled_again() -> None:
    talk = Conversation()
    end = talk.operator(patience=Patience(silence=60, handshake=10))
    pair(talk, end)
    talk.now += 40
    refused_while_still(talk, end)
    assert end.error is None
    assert len(end.redials) == 1
    talk.connect(end)
    install(talk)
    assert end.done is not None


def test_it_may_hang_up_more_than_once_while_it_stands_still() -> None:
    """A handshake's deadline is shorter than the silence that the last word allows."""
    talk = Conversation()
    end = talk.operator(patience=Patience(silence=60, handshake=10))
    pair(talk, end)
    for _ in range(3):
        talk.now += 15
        refused_while_still(talk, end)
        end.machine.opened(b"k" * 32, "memory", talk.now, talk.node.machine.public)
    refused_while_still(talk, end)
    assert silent_after(talk, end, 14) is None
    assert silent_after(talk, end, 2) == 12, "but the silence counts from the last word"


def test_before_the_release_its_refusal_is_final() -> None:
    talk = Conversation()
    end = talk.operator()
    talk.connect(end)
    refused_while_still(talk, end)
    assert isinstance(end.error, errors.PhaseTimeout)


def test_a_node_that_stood_still_hears_what_was_said_meanwhile() -> None:
    """Firmware that writes its variables stops the whole machine, longer than a caller may idle."""
    talk = Conversation()
    end = talk.operator()
    pair(talk, end)
    talk.wait(1)
    talk.now += 45
    talk.node_says(talk.node.machine.tick(talk.now))
    assert end.error is None
    assert not end.redials
    install(talk)
    assert end.done is not None


def test_a_silent_operator_is_not_taken_for_a_node_that_stood_still() -> None:
    talk = Conversation()
    end = talk.operator()
    talk.connect(end)
    for _ in range(31):
        talk.now += 1
        talk.node.machine.tick(talk.now)  # what it says is lost
    assert not talk.node.machine.callers
