"""Recovery by choice, a repair session, and a reset: on a copy of the installed machine.

The stages are functions of a shop, so that another story can go on with them.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.testing.images import Factory
from node.testing.shop import Shop
from pairing.errors import ExitCode
from pairing.peertoken import Token
from pairing.testing import guest_system, qemu
from pairing.testing.gpt import Partition, tables
from pairing.testing.typist import Typist, typing

pytestmark = [pytest.mark.root, pytest.mark.timeout(1500)]

START_SECONDS, RESTART_SECONDS, CODE_SECONDS = 420.0, 300.0, 420.0
OPEN_SECONDS, STEP_SECONDS, END_SECONDS = 240.0, 120.0, 60.0
DATA = "kept-in-the-shop"
LOOK_SECONDS = 2.0
LUKS = b"LUKS\xba\xbe"


@dataclass(slots=True)
class Story:
    """The machine of this file, running; `session`: what the operator saw in it."""

    shop: Shop
    machine: qemu.Machine
    code: Token
    session: str = ""
    key: str = ""
    state: str = ""
    doctor: str = ""
    photo: Path = Path()
    """Of the code after the reset: the machine is found by it while somebody holds it, too."""


def to_recovery(shop: Shop, machine: qemu.Machine) -> None:
    """From the installed system into recovery, by choice; until its code is on the screen."""
    restarts = machine.qmp.count("RESET")
    entries = shop.on("sudo -n efibootmgr").splitlines()
    number = next(line[4:8] for line in entries if "KR recovery" in line)
    shop.on(f"sudo -n efibootmgr --quiet --bootnext {number}")
    shop.on("sudo -n systemctl --no-block reboot")
    machine.wait_restart(RESTART_SECONDS, restarts + 1)
    shop.wait_code(machine, CODE_SECONDS)


@contextlib.contextmanager
def repair(shop: Shop, machine: qemu.Machine) -> Iterator[Typist]:
    """The operator in a repair session, from a photo of the screen."""
    command = [sys.executable, "-m", "cli.fleet", "rescue", str(shop.photo(machine))]
    environment = {**shop.operator.environment, "TERM": "xterm"}
    argv = [*shop.network.entry, *command]
    with typing(argv, environment, shop.folder / "rescue.log") as person:
        person.wait_for("This is a repair session", OPEN_SECONDS)
        yield person


def partitions(image: Path) -> dict[str, Partition]:
    def read(offset: int, length: int) -> bytes:
        with image.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    return {part.label: part for part in tables(read, image.stat().st_size).partitions}


def headers(image: Path) -> list[str]:
    """The volumes that still begin with a LUKS header."""
    parts, found = partitions(image), []
    with image.open("rb") as disk:
        for label in ("KR_OEM", "KR_PERSISTENT"):
            disk.seek(parts[label].offset)
            found += [label] if disk.read(len(LUKS)) == LUKS else []
    return found


@pytest.fixture(scope="module")
def recovery(branch: Callable[[str], Shop], factory: Factory) -> Iterator[Story]:
    """In recovery by choice, data left on the disk before."""
    shop = branch("recovery")
    with shop.resumed(factory.build("1.0.0").stick) as machine:
        shop.wait_ssh(START_SECONDS)
        shop.on(f"sudo -n sh -c 'echo {DATA} > /usr/local/data'")
        to_recovery(shop, machine)
        machine.screen("recovery.png")
        yield Story(shop, machine, guest_system.token_on_screen(machine))


@pytest.fixture(scope="module")
def repaired(recovery: Story) -> Story:
    """What the operator did in the session, up to a reset that the machine restarts from."""
    shop, machine = recovery.shop, recovery.machine
    recovery.key = shop.recovery_key().decode()
    restarts = machine.qmp.count("RESET")
    with repair(shop, machine) as person:
        machine.screen("visited.png")
        recovery.state = person.ask("kairos-node state", STEP_SECONDS)
        recovery.doctor = person.ask("kairos-node doctor", STEP_SECONDS)
        person.type("kairos-node unlock\r")
        person.wait_for("Recovery key:", STEP_SECONDS)
        person.type(recovery.key + "\r")
        person.wait_for("KR_PERSISTENT is open", STEP_SECONDS)
        assert person.ask("cat /usr/local/data", STEP_SECONDS) == DATA
        person.type("kairos-node reset --wipe\r")
        person.wait_for("serial number", STEP_SECONDS)
        person.type("not-this-one\r")
        person.wait_for("E655", STEP_SECONDS)
        person.type("kairos-node reset --wipe\r")
        person.wait_for("serial number", STEP_SECONDS)
        person.type(shop.box.hardware.serial + "\r")
        person.wait_for("shows a new code", STEP_SECONDS)
        person.type("exit\r")
        assert person.end(END_SECONDS) == ExitCode.DONE, person.shown[-1500:]
        recovery.session = person.shown
    machine.wait_restart(RESTART_SECONDS, restarts + 1)
    return recovery


@pytest.fixture(scope="module")
def reset(repaired: Story) -> Story:
    """The machine after its reset, a code on its screen."""
    repaired.shop.wait_code(repaired.machine, CODE_SECONDS)
    repaired.machine.screen("reset.png")
    repaired.photo = repaired.shop.photo(repaired.machine)
    return repaired


def test_recovery_is_a_boot_of_its_own_that_shows_a_code(recovery: Story) -> None:
    """A key of this boot: neither the machine's lease nor its report key are used."""
    assert recovery.code.addresses
    assert headers(recovery.shop.box.disk()) == ["KR_OEM", "KR_PERSISTENT"], "nothing was changed"
    stored = (recovery.shop.operator.folder / ".local/share/kairos-register").rglob("*.json")
    assert not [path for path in stored if recovery.code.name in path.read_text()]


def test_the_doctor_says_what_a_machine_in_recovery_is(repaired: Story) -> None:
    lines = repaired.doctor.splitlines()
    assert not [line for line in lines if line.startswith("wrong")], repaired.doctor
    assert "KR_PERSISTENT is closed; its header is whole: kairos-node unlock" in repaired.doctor
    assert "(recovery), every block is verified as it is read" in repaired.doctor
    assert "1.0.0 is good" in repaired.doctor
    assert "up, waits for operators at port 4917" in repaired.doctor
    assert lines[-1].startswith("nothing wrong")


def test_its_state_shows_the_versions_on_the_disk(repaired: Story) -> None:
    lines = repaired.state.splitlines()
    assert "running   1.0.0 (recovery)" in lines
    assert "version   1.0.0: good" in lines
    assert "updates   unknown: the data volume is closed" in lines


def test_the_session_is_recorded_without_what_was_typed_unseen(repaired: Story) -> None:
    folder = repaired.shop.operator.folder / ".local/share/kairos-register"
    (record,) = (folder / "rescue").glob("*.cast")
    assert DATA in record.read_text()
    assert repaired.key not in record.read_text() + repaired.session
    with repaired.shop.operator.fleet("audit", "--output", "jsonl", log="audit.log") as run:
        assert run.end(END_SECONDS) == 0, run.end_of()
    told = (repaired.shop.operator.folder / "audit.log").read_text()
    assert "rescue-opened" in told
    assert "rescue-ended" in told


def test_after_a_reset_a_new_code_is_shown_and_nothing_is_left(reset: Story) -> None:
    after = guest_system.token_on_screen(reset.machine)
    assert after.addresses
    assert after.id != reset.code.id
    image = reset.shop.box.disk()
    deadline = time.monotonic() + END_SECONDS
    while headers(image):  # the rest of the reset is done while the code is on the screen
        assert time.monotonic() < deadline, headers(image)
        time.sleep(LOOK_SECONDS)
    labels = set(partitions(image))
    assert {"KR_ESP", "kr_recovery", "kr_recovery_v", "_empty"} <= labels
    assert not [label for label in labels if label.startswith(("kr_root", "kr_verity"))]


def test_a_machine_that_was_reset_is_repaired_by_nobody(reset: Story) -> None:
    """Its image is open and nobody owns it: whoever has the photo may only pair."""
    with reset.shop.operator.fleet("rescue", str(reset.photo), log="refused.log") as run:
        assert run.end(OPEN_SECONDS) == ExitCode.NOT_AUTHENTIC, run.end_of()


def test_a_machine_that_was_reset_pairs_again_without_wipe_in_the_config(reset: Story) -> None:
    """Its disk counts as empty. Only planned here: what follows is an installation like any."""
    with reset.shop.register(reset.photo, "--dry-run") as run:
        assert run.end(OPEN_SECONDS) == ExitCode.DONE, run.end_of()
    (plan,) = run.of("plan")
    assert plan["kind"] == "reinstall", "around the recovery system"
    assert not [one for one in plan["warnings"] if "everything on" in one], "nothing is lost"
