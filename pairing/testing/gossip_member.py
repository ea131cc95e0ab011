"""A member of Kairos' gossip as a program, for networks that tests lay.

    python -m pairing.testing.gossip_member MEETING [--bootstrap ADDRESS]

MEETING is a word: the same word makes the same token. It says hello five times a second and writes
JSON lines: `own` once, `peers` (who is connected) on each change, `heard` (whose hello came) each
second.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Sequence
from functools import partial

import trio

from pairing.edgevpn import nettoken
from pairing.edgevpn.gossip import Gossip
from pairing.edgevpn.names import names_at
from pairing.transport.p2p import EdgeVpn


def main(arguments: Sequence[str]) -> None:
    """Take part until killed."""
    trio.run(_take_part, arguments[0], list(arguments[2:]))


async def _take_part(meeting: str, bootstrap: Sequence[str]) -> None:
    token = nettoken.fresh(random.Random(meeting).randbytes)
    names = partial(names_at, token, int(time.time()))
    async with EdgeVpn(not bootstrap, bootstrap).joining(token, names=names) as place:
        await place.follow([names().topic])
        _say(own=place.own_id)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(_greet, place, names().topic)
            tasks.start_soon(_hear, place)


async def _greet(place: Gossip, topic: str) -> None:
    known: frozenset[str] = frozenset()
    while True:
        if place.peers() != known:
            known = place.peers()
            _say(peers=sorted(known))
        await place.publish(topic, b"hello")
        await trio.sleep(0.2)


async def _hear(place: Gossip) -> None:
    told: dict[str, float] = {}
    while True:
        sender = (await place.receive()).sender
        if trio.current_time() - told.get(sender, -1) >= 1:
            told[sender] = trio.current_time()
            _say(heard=sender)


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
