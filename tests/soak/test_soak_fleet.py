"""A chain's own machine, as ATTACKS.md advises: its image pins a fleet, its disk opens only when an
operator approves. From the stick to a restart, in a virtual machine.

Each fixture is a stage that begins where the one before it ended.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from node.testing.images import Factory
from node.testing.shop import NODE, PHOTO, PLAIN, Shop
from pairing import errors, process
from pairing.errors import ExitCode
from pairing.testing import qemu
from pairing.testing.lan import Lan
from pairing.testing.operators import Operator, Run
from tests.e2e.conftest import (  # noqa: F401 (fixtures)
    ARTEFACTS,
    INSTALL_SECONDS,
    factory,
    fresh,
    network,
    shared,
)

pytestmark = [pytest.mark.root, pytest.mark.soak, pytest.mark.timeout(0)]

CONFIG = PLAIN.replace("encrypt: tpm2", "encrypt: {mode: tpm2, unlock: approval}")
COMMAND_SECONDS, REFUSED_SECONDS, OPEN_SECONDS, LOCKED_SECONDS = 60.0, 180.0, 420.0, 420.0


@pytest.fixture(scope="module")
def shop(network: Lan) -> Shop:  # noqa: F811
    return Shop.new(network, fresh(ARTEFACTS / "soak-fleet"), CONFIG, 130)


@pytest.fixture(scope="module")
def pinned(shop: Shop) -> str:
    """The fleet's key, as headquarters gives it out; the shop's station has its certificate."""
    headquarters = replace(shop.operator, folder=shop.folder / "headquarters")
    fleet(headquarters, "keys", "fleet-init")
    fleet(shop.operator, "keys", "init")
    station = fleet(shop.operator, "keys", "export", "--operator").strip()
    certificate = shop.folder / "station.json"
    words = ("keys", "certify", "--name", "north", "--", station)
    certificate.write_text(fleet(headquarters, *words))
    fleet(shop.operator, "keys", "accept", str(certificate))
    return fleet(headquarters, "keys", "export", "--fleet").strip()


@pytest.fixture(scope="module")
def machine(shop: Shop, pinned: str, factory: Factory) -> Iterator[qemu.Machine]:  # noqa: F811
    stick = factory.build("1.0.0", into="pinned", fleets=(pinned,)).stick
    with shop.live(stick) as machine:
        shop.photo(machine)
        yield machine


@pytest.fixture(scope="module")
def refused(machine: qemu.Machine, shop: Shop) -> Run:
    """Somebody who has the photo and no certificate."""
    stranger = replace(shop.operator, folder=shop.folder / "stranger")
    with stranger.register(machine.folder / PHOTO, shop.config) as run:
        run.end(REFUSED_SECONDS)
    return run


@pytest.fixture(scope="module")
def installed(refused: Run, machine: qemu.Machine, shop: Shop) -> Run:
    with shop.register(machine.folder / PHOTO, "--wait", "installed") as run:
        assert run.end(INSTALL_SECONDS + OPEN_SECONDS) == ExitCode.DONE, run.end_of()
    return run


def test_a_photo_alone_is_worth_nothing(refused: Run, shop: Shop) -> None:
    assert refused.verdict["error"]["code"] == errors.FleetSignatureNeeded().code, refused.end_of()
    assert refused.states == []


def test_its_first_start_is_approved_by_the_command_that_installed_it(
    installed: Run, shop: Shop
) -> None:
    assert installed.states[-2:] == ["rebooting", "installed"]
    assert "volumes   open, opened by approval" in shop.on(f"sudo -n {NODE} state")
    assert shop.on("hostname") == "till-7"


def test_at_every_other_start_it_waits_for_an_operator(
    installed: Run, machine: qemu.Machine, shop: Shop
) -> None:
    said = len(machine.serial[0].text().encode())
    shop.on("sudo -n systemctl --no-block reboot")
    machine.serial[0].wait_for(errors.ApprovalNeeded().code, LOCKED_SECONDS, said)
    assert shop.tried("true") is None
    with shop.operator.fleet("nodes", "approve", shop.box.hardware.serial) as run:
        assert run.end(OPEN_SECONDS) == 0, run.end_of()
    shop.wait_ssh(OPEN_SECONDS)
    assert "opened by approval" in shop.on(f"sudo -n {NODE} state")


def fleet(operator: Operator, *words: str) -> str:
    """What `kairos-fleet` prints."""
    operator.folder.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "cli.fleet", *words]
    said = process.run(argv, seconds=COMMAND_SECONDS, environment=dict(operator.environment))
    return said.text()
