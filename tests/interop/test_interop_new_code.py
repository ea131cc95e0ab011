"""Our node's screen with Kairos' own code: older senders, and our own channel in the same photo.

The newer ones: test_interop_node. Refusals and the code after them: test_interop_twenty."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from PIL import Image

from pairing.edgevpn import nettoken
from pairing.testing.commands import Commands, verdicts
from pairing.testing.netns import Namespace
from pairing.testing.stock import Peer, Stock

pytestmark = pytest.mark.timeout(300)

MINIMAL = Path(__file__).parents[2] / "examples" / "configs" / "minimal.yaml"
SECONDS = 90.0
GOOD = """#cloud-config
hostname: shop-17 # "quotes" 'ü' 机器 🙂
users:
  - name: kairos
    passwd: kairos
    groups: [admin]
install:
  auto: true
  encrypt: none
"""
NEW, OLD = Stock("new"), Stock("old")


def start(commands: Commands, inside: Namespace, number: int, settings: str) -> Path:
    """A node with these settings; the picture of its screen. It ends once it is written."""
    file = commands.folder / f"settings-{number}.yaml"
    file.write_text(settings)
    return commands.node(inside, number, "--settings", str(file), "--once")


def code_on(picture: Path, *, other_than: str = "") -> str:
    """What a photo of the screen says."""
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        with Image.open(picture) as screen:
            texts = [code.text for code in zxingcpp.read_barcodes(screen.convert("L"))]
        if texts and texts[0] != other_than:
            return texts[0]
        time.sleep(0.5)
    raise AssertionError("no code on the screen")


def until_said(commands: Commands, number: int, text: str) -> None:
    """Wait for a line of the node's journal."""
    ends = time.monotonic() + SECONDS
    while not any(text in line for line in commands.said[number]):
        assert time.monotonic() < ends, commands.said[number]
        time.sleep(0.2)


def sending(
    peers: Stock, inside: Namespace, code: str, config: str, *flags: str
) -> AbstractContextManager[Peer]:
    """Stock `Send`, started."""
    request = {"token": code, "payload": {"cc": config, "device": ""}}
    return peers.start(inside, "send", request, *flags)


def test_older_stock_senders_install_our_machines(
    lan: Callable[[int], Any], commands: Commands
) -> None:
    """Both forms of the code, side by side."""
    cases = [("kairos", OLD), ("both", OLD)]
    pairs = lan(2 * len(cases)).pairs()
    with contextlib.ExitStack() as running:
        operators = []
        for number, ((form, peers), (shop, office)) in enumerate(zip(cases, pairs, strict=True)):
            code = code_on(start(commands, shop, number, f"token: {form}\n"))
            assert (nettoken.parse(code).native is None) is (form == "kairos")
            operators.append(running.enter_context(sending(peers, office, code, GOOD)))
        for number, operator in enumerate(operators):
            operator.wait("sent")
            until_said(commands, number, "config received")
            until_said(commands, number, "written")


def test_the_native_channel_works_with_the_photo_of_both(
    lan: Callable[[int], Any], commands: Commands
) -> None:
    """Our own command finds our own channel in the larger code, with its progress and verdict."""
    [(shop, office)] = lan(2).pairs()
    picture = start(commands, shop, 0, "token: both\n")
    code_on(picture)
    commands.config = MINIMAL
    commands.wanted = ("--wait", "written", "--approve", "yes")  # without --kairos
    events = list(commands.register(office, [picture]))
    assert verdicts(events) == [(0, "serial-0")], events
