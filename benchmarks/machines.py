"""The state machines and parsers alone: no sockets, no clock. What a pairing costs at least."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from pairing import peertoken
from pairing.config import load
from pairing.events import State
from pairing.protocol.terms import Release
from pairing.qr import render
from pairing.testing.conversation import Conversation
from pairing.testing.measured import TOP, Figure
from pairing.testing.tokens import random_token

ROUNDS = 7
SECONDS = 1.0
"""For each round."""


def measure(quick: bool) -> list[Figure]:
    """Times a second, each in several rounds."""
    rounds, seconds = (2, 0.05) if quick else (ROUNDS, SECONDS)
    text = random_token(random.Random(1))
    token = peertoken.parse(text)
    config = (TOP / "examples" / "configs" / "kairos-usual.yaml").read_bytes()
    return [
        Figure(name=name, unit="/s", samples=[per_second(work, seconds) for _ in range(rounds)])
        for name, work in (
            ("claims, both ends, with all signatures", claim),
            ("whole conversations until written", converse),
            ("tokens read", lambda: peertoken.parse(text)),
            ("tokens written", lambda: peertoken.to_text(token)),
            ("codes drawn", lambda: render.modules(text)),
            ("configs read", lambda: load(config)),
        )
    ]


def per_second(work: Callable[[], object], seconds: float) -> float:
    """How often `work` is done in a second, measured for about `seconds`."""
    work()
    count, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        work()
        count += 1
    return count / elapsed


def claim() -> None:
    """A new node, a new operator, from the photo to the lease."""
    talk = Conversation()
    end = talk.operator()
    talk.connect(end)
    if end.view is None:
        raise RuntimeError("the claim failed")


def converse() -> None:
    """The same, then release, plan and verdict."""
    talk = Conversation()
    end = talk.operator()
    talk.connect(end)
    talk.release(end, Release(config=b"hostname: shop\n"))
    machine = talk.node.machine
    for state in (State.INSTALLING, State.WRITTEN):
        talk.node_says(machine.entered(state, talk.now))
    if end.done is None:
        raise RuntimeError("the conversation did not end")
