"""Somebody else has the photo too: a second stock receiver with the same token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pairing.testing.netns import Namespace
from pairing.testing.stock import Peer, Stock, ours

pytestmark = pytest.mark.timeout(300)

STOCK = Stock()
PAYLOAD = {"cc": "#cloud-config\nhostname: secret\n", "device": "/dev/sda"}


@contextmanager
def two_receivers(shop: Namespace, stranger: Namespace, token: str) -> Iterator[tuple[Peer, Peer]]:
    """The node and a stranger, who have met by the time that anybody sends."""
    with (
        STOCK.start(shop, "receive", {"token": token}) as node,
        STOCK.start(stranger, "receive", {"token": token}) as other,
        STOCK.start(shop, "network", {"token": token}) as watcher,
    ):
        while len(watcher.wait("ledger").get("ledger", {}).get("presence", {})) < 2:
            pass
        watcher.end()
        yield node, other


def test_nothing_is_sent_where_a_stranger_takes_part(lan: Callable[[int], Any]) -> None:
    shop, stranger, office = lan(3).machines
    token = STOCK.token()
    with two_receivers(shop, stranger, token) as receivers, ours(office) as operator:
        operator.say({"send": [{"token": token, "payload": PAYLOAD}]})
        said = operator.rest()
        assert (said[-1]["event"], said[-1]["exit"]) == ("failed", 6)
        assert "sent" not in [answer["event"] for answer in said]
        for receiver, seconds in zip(receivers, (12, 1), strict=True):
            with pytest.raises(AssertionError, match="no received"):
                receiver.wait("received", seconds)


def test_the_stock_tool_tells_both(lan: Callable[[int], Any]) -> None:
    """The positive control: the same two, and Kairos' own sender."""
    shop, stranger, office = lan(3).machines
    token = STOCK.token()
    with (
        two_receivers(shop, stranger, token) as receivers,
        STOCK.start(office, "send", {"token": token, "payload": PAYLOAD}),
    ):
        for receiver in receivers:
            assert receiver.wait("received")["payload"] == PAYLOAD
