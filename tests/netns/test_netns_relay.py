"""Two networks that cannot reach each other, the relay between them, and the real commands.

    shop 10.77.1.2 --- 10.77.1.1 [relay 10.77.9.1:443] 10.77.2.1 --- 10.77.2.2 office

Nothing is forwarded: the shop's nodes and the office's operator reach the relay, and only it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pairing.testing import netns
from pairing.testing.commands import Commands, Event, verdicts
from pairing.testing.netns import Namespace, lab

ROOT = Path(__file__).parents[2]
MACHINE = ROOT / "examples" / "machines" / "virtio-vm.json"
CONFIG = ROOT / "examples" / "configs" / "minimal.yaml"
RELAY_IP, SHOP_IP = "10.77.9.1", "10.77.1.2"
HUNDRED, OPERATORS = 100, 4
START_AT_ONCE = 4
"""Interpreters that load libp2p at the same time, on two cores."""

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not netns.possible(), reason="needs root and network namespaces"),
    pytest.mark.timeout(300),
]


@dataclass
class World:
    """The topology above; programs in it end with the test."""

    commands: Commands
    shop: Namespace
    middle: Namespace
    office: Namespace
    relay: str = ""
    """Its address with the pin."""
    _relay: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start_relay(self) -> None:
        """`kairos-fleet relay` in the middle, on port 443 and the same certificate each time."""
        folder = str(self.commands.folder / "relay")
        arguments = ("--listen", "0.0.0.0:443", "--self-signed", folder)
        program = self._relay.enter_context(self.middle.program("cli.fleet", "relay", *arguments))
        pins = (line for line in program.lines() if line.startswith("pin: "))
        self.relay = RELAY_IP + next(pins).removeprefix("pin: ")

    def stop_relay(self) -> None:
        """SIGKILL, as a power cut would."""
        self._relay.close()

    def nodes(self, count: int) -> Sequence[Path]:
        with ThreadPoolExecutor(START_AT_ONCE) as pool:
            return list(pool.map(self.node, range(count)))

    def node(self, number: int) -> Path:
        return self.commands.node(self.shop, number, "--relay", self.relay)

    def register(self, pictures: Sequence[Path], *more: str) -> Iterator[Event]:
        return self.commands.register(self.office, pictures, "--relay", self.relay, *more)

    def results(self, pictures: Sequence[Path], *more: str) -> list[tuple[int, str]]:
        return verdicts(list(self.register(pictures, *more)))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with lab() as built, Commands(tmp_path, MACHINE, CONFIG) as commands:
        shop, middle, office = (built.namespace(name) for name in ("shop", "relay", "office"))
        built.cable(shop, f"{SHOP_IP}/24", middle, "10.77.1.1/24")
        built.cable(office, "10.77.2.2/24", middle, "10.77.2.1/24")
        middle.ip("address", "add", f"{RELAY_IP}/32", "dev", "lo")
        shop.ip("route", "add", RELAY_IP, "via", "10.77.1.1")
        office.ip("route", "add", RELAY_IP, "via", "10.77.2.1")
        made = World(commands, shop, middle, office)
        yield made
        made.stop_relay()


def connects(inside: Namespace, host: str, port: int) -> bool:
    """Whether a TCP connection from there succeeds."""
    program = f"import socket; socket.create_connection(({host!r}, {port}), 2)"
    return inside.run(sys.executable, "-c", program, check=False).status == 0


def test_only_the_relay_is_reachable_from_both_sides(world: World) -> None:
    world.start_relay()
    with world.shop.program("http.server", "7000") as server:
        next(server.lines())
        assert connects(world.shop, SHOP_IP, 7000)
        assert not connects(world.office, SHOP_IP, 7000)
    assert connects(world.office, RELAY_IP, 443)
    assert connects(world.shop, RELAY_IP, 443)


@pytest.mark.timeout(900)
@pytest.mark.soak
def test_a_hundred_nodes_are_paired_through_the_relay(world: World) -> None:
    world.start_relay()
    pictures = world.nodes(HUNDRED)
    groups = [pictures[start::OPERATORS] for start in range(OPERATORS)]
    with ThreadPoolExecutor(OPERATORS) as pool:
        found = [result for results in pool.map(world.results, groups) for result in results]
    missing = set(range(HUNDRED)) - {int(serial.partition("-")[2]) for _, serial in found if serial}
    assert not missing, {number: world.commands.said[number] for number in missing}
    assert sorted(found) == sorted((0, f"serial-{number}") for number in range(HUNDRED))


@pytest.mark.parametrize("state", ["claimed", "planned"])
def test_a_relay_restarted_in_mid_conversation_is_no_harm(world: World, state: str) -> None:
    world.start_relay()
    pictures = world.nodes(3)
    seen = []
    for event in world.register(pictures):
        seen.append(event)
        if event.get("state") == state and event.get("serial") == "serial-1":
            world.stop_relay()
            world.start_relay()
    assert verdicts(seen) == [(0, f"serial-{number}") for number in range(3)]
    one = [e["seq"] for e in seen if e.get("serial") == "serial-1" and "seq" in e]
    assert one == list(range(1, len(one) + 1)), "every event once and in order"
    if state == "claimed":  # later the rest may have been said already
        assert any("dialling again" in event.get("text", "") for event in seen)


def test_a_relay_that_was_away_for_a_while_is_no_harm(world: World) -> None:
    world.start_relay()
    pictures = world.nodes(2)
    world.stop_relay()
    events = world.register(pictures)
    first = [next(events)]
    world.start_relay()
    assert verdicts([*first, *events]) == [(0, "serial-0"), (0, "serial-1")]


def test_a_node_behind_an_http_proxy_reaches_the_relay(world: World) -> None:
    """The shop's own way to the relay is gone; the proxy in the middle has one."""
    world.start_relay()
    world.shop.ip("route", "delete", RELAY_IP)
    assert not connects(world.shop, RELAY_IP, 443)
    with world.middle.program("pairing.testing.proxy", "10.77.1.1", "3128") as proxy:
        assert next(proxy.lines()) == "listening"
        behind = {"HTTPS_PROXY": "http://10.77.1.1:3128"}
        more = ("--relay", world.relay)
        through = world.commands.node(world.shop, 0, *more, environment=behind)
        without = world.commands.node(world.shop, 1, *more)
        assert world.results([through]) == [(0, "serial-0")]
        assert world.results([without], "--timeout", "5") == [(5, "")]
