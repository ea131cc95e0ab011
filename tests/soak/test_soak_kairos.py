"""Pairings over Kairos' own protocol, thousands of them in virtual time: ours, stock, old, new.

Networks are slow, overtaking, repeating, and some lose messages, which real ones do not (a stream
carries them); there a stock receiver's only answer may be lost with it.
"""

from __future__ import annotations

import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio

from pairing import errors
from pairing.edgevpn import nettoken
from pairing.edgevpn.payload import Payload, from_json, to_json
from pairing.edgevpn.session import receive, send
from pairing.testing.gopeer import go_receive, go_send
from pairing.testing.gossip import MemoryGossip
from pairing.testing.virtualtime import thread_clock

Part = Any
Job = Callable[[], Awaitable[Any]]
PAYLOAD = Payload("#cloud-config\nhostname: käthe\n", "/dev/sda")
LONGEST = 1000.0
"""Virtual seconds, far beyond all deadlines."""


def some_network(chance: random.Random) -> MemoryGossip:
    return MemoryGossip(
        latency=chance.choice((0.001, 0.01, 0.2, 0.5)),
        jitter=chance.choice((0.0, 0.1, 1.0, 3.0)),
        loss=chance.choice((0.0, 0.0, 0.1, 0.3, 0.5)),
        repeats=chance.choice((0.0, 0.3)),
        meeting=chance.choice((0.05, 0.5, 3.0)),
        seed=chance.randrange(2**32),
    )


async def outcome(job: Job, results: list[Any]) -> None:
    try:
        results.append(await job())
    except errors.KairosNoAnswer as error:
        results.append(error)


async def pairing(chance: random.Random, counts: Counter[str]) -> None:
    """One node, one operator, in any order; at most one of them is stock."""
    network, token = some_network(chance), nettoken.fresh(chance.randbytes)
    stock, old = chance.choice(("", "node", "operator")), chance.random() < 0.5
    node: Job = partial(receive, network, token)
    operator: Job = partial(send, network, token, PAYLOAD)
    if stock == "node":
        node = partial(go_receive, network, token, chance.randrange(2**32), old=old)
    elif stock == "operator":
        seed = chance.randrange(2**32)
        operator = partial(go_send, network, token, to_json(PAYLOAD), seed, old=old)
    got: list[Any] = []
    sent: list[Any] = []
    both = [(node, got), (operator, sent)]
    chance.shuffle(both)
    with trio.fail_after(LONGEST):
        async with trio.open_nursery() as nursery:
            for job, results in both:
                nursery.start_soon(outcome, job, results)
                await trio.sleep(chance.uniform(0, 30))
    assert (from_json(got[0]) if stock == "node" else got[0]) == PAYLOAD
    told = stock == "operator" or (not isinstance(sent[0], Exception) and sent[0].acknowledged)
    counts["acknowledged" if told else "lost answers"] += 1
    if not told:
        assert network.loss, "an answer was lost where nothing is"
        assert stock == "node", "our own node goes on until it was heard"


@pytest.mark.soak(share=0.02)
def test_pairings_over_kairos_protocol(part: Part) -> None:
    seed, counts = secrets.randbelow(2**32), Counter[str]()
    while not part.over:
        try:
            trio.run(pairing, random.Random(seed), counts, clock=thread_clock())
        except BaseException:
            print(f"seed {seed}")
            raise
        seed += 1
        part.kept.update(seed=seed, pairings=dict(counts))
    assert counts["acknowledged"]
