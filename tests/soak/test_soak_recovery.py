"""A reset that keeps the data, and an installation that takes it over, in a virtual machine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.testing.images import Factory
from node.testing.shop import NODE, Shop
from pairing.testing import qemu
from tests.e2e.conftest import (  # noqa: F401 (fixtures)
    INSTALL_SECONDS,
    RESTART_SECONDS,
    branch,
    factory,
    installed_once,
    network,
    shared,
)
from tests.e2e.test_recovery import (
    CODE_SECONDS,
    DATA,
    START_SECONDS,
    STEP_SECONDS,
    repair,
)
from tests.soak.conftest import Part

pytestmark = [pytest.mark.root, pytest.mark.timeout(0)]


@contextmanager
def restarting(shop: Shop, machine: qemu.Machine) -> Iterator[None]:
    """What is done inside makes the machine restart, and show a code then."""
    restarts = machine.qmp.count("RESET")
    yield
    machine.wait_restart(RESTART_SECONDS, restarts + 1)
    shop.wait_code(machine, CODE_SECONDS)


@pytest.mark.soak(share=0)
def test_data_is_kept_over_a_new_installation(
    branch: Callable[[str], Shop],  # noqa: F811
    factory: Factory,  # noqa: F811
    part: Part,
) -> None:
    shop = branch("reset")
    part.kept["seconds_of"] = seconds = {}
    with shop.resumed(factory.build("1.0.0").stick) as machine:
        shop.wait_ssh(START_SECONDS)
        shop.on(f"sudo -n sh -c 'echo {DATA} > /usr/local/data'")
        assert "nothing wrong" in shop.on(f"sudo -n {NODE} doctor", STEP_SECONDS)
        refused = f"sudo -n {NODE} reset --keep-data < /dev/null 2>&1 || true"
        assert "say --yes" in shop.on(refused, STEP_SECONDS)
        began = time.monotonic()
        with restarting(shop, machine):
            said = shop.on(f"sudo -n {NODE} reset --keep-data --yes", STEP_SECONDS)
            assert "Check the recovery system" in said
        seconds["reset"] = round(time.monotonic() - began)
        key = shop.recovery_key().decode()
        photo = Path(shutil.copy(shop.photo(machine), shop.folder / "code.jpg"))
        with repair(shop, machine) as person:
            person.type("kairos-node unlock\r")
            person.wait_for("Recovery key:", STEP_SECONDS)
            person.type(key + "\r")
            person.wait_for("KR_OEM holds nothing", STEP_SECONDS)
            person.wait_for("KR_PERSISTENT is open", STEP_SECONDS)
            assert person.ask("cat /usr/local/data", STEP_SECONDS) == DATA
            person.type("exit\r")
            assert person.end(STEP_SECONDS) == 0, person.shown[-1500:]
        began = time.monotonic()
        asked = ("--set", "install.keep_data=true", "--approve", "yes", "--wait", "installed")
        with shop.register(photo, *asked) as run:  # the machine is still its operator's: same code
            assert run.end(INSTALL_SECONDS + RESTART_SECONDS) == 0, run.end_of()
        seconds["installed"] = round(time.monotonic() - began)
        shop.wait_ssh(START_SECONDS)
        assert shop.on("hostname") == "till-7"
        assert shop.on("cat /usr/local/data") == DATA
        assert "nothing wrong" in shop.on(f"sudo -n {NODE} doctor", STEP_SECONDS)
        device = "/dev/disk/by-partlabel/KR_PERSISTENT"
        tried = f"sudo -n cryptsetup open --test-passphrase --disable-external-tokens {device}"
        new = shop.recovery_key().decode()
        assert new != key
        for one, opens in ((new, "yes"), (key, "no")):
            command = f"printf %s {one} | {tried} --key-file - 2>/dev/null && echo yes || echo no"
            assert shop.on(command, STEP_SECONDS) == opens
    shutil.rmtree(shop.folder, ignore_errors=True)
