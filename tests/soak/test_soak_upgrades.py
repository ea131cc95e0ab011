"""Upgrades of an installed machine that are too long for `make e2e`: back by hand, a slot that is
changed before its first start, the power cut while a version is written.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.testing.images import Factory
from node.testing.shop import NODE, Shop
from pairing.testing import qemu
from pairing.testing.lan import HOST
from tests.e2e.conftest import (  # noqa: F401 (fixtures)
    ARTEFACTS,
    RESTART_SECONDS,
    branch,
    factory,
    fresh,
    installed_once,
    network,
    shared,
)
from tests.e2e.test_upgrade import (
    PLACE,
    PORT,
    kernels,
    offer,
    restart_until,
    upgrade,
    write_over_slot,
)
from tests.soak.conftest import Part

pytestmark = [pytest.mark.root, pytest.mark.timeout(0)]

CUTS, LONGEST_SECONDS = 6, 14.0
"""How often the power is cut, and how far into an upgrade at most: a whole one takes 16 seconds."""


@pytest.fixture(scope="module")
def shop(branch: Callable[[str], Shop]) -> Shop:  # noqa: F811
    return branch("soak-upgrades")


@pytest.fixture(scope="module")
def machine(shop: Shop, factory: Factory) -> Iterator[qemu.Machine]:  # noqa: F811
    """The installed machine, version 1.0.0, and 1.1.0 on a web server."""
    top = fresh(ARTEFACTS / "soak-updates")
    offer(factory.build("1.1.0").root.parent, Path(top, "good"))
    web = ("http.server", str(PORT), "--bind", HOST, "--directory", str(top))
    with (
        shop.network.place.program(*web),
        shop.resumed(factory.build("1.0.0").stick) as machine,
    ):
        shop.wait_ssh(RESTART_SECONDS)
        shop.on("sudo -n sh -c 'echo kept > /usr/local/data; sync'")
        yield machine


@pytest.mark.soak(share=0.05)
def test_back_by_hand(machine: qemu.Machine, shop: Shop, part: Part) -> None:
    assert upgrade(shop, "good").endswith("status 0")
    restart_until(shop, "running   1.1.0", "version   1.1.0: good, running")
    assert "1.0.0 would run" in shop.on(f"sudo -n {NODE} rollback --dry-run")
    shop.on(f"sudo -n {NODE} rollback")
    restart_until(shop, "running   1.0.0", "version   1.0.0: good, running")
    assert kernels(shop) == ["kr_1.0.0.efi", "kr_1.1.0+0-0.efi", "recovery.efi"]
    assert shop.on("cat /usr/local/data") == "kept"


@pytest.mark.soak(share=0.05)
def test_a_slot_that_is_changed_before_its_first_start(
    machine: qemu.Machine, shop: Shop, part: Part
) -> None:
    assert upgrade(shop, "good").endswith("status 0")
    write_over_slot(shop, "kr_root_1.1.0", PLACE)
    state = restart_until(shop, "running   1.0.0", "version   1.1.0: bad, all tries used")
    assert "failed    1.1.0: the start failed early:" in state


@pytest.mark.soak(share=0.1)
def test_the_power_is_cut_while_a_version_is_written(
    machine: qemu.Machine, shop: Shop, part: Part
) -> None:
    """Each time the machine starts, with its data; at the end the upgrade is done as ever."""
    cuts: list[float] = []
    part.kept["seconds_into"] = cuts
    while len(cuts) < CUTS and not part.over:
        moment = random.uniform(0.0, LONGEST_SECONDS)
        command = f"{NODE} upgrade http://{HOST}:{PORT}/good/"
        shop.on(f"sudo -n sh -c '{command} >/dev/null 2>&1 &'")
        time.sleep(moment)
        restarts = machine.qmp.count("RESET")
        machine.reset()
        machine.wait_restart(60, restarts + 1)
        shop.wait_ssh(3 * RESTART_SECONDS)
        cuts.append(round(moment, 1))
        assert shop.on("cat /usr/local/data") == "kept"
        if "running   1.1.0" in shop.on(f"sudo -n {NODE} state"):
            return  # it was complete already
    assert upgrade(shop, "good").endswith("status 0")
    restart_until(shop, "running   1.1.0", "version   1.1.0: good, running")
