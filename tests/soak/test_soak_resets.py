"""The reset button while a machine is registered (R9 of the threat model), in a virtual machine.

Before its first write the machine is another one afterwards: a new key, a new code, an operator who
is told so. After it, too: and the same photo-to-disk way leads to an installed system.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from node.testing.images import Factory
from node.testing.shop import PLAIN, Shop
from pairing import errors
from pairing.errors import ExitCode
from pairing.peertoken import Token
from pairing.testing import guest_system, qemu
from pairing.testing.lan import Lan
from pairing.testing.operators import Run
from pairing.testing.patience import patient
from tests.e2e.conftest import (  # noqa: F401 (fixtures)
    ARTEFACTS,
    INSTALL_SECONDS,
    RESTART_SECONDS,
    factory,
    network,
    shared,
)
from tests.soak.conftest import Part

pytestmark = [pytest.mark.root, pytest.mark.timeout(0)]

TOLD_SECONDS, STEP_SECONDS = 300.0, 120.0
HEAD = 1 << 20
"""Bytes at the beginning of a disk: its partition table and more."""


@pytest.fixture(scope="module")
def shop(network: Lan) -> Shop:  # noqa: F811
    return Shop.new(network, ARTEFACTS / "soak-resets", PLAIN, 70)


@pytest.fixture(scope="module")
def machine(shop: Shop, factory: Factory) -> Iterator[qemu.Machine]:  # noqa: F811
    with shop.live(factory.build("1.0.0").stick) as machine:
        yield machine


def reset(shop: Shop, machine: qemu.Machine) -> Token:
    """Press the button; the code that is on the screen then."""
    restarts = machine.qmp.count("RESET")
    machine.reset()
    machine.wait_restart(60, restarts + 1)
    time.sleep(1)  # the firmware clears the screen: until then the old code is on it
    shop.wait_code(machine)
    return guest_system.token_on_screen(machine)


def until_step(run: Run, name: str) -> None:
    deadline = time.monotonic() + patient(STEP_SECONDS)
    while not any(line["step"] == name for line in run.of("step")):
        assert time.monotonic() < deadline, run.end_of()
        time.sleep(0.2)


def is_blank(shop: Shop) -> bool:
    with shop.box.disk(0).open("rb") as disk:
        return not any(disk.read(HEAD))


@pytest.mark.soak(share=0)
@pytest.mark.parametrize("state", ["claimed", "planned"])
def test_before_the_first_write_it_is_a_new_machine(
    shop: Shop, machine: qemu.Machine, state: str, part: Part
) -> None:
    before = guest_system.token_on_screen(machine)
    with shop.register(shop.photo(machine), "--wait", "written") as run:
        run.until(state, INSTALL_SECONDS)
        after = reset(shop, machine)
        status = run.end(TOLD_SECONDS)
    part.kept["exit"] = status
    assert status in {ExitCode.UNREACHABLE, ExitCode.NO_VERDICT}, run.end_of()
    assert run.verdict["error"]["hint"] == errors.NodeRestarted.hint
    assert after.key != before.key
    assert is_blank(shop)


@pytest.mark.soak(share=0)
def test_while_it_writes_nothing_starts_from_the_disk_and_it_can_be_installed(
    shop: Shop, machine: qemu.Machine, part: Part
) -> None:
    before = guest_system.token_on_screen(machine)
    with shop.register(shop.photo(machine), "--wait", "written") as run:
        until_step(run, "write-disk")
        time.sleep(2)
        after = reset(shop, machine)
        part.kept["exit"] = run.end(TOLD_SECONDS + INSTALL_SECONDS)
    assert run.verdict["exit"] != 0
    assert after.key != before.key
    with shop.register(shop.photo(machine), "--wait", "installed") as run:
        assert run.end(INSTALL_SECONDS + RESTART_SECONDS) == 0, run.end_of()
