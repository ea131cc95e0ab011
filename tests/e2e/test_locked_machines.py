"""Branches of the story: the disk of an installed machine in another one, its TPM cleared.

Each fixture is a stage that begins where the one before it ended; each test looks at a stage.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from cli.keyring import Keyring
from cli.nodes import all_nodes
from cli.records import Records
from node.testing.images import Factory
from node.testing.shop import PHOTO, Shop
from pairing import errors
from pairing.errors import ExitCode
from pairing.protocol import handshake
from pairing.testing import firmware, guest_system, qemu
from pairing.testing.operators import Run

pytestmark = [pytest.mark.root, pytest.mark.timeout(1500)]

LOCKED_SECONDS, OPEN_SECONDS, CHANGE_SECONDS = 420.0, 420.0, 600.0
SAYS_LOCKED = "Machine locked"
NODE = "/opt/kairos-register/bin/kairos-node"
Branch = Callable[[str], Shop]


@dataclass(frozen=True, slots=True)
class Story:
    """A machine that runs and whose disk is locked."""

    shop: Shop
    machine: qemu.Machine
    first_key: bytes


SwitchOn = Callable[[Shop], Story]


@pytest.fixture(scope="module")
def switched_on() -> Iterator[SwitchOn]:
    """One branch at a time: in the network they are the same machine, by name and by key."""
    with contextlib.ExitStack() as running:

        def on(shop: Shop) -> Story:
            running.close()
            machine = running.enter_context(shop.running())
            machine.serial[0].wait_for(SAYS_LOCKED, LOCKED_SECONDS)
            return Story(shop, machine, keys_of(shop)[0])

        yield on


@pytest.fixture(scope="module")
def stolen(branch: Branch, switched_on: SwitchOn) -> Story:
    """The disk in another computer: it has a TPM, but not the one that the disk was sealed to."""
    shop = branch("stolen")
    shop.box.change_tpm()
    return switched_on(shop)


def test_the_screen_says_why_and_shows_a_code_for_whoever_helps(stolen: Story) -> None:
    assert errors.TpmForeign().code in stolen.machine.serial[0].text()
    stolen.shop.wait_code(stolen.machine)
    code = guest_system.token_on_screen(stolen.machine)
    (known,) = all_nodes(records(stolen.shop))
    assert code.key == known.report.key, "not the machine's own key: that lies on the locked volume"


def test_a_locked_machine_runs_nothing_of_its_config(stolen: Story) -> None:
    assert stolen.shop.tried("true") is None, "ssh is not there"
    assert "till-7" not in stolen.machine.serial[0].text(), "nor its name"


def test_who_waits_for_it_is_told_that_it_is_locked(stolen: Story) -> None:
    """The command that registered it, started again with the same photo."""
    with stolen.shop.register(stolen.shop.folder / PHOTO, "--wait", "installed") as run:
        assert run.end(LOCKED_SECONDS) == ExitCode.LOCKED, run.end_of()
    assert run.verdict["error"]["slug"] == errors.TpmForeign.slug


@pytest.fixture(scope="module")
def recovered(stolen: Story) -> Run:
    """Opened over the channel, by what its operator has kept; then it gets another key."""
    with stolen.shop.operator.fleet("recover", serial(stolen.shop), log="recover.log") as run:
        assert run.end(OPEN_SECONDS) == 0, run.end_of()
    return run


def test_the_operator_opens_it_and_the_start_goes_on(recovered: Run, stolen: Story) -> None:
    shop = stolen.shop
    assert "its volumes are open" in recovered.end_of()
    shop.wait_ssh(OPEN_SECONDS)
    assert shop.on("hostname") == "till-7"
    assert "volumes   open" in shop.on(f"sudo -n {NODE} state")
    with shop.register(shop.folder / PHOTO, "--wait", "installed") as run:
        assert run.end(OPEN_SECONDS) == 0, run.end_of()


@pytest.fixture(scope="module")
def rotated(recovered: Run, stolen: Story) -> Run:
    """It has a new recovery key and is bound to the TPM that it has now."""
    wanted = ("recover", serial(stolen.shop), "--reenroll", "--rotate")
    with stolen.shop.operator.fleet(*wanted, log="rotate.log") as run:
        assert run.end(CHANGE_SECONDS) == 0, run.end_of()
    return run


def test_the_new_key_opens_and_the_old_one_is_refused(rotated: Run, stolen: Story) -> None:
    new, old = keys_of(stolen.shop)
    assert old == stolen.first_key
    for volume in ("KR_OEM", "KR_PERSISTENT"):
        assert opens(stolen.shop, volume, new)
        assert not opens(stolen.shop, volume, old)
        assert slots(stolen.shop, volume) == {"password": 1, "tpm2": 1}
    (node,) = all_nodes(records(stolen.shop))
    newest, _ = records(stolen.shop).escrowed(node.stored.known.lease)
    assert newest.proof is not None
    kept = json.loads(stolen.shop.on("sudo -n cat /boot/kairos/escrow.json"))
    assert kept == newest.record.to_json(), "for whoever has the escrow key and the disk"


@pytest.mark.soak
def test_a_machine_that_awaits_approval_opens_only_then(rotated: Run, stolen: Story) -> None:
    """Bound to TPM and approval from now on; restarted, it waits until somebody approves."""
    shop = stolen.shop
    how = "/oem/.kairos/install.json"
    shop.on(f'sudo -n sed -i \'s/"unlock": "auto"/"unlock": "approval"/\' {how}')
    reenrolled(shop)
    said = len(stolen.machine.serial[0].text().encode())
    shop.on("sudo -n systemctl --no-block reboot")
    stolen.machine.serial[0].wait_for(errors.ApprovalNeeded().code, LOCKED_SECONDS, said)
    assert shop.tried("true") is None
    with shop.operator.fleet("nodes", "approve", serial(shop), log="approve.log") as run:
        assert run.end(OPEN_SECONDS) == 0, run.end_of()
    shop.wait_ssh(OPEN_SECONDS)
    assert "opened by approval" in shop.on(f"sudo -n {NODE} state")


@pytest.fixture(scope="module")
def cleared(branch: Branch, switched_on: SwitchOn) -> Story:
    """The same computer, its TPM cleared by whoever looked at the firmware's menus."""
    shop = branch("cleared")
    shop.box.clear_tpm()
    return switched_on(shop)


def test_a_cleared_tpm_locks_it_until_it_is_bound_anew(cleared: Story) -> None:
    assert errors.TpmForeign().code in cleared.machine.serial[0].text()
    bound_anew(cleared)


@pytest.fixture(scope="module")
def other_firmware(branch: Branch, switched_on: SwitchOn, factory: Factory) -> Story:
    """The same computer after its firmware's keys were changed: register 7 is another one."""
    shop = branch("other-firmware")
    firmware.add_keys(shop.box.variables, factory.certificates)
    return switched_on(shop)


@pytest.mark.soak
def test_changed_firmware_keys_lock_it_until_it_is_bound_anew(other_firmware: Story) -> None:
    assert errors.FirmwareChanged().code in other_firmware.machine.serial[0].text()
    bound_anew(other_firmware)


# --- what the tests use -----------------------------------------------------------------------


def serial(shop: Shop) -> str:
    return shop.box.hardware.serial


def bound_anew(story: Story) -> None:
    """Its operator opens it and binds it anew; at the next start its TPM opens it by itself."""
    shop = story.shop
    reenrolled(shop)
    shop.wait_ssh(OPEN_SECONDS)
    shop.restart(OPEN_SECONDS)
    assert "volumes   open, opened by tpm2" in shop.on(f"sudo -n {NODE} state")
    assert keys_of(shop) == [story.first_key], "the recovery key is the same"
    assert opens(shop, "KR_PERSISTENT", story.first_key)


def reenrolled(shop: Shop) -> None:
    with shop.operator.fleet("recover", serial(shop), "--reenroll", log="reenroll.log") as run:
        assert run.end(OPEN_SECONDS + CHANGE_SECONDS) == 0, run.end_of()


def records(shop: Shop) -> Records:
    return Records(shop.operator.escrow.parent)


def keys_of(shop: Shop) -> list[bytes]:
    """The recovery keys that the operator's escrow key opens, the newest first."""
    folder = shop.operator.folder / ".config/kairos-register/keys"
    ours = Keyring(folder).escrow()
    (node,) = all_nodes(records(shop))
    stored = records(shop).escrowed(node.stored.known.lease)
    context = handshake.escrow_context(node.report.node, node.stored.known.lease)
    return [ours.open(one.record.keys[0].sealed, context) for one in stored]


def opens(shop: Shop, volume: str, key: bytes) -> bool:
    """Whether cryptsetup takes the key; it comes over standard input and is in no command line."""
    trying = "cryptsetup open --test-passphrase --disable-external-tokens --key-file - "
    device = f"/dev/disk/by-partlabel/{volume}"
    said = shop.on(f"sudo -n {trying} {device}; echo status $?", stdin=key)
    return said.endswith("status 0")


def slots(shop: Shop, volume: str) -> dict[str, int]:
    """How many key slots of each kind the volume has."""
    said = shop.on(f"sudo -n systemd-cryptenroll /dev/disk/by-partlabel/{volume}")
    kinds = [line.split()[1] for line in said.splitlines() if line.split()[0].isdigit()]
    return {kind: kinds.count(kind) for kind in set(kinds)}
