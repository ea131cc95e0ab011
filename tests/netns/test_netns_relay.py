"""Two networks that cannot reach each other, the relay between them, and the real commands.

    shop 10.77.1.2 --- 10.77.1.1 [relay 10.77.9.1:443] 10.77.2.1 --- 10.77.2.2 office

Nothing is forwarded: the shop's nodes and the office's operator reach the relay, and only it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pairing.process import Program
from pairing.testing import netns
from pairing.testing.netns import Lab, Namespace, lab

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

    lab: Lab
    folder: Path
    stack: contextlib.ExitStack
    shop: Namespace
    middle: Namespace
    office: Namespace
    relay: str = ""
    """Its address with the pin."""
    _relay: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start_relay(self) -> Program:
        """`kairos-fleet relay` in the middle, on port 443 and the same certificate each time."""
        arguments = ("--listen", "0.0.0.0:443", "--self-signed", str(self.folder / "relay"))
        program = self._relay.enter_context(self.middle.program("cli.fleet", "relay", *arguments))
        for line in program.lines():
            if line.startswith("pin: "):
                self.relay = RELAY_IP + line.removeprefix("pin: ")
                break
        return program

    def stop_relay(self) -> None:
        """SIGKILL, as a power cut would."""
        self._relay.close()

    def node(self, number: int, environment: Mapping[str, str] | None = None) -> Path:
        """`kairos-node run` in the shop; the picture of its screen, once it waits at the relay."""
        picture, machine = self.folder / f"{number}.png", self.folder / f"{number}.json"
        facts = json.loads(MACHINE.read_text())
        machine.write_text(json.dumps({**facts, "serial": f"serial-{number}"}))
        arguments = ["--machine", machine, "--picture", picture, "--relay", self.relay]
        arguments += ["--port", "0", "--abort-seconds", "0"]
        arguments += ["--state", self.folder / f"state-{number}"]
        program = self.stack.enter_context(
            self.shop.program("node", "run", *map(str, arguments), environment=environment)
        )
        for line in program.lines():
            if line == "code shown":
                break
        else:
            raise AssertionError(f"node {number} ended with {program.wait(5)}")
        threading.Thread(target=_read_on, args=(program,), daemon=True).start()
        return picture

    def nodes(self, count: int) -> Sequence[Path]:
        with ThreadPoolExecutor(START_AT_ONCE) as pool:
            return list(pool.map(self.node, range(count)))

    def register(self, pictures: Sequence[Path], *more: str) -> list[dict[str, Any]]:
        """`kairos-register` in the office: all its events and verdicts."""
        return list(self.stream(pictures, *more))

    def stream(self, pictures: Sequence[Path], *more: str) -> Iterator[dict[str, Any]]:
        """The same as they come."""
        arguments = ["--config", CONFIG, "--relay", self.relay, "--wait", "written"]
        arguments += ["--approve", "yes", "--output", "jsonl", "--keys", self.folder / "keys"]
        environment = {"XDG_STATE_HOME": str(self.folder / "xdg")}
        with self.office.program(
            "cli.register", *map(str, [*arguments, *more, *pictures]), environment=environment
        ) as program:
            for line in program.lines():
                if line.startswith("{"):
                    yield json.loads(line)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        built = stack.enter_context(lab())
        shop, middle, office = (built.namespace(name) for name in ("shop", "relay", "office"))
        built.cable(shop, f"{SHOP_IP}/24", middle, "10.77.1.1/24")
        built.cable(office, "10.77.2.2/24", middle, "10.77.2.1/24")
        middle.ip("address", "add", f"{RELAY_IP}/32", "dev", "lo")
        shop.ip("route", "add", RELAY_IP, "via", "10.77.1.1")
        office.ip("route", "add", RELAY_IP, "via", "10.77.2.1")
        made = World(built, tmp_path, stack, shop, middle, office)
        stack.callback(made.stop_relay)
        yield made


def _read_on(program: Program) -> None:
    """A program whose pipe nobody reads would stop one day."""
    with contextlib.suppress(ValueError):  # the pipe was closed
        for _ in program.lines():
            pass


def connects(inside: Namespace, host: str, port: int) -> bool:
    """Whether a TCP connection from there succeeds."""
    program = f"import socket; socket.create_connection(({host!r}, {port}), 2)"
    return inside.run(sys.executable, "-c", program, check=False).status == 0


def verdicts(events: Sequence[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(e["exit"], e["serial"]) for e in events if e["type"] == "verdict"]


def test_only_the_relay_is_reachable_from_both_sides(world: World) -> None:
    world.start_relay()
    with world.shop.program("http.server", "7000") as server:
        next(server.lines())
        assert connects(world.shop, SHOP_IP, 7000)
        assert not connects(world.office, SHOP_IP, 7000)
    assert connects(world.office, RELAY_IP, 443)
    assert connects(world.shop, RELAY_IP, 443)


@pytest.mark.timeout(900)
def test_a_hundred_nodes_are_paired_through_the_relay(world: World) -> None:
    world.start_relay()
    pictures = world.nodes(HUNDRED)
    groups = [pictures[start::OPERATORS] for start in range(OPERATORS)]
    with ThreadPoolExecutor(OPERATORS) as pool:
        found = [v for events in pool.map(world.register, groups) for v in verdicts(events)]
    assert sorted(found) == sorted((0, f"serial-{number}") for number in range(HUNDRED))


@pytest.mark.parametrize("state", ["claimed", "planned"])
def test_a_relay_restarted_in_mid_conversation_is_no_harm(world: World, state: str) -> None:
    world.start_relay()
    pictures = world.nodes(3)
    seen = []
    for event in world.stream(pictures):
        seen.append(event)
        if event.get("state") == state and event.get("serial") == "serial-1":
            world.stop_relay()
            world.start_relay()
    assert verdicts(seen) == [(0, f"serial-{number}") for number in range(3)]
    one = [e["seq"] for e in seen if e.get("serial") == "serial-1" and "seq" in e]
    assert one == list(range(1, len(one) + 1)), "every event once and in order"


def test_a_relay_that_was_away_for_a_while_is_no_harm(world: World) -> None:
    world.start_relay()
    pictures = world.nodes(2)
    world.stop_relay()
    events = world.stream(pictures)
    first = [next(events)]
    world.start_relay()
    assert verdicts([*first, *events]) == [(0, "serial-0"), (0, "serial-1")]


def test_a_node_behind_an_http_proxy_reaches_the_relay(world: World) -> None:
    """The shop's own way to the relay is gone; the proxy in the middle has one."""
    world.start_relay()
    world.shop.ip("route", "delete", RELAY_IP)
    assert not connects(world.shop, RELAY_IP, 443)
    proxy = world.stack.enter_context(
        world.middle.program("pairing.testing.proxy", "10.77.1.1", "3128")
    )
    next(proxy.lines())
    picture = world.node(0, {"HTTPS_PROXY": "http://10.77.1.1:3128"})
    assert verdicts(world.register([picture])) == [(0, "serial-0")]
    without = world.node(1)
    assert verdicts(world.register([without], "--timeout", "5")) == [(5, "")]
