"""The main job on a real console: the picture of a booted machine's screen is the photo."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pairing import process
from pairing.errors import ExitCode
from pairing.testing import guest_system, scan
from pairing.testing.guest_system import token_in, token_on_screen
from pairing.testing.lan import Lan
from pairing.testing.photos import photograph
from pairing.testing.qemu import Machine
from pairing.testing.screens import picture

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

PORT, MDNS = 4917, 5353
DHCP_CLIENT = {68, 546}
DECOY_PORT = 2323
DECOY = f'import os, socket; s = socket.create_server(("", {DECOY_PORT})); os.fork() or s.accept()'
"""A program that ends once it listens, and leaves a child that takes one caller."""
YEAR_2000 = 946_684_800
PYTHON = Path(sys.executable)
FIND_SECONDS = "240"
"""The code is shown before libp2p is loaded, which takes emulated machines a minute and more."""
REGISTER_SECONDS = 400.0
CONFIG = """#cloud-config
hostname: from-the-photo
users:
  - name: admin
    groups: [admin]
    ssh_authorized_keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEQpkwZQBKoeTEj03QFYGUwCNJvMZkzZbkAOommRio1R a@b
install:
  device: auto
  encrypt: recovery-only
"""


def test_the_code_on_the_screen_names_this_machines_address(waiting: Machine) -> None:
    hint = token_on_screen(waiting).ipv4
    assert hint is not None
    assert hint.port == PORT
    assert hint.host in guest_system.ask(waiting, "cat /proc/net/fib_trie")


def test_the_serial_console_shows_the_same_code(waiting: Machine, tmp_path: Path) -> None:
    shown = tmp_path / "serial.png"
    written = waiting.serial[guest_system.SCREEN_LINE].text()
    picture(written, 80, 24).save(shown)
    assert token_in(shown).id == token_on_screen(waiting).id


@pytest.mark.parametrize("waiting", ["uefi"], indirect=True)
def test_only_the_pairing_port_is_open(waiting: Machine, network: Lan) -> None:
    deadline = time.monotonic() + float(FIND_SECONDS)
    while PORT not in listening(waiting, "tcp"):
        assert time.monotonic() < deadline, "the node never listened"
    guest_system.ask(waiting, f"python3 -c '{DECOY}'")
    host = token_on_screen(waiting).addresses[0].host
    found = scan.open_from(network.place, host, 1, 65535)
    assert found == {PORT, DECOY_PORT}, "what is open, is seen"
    assert scan.open_from(network.place, host, DECOY_PORT, DECOY_PORT) == set()
    assert listening(waiting, "tcp") == {PORT}
    assert listening(waiting, "udp") <= {MDNS, *DHCP_CLIENT}


@pytest.mark.parametrize("waiting", ["uefi", "clock"], indirect=True)
def test_the_photo_pairs_the_machine(waiting: Machine, network: Lan, tmp_path: Path) -> None:
    done = register(waiting, network, tmp_path)
    assert done.status == ExitCode.DONE, done.lines
    facts = done.only("node")["facts"]
    assert facts["serial"] == waiting.hardware.serial
    assert (facts["clock"] < YEAR_2000) == (waiting.hardware.clock != "utc")
    states = {line["state"]: line for line in done.lines if line["type"] == "state"}
    assert list(states) == ["claimed", "approved", "planned", "installing", "written"]
    assert "hostname: from-the-photo" in states["planned"]["text"]
    steps = [line for line in done.lines if line["type"] == "step"]
    assert len({step["step"] for step in steps}) == int(steps[0]["of"].partition("/")[2])
    assert done.only("verdict")["serial"] == waiting.hardware.serial
    assert len(list(tmp_path.glob(".local/share/kairos-register/escrow/*.json"))) == 1


@pytest.mark.parametrize("waiting", ["bios"], indirect=True)
def test_a_machine_started_by_bios_is_refused_before_anything_is_released(
    waiting: Machine, network: Lan, tmp_path: Path
) -> None:
    done = register(waiting, network, tmp_path)
    assert done.only("node")["facts"]["serial"] == waiting.hardware.serial
    verdict = done.only("verdict")
    assert done.status == ExitCode.CONFIG, done.lines
    assert "UEFI" in verdict["error"]["text"]
    assert not verdict["released"]


# --- what the tests use -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Registration:
    """What `kairos-register` left: exit status and JSON lines."""

    status: int
    lines: list[dict[str, Any]]

    def only(self, kind: str) -> dict[str, Any]:
        (line,) = (line for line in self.lines if line["type"] == kind)
        return line


def register(machine: Machine, network: Lan, folder: Path) -> Registration:
    """Photograph the screen with a phone, send it by messenger, register as a new operator."""
    photo, config = machine.folder / "photo.jpg", folder / "config.yaml"
    photo.write_bytes(phone(machine.screen("photographed.png")))
    config.write_text(CONFIG)
    command = [*network.entry, str(PYTHON.with_name("kairos-register")), "--config", str(config)]
    command += ["--wait", "written", "--output", "jsonl", "--timeout", FIND_SECONDS, str(photo)]
    home = {"HOME": str(folder)}
    done = process.run(command, seconds=REGISTER_SECONDS, environment=home, check=False)
    (machine.folder / "register.jsonl").write_bytes(done.stdout + done.stderr)
    return Registration(done.status, [json.loads(line) for line in done.text().splitlines()])


def phone(screen: Path) -> bytes:
    """What arrives of the screen by messenger."""
    from PIL import Image

    with Image.open(screen) as clean:
        return photograph(clean.convert("RGB"), severity=2, seed=1)


def listening(machine: Machine, protocol: str) -> set[int]:
    """Ports that the guest's kernel says are listened on."""
    table = guest_system.ask(machine, f"cat /proc/net/{protocol} /proc/net/{protocol}6")
    return scan.listening(table, protocol)
