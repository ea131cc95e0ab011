"""Our node behind Kairos' own code, and stock Kairos tools."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from pairing.testing.commands import Commands, verdicts
from pairing.testing.stock import Stock

pytestmark = pytest.mark.timeout(300)

STOCK = Stock()
CONFIG = """#cloud-config
hostname: shop-0815
install:
  nousers: true
  encrypt: none
"""


def wait_until_written(commands: Commands) -> None:
    """Our node has carried the config out."""
    deadline = time.monotonic() + 60
    while "written" not in tuple(commands.said[0]):
        assert time.monotonic() < deadline, list(commands.said[0])
        time.sleep(0.2)


@pytest.mark.parametrize("form", ["kairos", "both"])
def test_a_stock_operator_registers_our_node_from_its_screen(
    form: str, lan: Callable[[int], Any], commands: Commands
) -> None:
    """Its own QR reader on a picture of our screen, its own `Send`; our node installs."""
    [(shop, office)] = lan(2).pairs()
    settings = commands.folder / "node.yaml"
    settings.write_text(f"token: {form}\n")
    screen = commands.node(shop, 0, "--settings", str(settings))
    payload = {"cc": CONFIG, "device": ""}
    with STOCK.start(office, "send", {"payload": payload}, "-photo", str(screen)) as operator:
        operator.wait("sent")
        wait_until_written(commands)


def test_the_commands_meet_stock_peers_through_a_dht(apart: Any, commands: Commands) -> None:
    """Our node and a stock one in one network; their operators in another, ours and a stock one."""
    settings = commands.folder / "node.yaml"
    settings.write_text(f"token: kairos\nmdns: false\nbootstrap: [{apart.bootstrap}]\n")
    screen = commands.node(apart.node, 0, "--settings", str(settings))
    token, flags = STOCK.token(), ("-bootstrap", apart.bootstrap)
    picture = STOCK.picture(token, commands.folder / "stock.png")
    request = {"payload": {"cc": CONFIG, "device": ""}}
    with (
        STOCK.start(apart.node, "receive", {"token": token}, *flags) as node,
        STOCK.start(apart.operator, "send", request, "-photo", str(screen), *flags) as operator,
    ):
        found = list(commands.register(apart.operator, [picture], "--bootstrap", apart.bootstrap))
        assert {code for code, _ in verdicts(found)} <= {0, 10}, found
        assert "shop-0815" in node.wait("received")["payload"]["cc"]
        operator.wait("sent")
        wait_until_written(commands)
