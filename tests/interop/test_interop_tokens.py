"""Stock Kairos peers, old and new, pair with the short tokens that we write."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from pairing import keys
from pairing.edgevpn import nettoken
from pairing.edgevpn.nettoken import NativePart
from pairing.testing.stock import AGES, Stock
from pairing.transport.base import Address

pytestmark = pytest.mark.timeout(300)

PAYLOAD = {"cc": "#cloud-config\nhostname: n1\n", "device": "/dev/sda", "reboot": ""}
NATIVE = NativePart(keys.SigningKey(b"k" * 32).public, Address("192.168.100.100", 4917))


def test_stock_peers_take_our_tokens(lan: Callable[[int], Any]) -> None:
    """212 characters; and with what our own protocol needs in it, which they skip."""
    texts = []
    for native in (None, NATIVE):
        token = replace(nettoken.fresh(secrets.token_bytes), native=native)
        texts.append(nettoken.to_text(token))
    assert len(texts[0]) == 212
    asked = [(Stock(age), text) for age in AGES for text in texts]
    with ExitStack() as stack:
        pairs = []
        for (peers, text), (shop, office) in zip(asked, lan(8).pairs(), strict=True):
            request = {"token": text, "payload": PAYLOAD}
            node = stack.enter_context(peers.start(shop, "receive", {"token": text}))
            operator = stack.enter_context(peers.start(office, "send", request))
            pairs.append((node, operator))
        for node, operator in pairs:
            operator.wait("sent")
            assert node.wait("received")["payload"] == PAYLOAD
