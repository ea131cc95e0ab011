"""The provider `p2p`: a relay for others, a name in the LAN; no cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from node.image import product
from node.providers.base import Entered, Preparation, Provider, Scene
from node.providers.found import found, require_programs
from node.providers.join import chosen, join
from node.providers.p2p.provider import Meeting
from node.providers.p2p.settings import FOLDER, MDNS_UNIT, OPTIONS, RELAY_UNIT, RESOLVED, settings
from pairing import errors, keys, process
from pairing.config.document import Document
from pairing.config.load import load
from pairing.config.validate import validate
from pairing.events import State
from pairing.facts import Facts
from pairing.process import Result
from pairing.transport import relay as relays
from pairing.transport import relay_tls
from pairing.transport.relay import RelayAddress
from tests.providers.conftest import Heard, document

BOTH: dict[str, Any] = {"relay": {"enabled": True, "port": 4430, "names": ["a.b"]}, "mdns": True}


@dataclass
class Systemd:
    """What a unit comes to: `states` are what it is asked for, in turn; the last one stays."""

    states: Sequence[str] = ("activating", "active")
    log: str = ""
    started: list[str] = field(default_factory=list)
    asked: int = 0

    def __call__(self, argv: Sequence[str], **how: Any) -> Result:
        match list(argv):
            case ["systemctl", "start", "--no-block", unit]:
                self.started.append(unit)
            case ["systemctl", "show", *_]:
                state = self.states[min(self.asked, len(self.states) - 1)]
                self.asked += 1
                return Result(0, f"ActiveState={state}\nNRestarts=0\n".encode(), b"")
            case ["journalctl", *_]:
                return Result(0, self.log.encode(), b"")
        return Result(0, b"", b"")


@dataclass(frozen=True)
class Cluster:
    """Takes the machine at once."""

    name: str = "cluster"
    order: int = 50

    def wanted(self, config: Document) -> bool:
        return False

    def prepare(self, config: Document, facts: Facts) -> Preparation:
        return Preparation()

    async def check(self, scene: Scene) -> None:
        await trio.lowlevel.checkpoint()

    async def watch(self, scene: Scene, entered: Entered) -> None:
        await trio.lowlevel.checkpoint()
        entered(State.JOINED, "in")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """An installed system of flavour `standard`, whose relay has made its certificate."""
    for unit in (RELAY_UNIT, MDNS_UNIT):
        path = tmp_path / "usr/lib/systemd/system" / unit
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((product.UNITS / unit).read_bytes())
    relay_tls.self_signed(tmp_path / FOLDER.lstrip("/"), ("till-7",))
    return tmp_path


def config(p2p: dict[str, Any], **more: Any) -> Document:
    return document({"hostname": "till-7", "p2p": p2p, **more})


async def joined(machine: Path, asked: Document, run: Systemd, heard: Heard) -> State | None:
    providers: list[Provider] = [Meeting(), Cluster()]
    return await join(asked, Facts(), heard, root=machine, run=run, providers=providers)


async def test_units_are_started_and_the_operator_is_told_where(
    machine: Path, patient_clock: trio.testing.MockClock
) -> None:
    patient_clock.autojump_threshold = 0.5  # nothing here is about time
    run, heard = Systemd(), Heard()
    assert await joined(machine, config(BOTH), run, heard) is None
    assert run.started == [RELAY_UNIT, MDNS_UNIT]
    assert heard.states == [], "a relay is no cluster"
    pin = relay_tls.self_signed(machine / FOLDER.lstrip("/"), ()).pin().hex()
    assert heard.steps[-1][:4] == ("join-p2p", "1/1", 3, 3)
    assert f"HOST:4430#sha256={pin}" in heard.steps[-1][4]
    options = (machine / OPTIONS.lstrip("/")).read_text()
    assert options == "KAIROS_RELAY_OPTIONS=--listen 4430 --name=a.b\n"
    assert "MulticastDNS=yes" in (machine / RESOLVED.lstrip("/")).read_text()
    assert "Type=_kairos-relay._tcp" in (machine / "etc/systemd/dnssd/relay.dnssd").read_text()


async def test_a_network_comes_before_a_cluster_that_is_named(
    machine: Path, patient_clock: trio.testing.MockClock
) -> None:
    patient_clock.autojump_threshold = 0.5  # nothing here is about time
    run, heard = Systemd(), Heard()
    asked = config({"mdns": True}, providers=["cluster"])
    assert await joined(machine, asked, run, heard) is State.JOINED
    assert run.started == [MDNS_UNIT]
    assert heard.states == [(State.JOINED, "in")]
    assert [step[0] for step in heard.steps if step[2] == 0] == ["join-p2p", "join-cluster"]


async def test_a_relay_that_does_not_come_up_is_named_with_its_log(
    machine: Path, patient_clock: trio.testing.MockClock
) -> None:
    run = Systemd(states=("activating", "failed"), log="Cannot listen there (in use).\n")
    with pytest.raises(errors.MeetingFailed) as caught:
        await joined(machine, config(BOTH), run, Heard())
    assert RELAY_UNIT in str(caught.value)
    assert "Cannot listen there" in caught.value.detail
    with pytest.raises(errors.JoinTimeout):
        await joined(machine, config(BOTH), Systemd(states=("activating",)), Heard())


@pytest.mark.parametrize(
    "p2p", [{}, {"relays": ["relay.example"]}, {"relay": {"enabled": False}}, {"mdns": False}]
)
def test_nothing_is_started_that_was_not_asked_for(machine: Path, p2p: dict[str, Any]) -> None:
    assert chosen(config(p2p), found(machine)) == []
    assert settings(config(p2p)).files() == ()


def test_an_image_without_these_units_is_known_before_anything_is_written(
    machine: Path, tmp_path: Path
) -> None:
    require_programs(config(BOTH), machine)
    (tmp_path / "usr/lib/systemd/system" / MDNS_UNIT).unlink()
    with pytest.raises(errors.JoinProgramMissing, match=MDNS_UNIT):
        require_programs(config(BOTH), machine)
    require_programs(config({"relays": ["relay.example"]}), machine)


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("mdns: true, relay: {enabled: true, port: 443, names: [a.example, '10.0.0.1']}", True),
        ("relay: {enabled: true, access_token_file: /etc/shop/token}", True),
        ("relay: {enabled: true, names: ['a b']}", False),
        ("relay: {enabled: true, names: ['a\\n--listen=1']}", False),
        ("relay: {enabled: true, access_token_file: '/etc/a --listen=1'}", False),
        ("relay: {enabled: true, port: 70000}", False),
        ("relay: {on: true}", False),
    ],
)
def test_what_a_config_may_say(text: str, fine: bool) -> None:
    """Nothing that a unit would split into further options."""
    said = validate(load(f"#cloud-config\nhostname: a\np2p: {{{text}}}\n", "c.yaml"), "native")
    mine = [problem for problem in said if "p2p" in str(problem)]
    assert (not mine) is fine, mine


async def test_the_nodes_own_relay_serves(tmp_path: Path) -> None:
    """`kairos-node relay`, as its unit runs it."""
    program = process.start_program(
        "node", ("relay", "--listen", "0", "--folder", str(tmp_path / "own"))
    )
    try:
        lines = program.lines()
        port = next(lines).rpartition(":")[2]
        pin = next(line for line in lines if line.startswith("pin: ")).removeprefix("pin: ")
        address = RelayAddress.parse(f"127.0.0.1:{port}{pin}")
        with pytest.raises(errors.RelayNobody):
            await relays.call(address, keys.generate().public, b"\x01" * 32)
    finally:
        program.stop()
