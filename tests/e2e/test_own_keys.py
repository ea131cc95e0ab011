"""A machine in setup mode starts from a CD and has its builder's keys then; so it is installed, its
disk bound to TPM and Tang together. What starts without a signature, without keys in the firmware,
or without Tang; and an upgrade. Seven starts and an installation: `make soak`.

Each fixture is a stage that begins where the one before it ended; each test looks at a stage.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from cli.nodes import all_nodes
from cli.records import Records
from node.testing import attacks
from node.testing.images import Factory
from node.testing.shop import NODE, OPEN, PLAIN, Shop
from node.testing.tang import URL, tang
from pairing import errors
from pairing.errors import ExitCode
from pairing.testing import firmware, guest_system, qemu
from pairing.testing.hardware import Drive, Firmware, Plug
from pairing.testing.lan import HOST, Lan
from pairing.testing.operators import Run
from tests.e2e.conftest import ARTEFACTS, INSTALL_SECONDS, RESTART_SECONDS, fresh

pytestmark = [pytest.mark.root, pytest.mark.soak, pytest.mark.timeout(3600)]

CODE_SECONDS, OPEN_SECONDS, END_SECONDS = 420.0, 420.0, 90.0
UPGRADE_SECONDS = 300.0
PORT = 8000
BOTH = "  encrypt: tpm2\n", f"  encrypt: {{mode: tpm2+tang, tang: '{URL}'}}\n"
REFUSED = r"failed to start Boot\w{4} \"KR system\".*Access Denied"
RECOVERS = r"starting Boot\w{4} \"KR recovery\""
"""What the firmware says of a program that none of its keys has signed, and of the next one."""
SECURE_BOOT = f"od -An -tx1 /sys/firmware/efi/efivars/SecureBoot-{firmware.SETTINGS}"
"""Shows the variable's attributes, and whether it is on."""
HOLDS = {"encrypted": True, "tpm": True, "tang": 1, "recovery": True, "secure_boot": "on"}


@dataclass(slots=True)
class Story:
    """The installed machine, switched off; what it said of itself while it ran."""

    shop: Shop
    registered: Run
    state: str = ""


@pytest.fixture(scope="module")
def shop(network: Lan) -> Shop:
    """Its firmware is in setup mode."""
    shop = Shop.new(network, fresh(ARTEFACTS / "own-keys"), PLAIN.replace(*BOTH), 110)
    shop.box.hardware = replace(shop.box.hardware, firmware=Firmware.SECURE)
    return shop


@pytest.fixture(scope="module")
def live(shop: Shop, factory: Factory) -> Iterator[qemu.Machine]:
    """Started from the CD: its loader enrols the keys and restarts the machine; it starts again."""
    built = factory.build("1.0.0", into="secure", media=("iso",), secure_boot="enroll")
    (image,) = built.media.values()
    assert "SecureBootEnable" not in firmware.described(shop.box.variables)
    with shop.running(Drive(image=image, plug=Plug.CD)) as machine:
        shop.wait_code(machine)
        yield machine


@pytest.fixture(scope="module")
def installed(live: qemu.Machine, shop: Shop) -> Story:
    """From the CD to its own disk, a Tang server beside its operator; then off."""
    with tang(shop.network, ARTEFACTS / "own-keys-tang"):
        with shop.register(shop.photo(live), "--wait", "installed") as run:
            run.end(INSTALL_SECONDS + RESTART_SECONDS)
        assert run.verdict["state"] == "installed", run.end_of()
        story = Story(shop, run, shop.on(f"sudo -n {NODE} state"))
        shop.on("sudo -n systemctl --no-block poweroff")
        live.wait_off(END_SECONDS)
    return story


def test_with_its_builders_keys_it_opens_by_tpm_and_tang(installed: Story) -> None:
    """Also the control of the changed kernel: this one is started."""
    assert installed.registered.end(END_SECONDS) == ExitCode.DONE, installed.registered.end_of()
    (node,) = installed.registered.of("node")
    assert node["facts"]["secure_boot"] == "on"
    (planned,) = installed.registered.of("state", "planned")
    assert "warning: Secure Boot" not in planned["text"]
    (written,) = installed.registered.of("state", "written")
    protection = {name: written["protection"][name] for name in HOLDS}
    assert protection == HOLDS
    assert "volumes   open, opened by clevis" in installed.state


@pytest.fixture
def refused(installed: Story, factory: Factory) -> Iterator[qemu.Machine]:
    """A copy of it whose kernel has another word; as it is switched on, and left alone.

    For one test: the copy is on the same cable as the machine of the next one.
    """
    box = installed.shop.box.copy(fresh(ARTEFACTS / "own-keys-refused") / "box")
    shop = replace(installed.shop, box=box)
    thief = attacks.Thief.equipped(fresh(ARTEFACTS / "own-keys-thief"), factory.recipe)
    (attack,) = attacks.named("kernel-line")
    attack.act(thief.takes(box))
    with shop.running() as machine:
        shop.wait_code(machine, CODE_SECONDS)
        yield machine


def test_a_refused_kernel_ends_in_recovery_and_its_code_without_a_key_press(
    refused: qemu.Machine, installed: Story
) -> None:
    said = refused.serial[0].text()
    assert re.search(f"{REFUSED}.*{RECOVERS}", said, re.DOTALL), said[-2000:]
    code = guest_system.token_on_screen(refused)
    assert code.addresses
    (locked,) = all_nodes(Records(installed.shop.operator.escrow.parent))
    assert code.key != locked.report.key, "nor is it the installed system that asks for help"


@pytest.fixture
def cleared(installed: Story) -> Iterator[tuple[str, bool]]:
    """A copy of it whose firmware is in setup mode again, beside its Tang server: what its start
    came to, and whether it lets people in.

    For one test, like `refused`.
    """
    box = installed.shop.box.copy(fresh(ARTEFACTS / "own-keys-cleared") / "box")
    firmware.clear_keys(box.variables)
    shop = replace(installed.shop, box=box)
    with tang(shop.network, ARTEFACTS / "own-keys-tang"), shop.running() as machine:
        yield shop.came_to(machine), shop.tried("true") is not None


def test_cleared_firmware_keys_lock_it_though_its_kernel_is_good(cleared: tuple[str, bool]) -> None:
    came_to, lets_in = cleared
    assert came_to == errors.FirmwareChanged().code
    assert not lets_in, "it has run its config"


@pytest.fixture(scope="module")
def without_tang(installed: Story) -> Iterator[tuple[str, str, Run]]:
    """Started where its Tang server does not answer: its screen's code, whether it lets people
    in, and how its operator opens it."""
    shop = installed.shop
    with contextlib.ExitStack() as running:
        machine = running.enter_context(shop.running())
        came_to = shop.came_to(machine)
        inside = shop.tried("true")
        serial = shop.box.hardware.serial
        with shop.operator.fleet("recover", serial, log="recover-tang.log") as run:
            run.end(OPEN_SECONDS)
        yield came_to, inside or "", run


def test_without_its_tang_server_it_stays_locked_and_says_so(
    without_tang: tuple[str, str, Run],
) -> None:
    assert without_tang[0] == errors.TangUnreachable().code
    assert without_tang[0] != OPEN
    assert not without_tang[1], "it lets people in"


def test_the_recovery_key_opens_it_all_the_same(
    without_tang: tuple[str, str, Run], installed: Story
) -> None:
    assert without_tang[2].end(END_SECONDS) == ExitCode.DONE, without_tang[2].end_of()
    installed.shop.wait_ssh(OPEN_SECONDS)
    assert installed.shop.on("hostname") == "till-7"


@pytest.fixture(scope="module")
def bound_anew(without_tang: tuple[str, str, Run], installed: Story) -> tuple[Run, str]:
    """Its Tang server is back; it is bound to both anew and restarted: what it says of itself."""
    shop = installed.shop
    shop.wait_ssh(OPEN_SECONDS)
    with tang(shop.network, ARTEFACTS / "own-keys-tang"):
        words = ("recover", shop.box.hardware.serial, "--reenroll")
        with shop.operator.fleet(*words, log="reenroll-tang.log") as run:
            run.end(OPEN_SECONDS)
        shop.restart(OPEN_SECONDS)
        return run, shop.on(f"sudo -n {NODE} state")


def test_bound_to_both_anew_it_opens_by_itself_again(bound_anew: tuple[Run, str]) -> None:
    run, state = bound_anew
    assert run.end(END_SECONDS) == ExitCode.DONE, run.end_of()
    assert "volumes   open, opened by clevis" in state


@pytest.fixture(scope="module")
def upgraded(bound_anew: tuple[Run, str], installed: Story, factory: Factory) -> str:
    """It takes a version that its builder has signed with the same keys, and is restarted: what it
    says of itself, and of its firmware."""
    shop = installed.shop
    built = factory.build("1.1.0", into="secure-1.1.0", secure_boot="enroll")
    serving = ("http.server", str(PORT), "--bind", HOST, "--directory", str(built.root.parent))
    with (
        tang(shop.network, ARTEFACTS / "own-keys-tang"),
        shop.network.place.program(*serving),
    ):
        shop.on(f"sudo -n {NODE} upgrade http://{HOST}:{PORT}/", UPGRADE_SECONDS)
        shop.restart(OPEN_SECONDS)
        return shop.on(f"sudo -n {NODE} state; {SECURE_BOOT}")


def test_an_upgrade_signed_with_the_same_keys_opens_by_itself(upgraded: str) -> None:
    assert "running   1.1.0" in upgraded
    assert "volumes   open, opened by clevis" in upgraded
    assert upgraded.endswith("06 00 00 00 01"), "Secure Boot is off"
