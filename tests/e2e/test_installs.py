"""Other ways into a machine: an odd one with a bad config first, two at once, one by hand.

Three machines boot at once, from one stick. Nobody gives them an address before two of them are
photographed: their codes hold none, so that they are found by mDNS and nothing else.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from node.testing.images import Factory
from node.testing.shop import DISK, NODE, Shop
from pairing import errors
from pairing.errors import ExitCode
from pairing.testing import guest_system, qemu, scan
from pairing.testing.canaries import Canaries, sealed
from pairing.testing.hardware import Drive
from pairing.testing.lan import FIRST, Lan
from pairing.testing.operators import Run
from pairing.testing.patience import patient
from tests.e2e.conftest import ARTEFACTS, CONFIG, INSTALL_SECONDS, RESTART_SECONDS, SECRETS

pytestmark = [pytest.mark.root, pytest.mark.timeout(1200)]

CODE_SECONDS, FIND_SECONDS, END_SECONDS, SHELL_SECONDS = 420.0, 240, 90.0, 120.0
LOOK_SECONDS = 3.0
PORT, MDNS, DHCP_CLIENT = 4917, 5353, {68, 546}
DECOY_PORT = 2323
DECOY = f'import os, socket; s = socket.create_server(("", {DECOY_PORT})); os.fork() or s.accept()'
"""A program that ends once it listens, and leaves a child that takes one caller."""
ANCIENT = "1970-01-01"
USERS = """#cloud-config
hostname: HOST
users:
  - name: ana
    groups: [admin]
    ssh_authorized_keys:
      - PUBLIC
install:
"""
CHOICE = "  device: auto\n  encrypt: none\n"
SEALED = "  device: /dev/vda\n  encrypt: tpm2\n"
READABLE = "  device: /dev/vda\n  encrypt: none\n"


@dataclass(frozen=True, slots=True)
class Corner:
    """A machine that was started from the stick, and its picture."""

    shop: Shop
    machine: qemu.Machine
    photo: Path

    def config(self, install: str, name: str) -> Path:
        """Another config beside the shop's own."""
        path = self.shop.folder / f"{name}.yaml"
        path.write_text(self.own(filled(install)))
        return path

    def own(self, config: str) -> str:
        """With the shop's ssh key in it."""
        public = (self.shop.folder / "id.pub").read_text().strip()
        return config.replace("PUBLIC", public)

    @property
    def disks(self) -> list[Path]:
        return [self.shop.box.disk(number) for number in range(self.shop.box.disks)]


def filled(install: str) -> str:
    return USERS.replace("HOST", "till-8") + install


@pytest.fixture(scope="module")
def stick(factory: Factory) -> Drive:
    return Drive(image=factory.build("1.0.0").stick, serial="STICK", read_only=True)


@pytest.fixture(scope="module")
def alone(network: Lan, stick: Drive) -> Iterator[Corner]:
    """One to be installed by hand."""
    shop = Shop.new(network, ARTEFACTS / "installs-alone", filled(READABLE), 92)
    with shop.box.running(stick, entry=network.entry, words=(guest_system.SHELL_WORD,)) as machine:
        yield Corner(shop, machine, shop.folder / "never")


@pytest.fixture(scope="module")
def corners(network: Lan, stick: Drive, alone: Corner) -> Iterator[dict[str, Corner]]:
    """`odd`: no TPM, two disks, a clock of 1970. `usual`: a TPM, one disk."""
    network.give_none()
    shops = {
        name: Shop.new(network, ARTEFACTS / f"installs-{name}", filled(READABLE), number, disks)
        for name, number, disks in (("odd", 90, (DISK, DISK)), ("usual", 91, (DISK,)))
    }
    odd = shops["odd"].box
    odd.hardware = replace(odd.hardware, chipset="pc", clock=ANCIENT)
    odd.remove_tpm()
    with contextlib.ExitStack() as stack:
        running = {}
        for name, shop in shops.items():
            running[name] = stack.enter_context(shop.running(stick))
        for machine in running.values():
            wait_code(machine)
        pictured = {name: shops[name].photo(machine) for name, machine in running.items()}
        network.give_addresses(*FIRST)
        yield {name: Corner(shops[name], running[name], pictured[name]) for name in shops}


@pytest.fixture(scope="module")
def odd(corners: dict[str, Corner]) -> Corner:
    return corners["odd"]


@contextlib.contextmanager
def registering(
    first: Corner, photos: Sequence[Path], config: Path, *options: str, log: str
) -> Iterator[Run]:
    words = ("--timeout", str(FIND_SECONDS), *options)
    with first.shop.operator.register(photos, config, *words, log=f"{log}.jsonl") as run:
        yield run


@pytest.fixture(scope="module")
def undecided(odd: Corner) -> Run:
    """The config leaves the disk open, and there are two empty ones."""
    config = odd.config(CHOICE, "undecided")
    with registering(odd, [odd.photo], config, log="undecided") as run:
        run.end(FIND_SECONDS + END_SECONDS)
    return run


@pytest.fixture(scope="module")
def impossible(undecided: Run, odd: Corner) -> Run:
    """The same operator again: encryption is asked for, which this machine cannot do."""
    config = odd.config(SEALED, "impossible")
    with registering(odd, [odd.photo], config, log="impossible") as run:
        run.end(FIND_SECONDS + END_SECONDS)
    return run


@pytest.fixture(scope="module")
def both(impossible: Run, corners: dict[str, Corner]) -> Run:
    """One command, two photos, the config that both machines can have."""
    odd, usual = corners["odd"], corners["usual"]
    config = odd.config(READABLE, "both")
    photos = [odd.photo, usual.photo]
    with registering(odd, photos, config, "--wait", "installed", log="both") as run:
        run.end(FIND_SECONDS + INSTALL_SECONDS + RESTART_SECONDS)
    return run


@pytest.fixture(scope="module")
def open_to(alone: Corner, network: Lan) -> dict[str, set[int]]:
    """Ports of a machine that shows its code; `seen` and `later`: with and after a decoy's."""
    alone.shop.wait_code(alone.machine)
    deadline = time.monotonic() + patient(END_SECONDS)
    while PORT not in listening(alone, "tcp"):
        assert time.monotonic() < deadline, "it never listened"
        time.sleep(LOOK_SECONDS)
    kernel = {protocol: listening(alone, protocol) for protocol in ("tcp", "udp")}
    host = network.address(alone.shop.box.hardware.mac)
    ask(alone, f"python3 -c '{DECOY}'")
    seen = scan.open_from(network.place, host, 1, 65535)
    return {**kernel, "seen": seen, "later": scan.open_from(network.place, host, 1, DECOY_PORT)}


@pytest.fixture(scope="module")
def given_words(alone: Corner) -> Run:
    """Registered with a config that asks for the TPM: the word that gives a shell is measured."""
    alone.shop.wait_code(alone.machine)
    config, photo = alone.config(SEALED, "given-words"), alone.shop.photo(alone.machine)
    with registering(alone, [photo], config, log="given-words") as run:
        run.end(FIND_SECONDS + END_SECONDS)
    return run


@pytest.fixture(scope="module")
def by_hand(given_words: Run, alone: Corner) -> str:
    """Installed from the machine's own console, with nothing encrypted; then off."""
    config = alone.own(CONFIG.replace("encrypt: tpm2", "encrypt: none"))
    ask(alone, f"cat > /run/config.yaml <<'END'\n{config}END\ntrue")
    command = f"{NODE} install /run/config.yaml --yes"
    said = ask(alone, f"{command} 2>&1; echo status $?", INSTALL_SECONDS)
    ask(alone, "systemctl --no-block poweroff")
    alone.machine.wait_off(END_SECONDS)
    return said


@pytest.fixture(scope="module")
def started(by_hand: str, alone: Corner) -> Iterator[qemu.Machine]:
    """The machine that was installed by hand, started without the stick."""
    shop = alone.shop
    with shop.running() as machine:
        shop.wait_ssh(RESTART_SECONDS)
        yield machine


def test_two_empty_disks_and_a_config_that_does_not_choose(undecided: Run, odd: Corner) -> None:
    assert undecided.end(END_SECONDS) == ExitCode.NOT_APPROVED, undecided.end_of()
    error = undecided.verdict["error"]
    assert error["slug"] == errors.DiskNotChosen.slug
    assert "/dev/vda" in error["text"]
    assert "/dev/vdb" in error["text"]
    assert not undecided.verdict["released"]


def test_no_tpm_and_encryption_asked_for_is_refused_before_the_first_write(
    impossible: Run, odd: Corner
) -> None:
    assert impossible.end(END_SECONDS) == ExitCode.CONFIG, impossible.end_of()
    error = impossible.verdict["error"]
    assert error["slug"] == errors.ConfigNotForThisMachine.slug
    assert "TPM" in error["text"]
    assert not impossible.verdict["released"]
    assert [zeros(disk) for disk in odd.disks] == [True, True]


def test_the_same_lease_goes_on_with_a_better_config(both: Run, undecided: Run) -> None:
    nodes = [undecided.verdict["node"], *(verdict["node"] for verdict in both.of("verdict"))]
    assert nodes[0] in nodes[1:]
    assert len(set(nodes)) == 2


def test_two_photos_in_one_command_are_two_machines(both: Run, corners: dict[str, Corner]) -> None:
    assert both.end(END_SECONDS) == ExitCode.DONE, both.end_of()
    verdicts = both.of("verdict")
    assert [verdict["state"] for verdict in verdicts] == ["installed", "installed"]
    ours = {corners[name].shop.box.hardware.serial for name in ("odd", "usual")}
    assert {verdict["serial"] for verdict in verdicts} == ours


def test_their_codes_held_no_address(corners: dict[str, Corner]) -> None:
    """So it was mDNS that found them."""
    for name in ("odd", "usual"):
        assert not guest_system.token_in(corners[name].photo).addresses


def test_a_clock_of_1970_hinders_nothing(both: Run, odd: Corner) -> None:
    facts = next(line["facts"] for line in both.of("node") if is_of(line, odd))
    assert time.time() - facts["clock"] > 24 * 3600, "it began with a wrong one"
    assert not facts["tpm"]
    told = odd.shop.on("date +%s")
    assert abs(int(told) - time.time()) < 24 * 3600, "it has learned the time from its operator"


def test_only_the_chosen_disk_was_written(both: Run, odd: Corner) -> None:
    assert [zeros(disk) for disk in odd.disks] == [False, True]
    assert odd.shop.on("findmnt -no SOURCE /usr/local").startswith("/dev/vda")


def test_while_it_waits_nothing_is_open_but_the_pairing_port(open_to: dict[str, set[int]]) -> None:
    """T4, for all ports of TCP. What its kernel says agrees, and is all there is to UDP."""
    assert open_to["seen"] == {PORT, DECOY_PORT}, "what is open, is seen"
    assert open_to["later"] == set()
    assert open_to["tcp"] == {PORT}
    assert MDNS in open_to["udp"]
    assert open_to["udp"] <= {MDNS, *DHCP_CLIENT}


def test_a_disk_is_not_sealed_to_a_start_that_was_given_words(
    given_words: Run, alone: Corner
) -> None:
    assert given_words.end(END_SECONDS) == ExitCode.NODE_FAILED, given_words.end_of()
    assert given_words.verdict["error"]["slug"] == errors.InstallStartNotPure.slug
    assert zeros(alone.disks[0]), "before the first write"


@pytest.mark.soak
def test_where_nothing_is_encrypted_every_secret_is_found_on_the_disk(
    by_hand: str, alone: Corner
) -> None:
    """The control of the search in `test_node_life.py`."""
    image = alone.shop.box.disk()
    assert sealed(image) == []
    plain = {found.name for found in Canaries(SECRETS).on_disk(image) if found.form == "plain"}
    assert plain == set(SECRETS)


@pytest.mark.soak
def test_by_hand_it_says_each_step(by_hand: str) -> None:
    assert "status 0" in by_hand, by_hand
    steps = set(re.findall(r"(\d+)/(\d+) done", by_hand))
    total = max(int(of) for _, of in steps)
    assert {int(number) for number, _ in steps} == set(range(1, total + 1))
    assert "Installed. Take the stick out" in by_hand


@pytest.mark.soak
def test_by_hand_it_starts_and_applies_its_config(started: qemu.Machine, alone: Corner) -> None:
    shop = alone.shop
    assert shop.on("hostname") == "till-7"
    assert shop.on("findmnt -no SOURCE /oem").startswith("/dev/vda")
    shown = "systemctl show --value --property NRestarts kairos-node.service"
    assert shop.on(shown) == "0", "nobody holds it, and that is no failure"


# --- what the tests use -----------------------------------------------------------------------


def wait_code(machine: qemu.Machine) -> None:
    """Until there is a code on the screen, with or without an address."""
    deadline = time.monotonic() + CODE_SECONDS
    while True:
        with contextlib.suppress(errors.PhotoError):
            guest_system.token_on_screen(machine)
            return
        assert time.monotonic() < deadline, machine.serial[0].text()[-2000:]
        time.sleep(LOOK_SECONDS)


def listening(corner: Corner, protocol: str) -> set[int]:
    """Ports that the machine's kernel says are listened on."""
    table = ask(corner, f"cat /proc/net/{protocol} /proc/net/{protocol}6")
    return scan.listening(table, protocol)


def ask(corner: Corner, command: str, seconds: float = SHELL_SECONDS) -> str:
    """What the root shell of a live boot answers."""
    return corner.machine.serial[guest_system.SHELL_LINE].ask(command, seconds)


def zeros(disk: Path) -> bool:
    """Whether nothing was ever written: holes are read as zeros, and are none of the blocks."""
    return disk.stat().st_blocks == 0


def is_of(line: dict[str, object], corner: Corner) -> bool:
    facts = line["facts"]
    assert isinstance(facts, dict)
    return bool(facts["serial"] == corner.shop.box.hardware.serial)
