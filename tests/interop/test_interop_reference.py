"""Stock Kairos peers among themselves: what ours is measured against, and the positive control.

If these fail, the network or the build is wrong, not our side of the protocol.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pairing.testing.stock import AGES, Age, Peer, Stock

pytestmark = pytest.mark.timeout(300)
LEDGER_SECONDS = 200.0
"""Stock members that miss each other as their names change meet at a later change."""

PINNED = {
    "new": {"kairos-io/go-nodepair": "v0.3.0", "mudler/edgevpn": "v0.35.3"},
    "old": {"kairos-io/go-nodepair": "v0.3.0", "mudler/edgevpn": "v0.28.4"},
}
PAYLOAD = {"cc": "#cloud-config\nhostname: n1\n", "device": "/dev/sda", "reboot": ""}


def assert_paired(node: Peer) -> None:
    """The node has what was sent. Whether the sender ever hears of that is chance.

    A stock receiver leaves a second after its answer was written, which may be before it is said;
    a stock sender then waits for ever.
    """
    assert node.wait("received")["payload"] == PAYLOAD


@pytest.mark.parametrize("age", AGES)
def test_the_modules_are_the_pinned_ones_unmodified(age: Age) -> None:
    """A line `=>` in `go version -m` would be a replacement."""
    found = Stock(age).versions()
    assert {
        name.partition("/")[2]: found[name] for name in found if "libp2p" not in name
    } == PINNED[age]
    lines = Stock(age).program.contents()
    assert not re.search(r"^\t=>", lines, re.MULTILINE)


@pytest.mark.parametrize("age", AGES)
def test_two_stock_peers_pair_on_a_lan(age: Age, lan: Callable[[int], Any]) -> None:
    peers = Stock(age)
    [(shop, office)] = lan(2).pairs()
    token = peers.token()
    with (
        peers.start(shop, "receive", {"token": token}) as node,
        peers.start(office, "send", {"token": token, "payload": PAYLOAD}),
    ):
        assert_paired(node)


def test_they_pair_through_a_dht_where_mdns_does_not_reach(apart: Any) -> None:
    peers = Stock()
    token = peers.token()
    flags = ("-bootstrap", apart.bootstrap)
    with (
        peers.start(apart.node, "receive", {"token": token}, *flags) as node,
        peers.start(apart.operator, "send", {"token": token, "payload": PAYLOAD}, *flags),
    ):
        assert_paired(node)


def test_without_the_dht_they_do_not(apart: Any) -> None:
    """The positive control of the one before."""
    peers = Stock()
    token = peers.token()
    with (
        peers.start(apart.node, "receive", {"token": token}) as node,
        peers.start(apart.operator, "send", {"token": token, "payload": PAYLOAD}),
        pytest.raises(AssertionError, match="no received"),
    ):
        node.wait("received", 25)


def held(member: Peer) -> Mapping[str, str]:
    """What the ledger has of Kairos' own entries, once it has changed."""
    changed = member.wait("ledger", LEDGER_SECONDS)
    found: Mapping[str, str] = changed.get("ledger", {}).get("kairos", {})
    return found


def test_a_running_network_keeps_what_its_members_write(lan: Callable[[int], Any]) -> None:
    """With a token whose names change every half minute."""
    peers, [(one, other)] = Stock(), lan(2).pairs()
    token = peers.token(30)
    ledger = {"kairos": {"uuid-1-role": "master", "master-kubeconfig": "YXBpVmVyc2lvbjogdjEK"}}
    with (
        peers.start(one, "network", {"token": token, "ledger": ledger}) as writer,
        peers.start(other, "network", {"token": token}) as reader,
    ):
        writer.wait("started")
        seen: Mapping[str, str] = {}
        while "uuid-1-role" not in seen or "master-kubeconfig" not in seen:
            seen = held(reader)
        assert seen["uuid-1-role"] == '"master"'
        writer.say({"ledger": {"kairos": {"uuid-1-role": "worker"}}})
        while seen.get("uuid-1-role") != '"worker"':
            seen = held(reader)
