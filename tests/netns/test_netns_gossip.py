"""Kairos' gossip between machines: found by mDNS over IPv4 and IPv6 alone, and cables pulled."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pairing.testing import netns
from pairing.testing.netns import Lab, Namespace, lab

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not netns.possible(), reason="needs root and network namespaces"),
    pytest.mark.timeout(180),
]
SECONDS = 60.0


class Member:
    """A running member and what it says."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(lines,), daemon=True).start()
        self.own = str(self.until("own")["own"])

    def until(self, key: str, holds: Callable[[Any], bool] = lambda _value: True) -> dict[str, Any]:
        """The next line with that key whose value holds. Raises queue.Empty."""
        while True:
            said = self._said.get(timeout=SECONDS)
            if key in said and holds(said[key]):
                return said

    def _listen(self, lines: Iterator[str]) -> None:
        with contextlib.suppress(ValueError):  # the pipe was closed
            for line in lines:
                if line.startswith("{"):
                    self._said.put(json.loads(line))


@contextlib.contextmanager
def member(inside: Namespace, meeting: str = "shop") -> Iterator[Member]:
    with inside.program("pairing.testing.gossip_member", meeting) as program:
        yield Member(program.lines())


def met(one: Member, other: Member) -> None:
    """Each is connected with the other and nobody else, and hears it."""
    for here, there in ((one, other), (other, one)):
        here.until("peers", [there.own].__eq__)
        here.until("heard", there.own.__eq__)


@pytest.fixture
def built() -> Iterator[Lab]:
    with lab() as made:
        yield made


def port_of(machine: Namespace) -> str:
    """Its only network interface."""
    links = machine.ip("-o", "link", "show", "type", "veth").split()
    return links[1].rstrip(":").partition("@")[0]


@pytest.mark.parametrize("network", ["10.77.5.", "fd77:5::"])
def test_two_machines_meet_on_one_ethernet(network: str, built: Lab) -> None:
    mask = 64 if ":" in network else 24
    shop, office, other = (built.namespace(name) for name in ("shop", "office", "other"))
    built.switch({f"{network}{n}/{mask}": m for n, m in enumerate((shop, office, other), 2)})
    with member(shop) as one, member(office) as two, member(other, "another meeting"):
        met(one, two)


def test_a_pulled_cable_is_noticed_and_a_new_one_found(built: Lab) -> None:
    shop, office = built.namespace("shop"), built.namespace("office")
    built.switch({"10.77.6.2/24": shop, "10.77.6.3/24": office})
    with member(shop) as one, member(office) as two:
        met(one, two)
        port = port_of(shop)
        shop.ip("link", "set", port, "down")
        two.until("peers", lambda peers: not peers)
        one.until("peers", lambda peers: not peers)
        shop.ip("link", "set", port, "up")
        met(one, two)
