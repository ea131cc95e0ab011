"""Upgrades that must not happen, must not stay, and one from a Dockerfile: a copy of the installed
machine, one stage after the other, until only its recovery system is left, and one from there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.image import signing, trees
from node.image.media import updates
from node.testing import dockerfile
from node.testing.images import UNHEALTHY, Factory
from node.testing.shop import LOOK_SECONDS, NODE, Shop
from pairing.testing import qemu
from pairing.testing.lan import HOST
from pairing.testing.patience import patient
from pairing.testing.typist import Typist
from tests.e2e.conftest import ARTEFACTS, RESTART_SECONDS, fresh
from tests.e2e.test_recovery import STEP_SECONDS, repair

pytestmark = [pytest.mark.root, pytest.mark.timeout(1800)]

PORT = 8000
WRITE_SECONDS, FALL_BACK_SECONDS = 300.0, 900.0
ASK_SECONDS, END_SECONDS = 240, 60.0
PLACE = 20_000_000
"""A byte in the middle of a root, which no start needs."""


@pytest.fixture(scope="module")
def shop(branch: Callable[[str], Shop]) -> Shop:
    return branch("upgrade")


@pytest.fixture(scope="module")
def machine(shop: Shop, factory: Factory) -> Iterator[qemu.Machine]:
    """The installed machine, version 1.0.0, with data."""
    with shop.resumed(factory.build("1.0.0").stick) as machine:
        shop.wait_ssh(RESTART_SECONDS)
        shop.on("sudo -n sh -c 'echo kept > /usr/local/data'")
        yield machine


@pytest.fixture(scope="module")
def served(shop: Shop, factory: Factory) -> Iterator[Path]:
    """`good` (1.1.0, from a Dockerfile), `broken` (1.2.0), and 1.1.0 as a stranger would serve
    it."""
    top, folder = fresh(ARTEFACTS / "updates"), fresh(ARTEFACTS / "dockerfile")
    base = dockerfile.write(folder, factory.recipe)
    good = factory.build("1.1.0", into="dockerfile", base=base, folder=folder).root.parent
    offer(good, top / "good")
    offer(factory.build("1.2.0", files=(UNHEALTHY,)).root.parent, top / "broken")
    changed = offer(good, top / "changed") / "kr_1.1.0.root"
    write_over(changed, b"changed")
    resign(offer(good, top / "stranger"), factory)
    with shop.network.place.program(
        "http.server", str(PORT), "--bind", HOST, "--directory", str(top)
    ):
        yield top


def offer(source: Path, target: Path) -> Path:
    """A folder with the update files of one version."""
    target.mkdir()
    for path in source.iterdir():
        if path.name.startswith(("kr_", "SHA256SUMS")) and path.is_file():
            shutil.copy2(path, target)
    return target


def resign(folder: Path, factory: Factory) -> None:
    """Sign the list with a key that the machine does not know."""
    tools = trees.tool_room(factory.recipe.base)
    work = fresh(ARTEFACTS / "stranger")
    signing.make_keys(work / "keys", tools, "stranger")
    updates.publish(tools, folder, work, work / "keys")


def write_over(file: Path, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(PLACE)
        opened.write(data)


def upgrade(shop: Shop, name: str) -> str:
    """What the command says, and its exit status at the end."""
    argv = f"sudo -n {NODE} upgrade http://{HOST}:{PORT}/{name}/"
    return shop.on(f"{argv} 2>&1; echo status $?", WRITE_SECONDS)


def write_over_slot(shop: Shop, label: str, place: int) -> None:
    """Change a slot as root can. The label is read from the table: udev may know an older one."""
    found = f'[ "$(blkid --probe -o value -s PART_ENTRY_NAME $d)" = {label} ] && echo $d'
    change = f"printf changed | dd of=$d bs=1 seek={place} conv=notrunc,fsync"
    script = f"for d in /dev/vda?*; do {found} && {change} 2>/dev/null; done"
    said = shop.on(f"sudo -n sh -c '{script}; sync'")
    assert said.startswith("/dev/vda"), said


def restart_until(shop: Shop, *wanted: str) -> str:
    """Restart; the machine's state once it has all these lines."""
    shop.on("sudo -n systemctl --no-block reboot")
    return wait_state(shop, *wanted)


def wait_state(shop: Shop, *wanted: str) -> str:
    """The machine's state once it has all these lines."""
    deadline = time.monotonic() + patient(FALL_BACK_SECONDS)
    state = ""
    while not all(line in state for line in wanted):
        assert time.monotonic() < deadline, state
        time.sleep(LOOK_SECONDS)
        state = shop.tried(f"sudo -n {NODE} state") or state
    return state


def kernels(shop: Shop) -> list[str]:
    return shop.on("sudo -n ls /boot/EFI/Linux").split()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("stranger", "not signed with a key of this image"),
        ("changed", "did not check out, file has been tampered with"),
    ],
)
def test_an_update_of_a_stranger_is_refused(
    machine: qemu.Machine, served: Path, shop: Shop, name: str, why: str
) -> None:
    """The whole matrix, without a machine: `test_update_signatures.py`."""
    said = upgrade(shop, name)
    assert why in said
    assert said.endswith("status 7")
    assert kernels(shop) == ["kr_1.0.0.efi", "recovery.efi"]


@pytest.fixture(scope="module")
def fallen_back(machine: qemu.Machine, served: Path, shop: Shop) -> str:
    """The state after an upgrade to a version that starts, and is not well."""
    assert upgrade(shop, "broken").endswith("status 0")
    assert "kr_1.2.0+2-0.efi" in kernels(shop)
    return restart_until(shop, "running   1.0.0", "version   1.2.0: bad, all tries used")


def test_a_broken_version_falls_back_and_the_data_is_there(fallen_back: str, shop: Shop) -> None:
    assert shop.on("cat /usr/local/data") == "kept"
    assert "running   1.0.0 (installed)\n" in fallen_back, "not on trial"
    assert "failed    1.2.0: the check 10-never: status 1" in fallen_back
    assert "volumes   open, opened by tpm2" in fallen_back


def test_its_operator_hears_of_it(fallen_back: str, shop: Shop) -> None:
    serial = shop.box.hardware.serial
    with shop.operator.fleet("nodes", "ask", serial, "--timeout", str(ASK_SECONDS)) as run:
        assert run.end(ASK_SECONDS + END_SECONDS) == 0, run.end_of()
    with shop.operator.fleet("nodes", "show", serial, log="show.log") as run:
        assert run.end(END_SECONDS) == 0
        assert "Version 1.2.0 was not good: the check 10-never: status 1" in "\n".join(run.talk)


@pytest.fixture(scope="module")
def upgraded(fallen_back: str, shop: Shop) -> str:
    """The state after the upgrade to the image of a Dockerfile, once it is proved good."""
    assert upgrade(shop, "good").endswith("status 0")
    return restart_until(shop, "running   1.1.0", "version   1.1.0: good, running")


def test_a_dockerfile_from_our_image_becomes_an_upgrade(upgraded: str, shop: Shop) -> None:
    assert shop.on(dockerfile.PACKAGE) == dockerfile.SAYS
    assert "volumes   open, opened by tpm2" in upgraded
    assert shop.on("cat /usr/local/data") == "kept"


@pytest.fixture(scope="module")
def changed_slot(upgraded: str, shop: Shop) -> str:
    """The state after the slot of a version that was proved good was changed."""
    write_over_slot(shop, "kr_root_1.1.0", PLACE)
    return restart_until(shop, "running   1.0.0", "version   1.1.0: bad, all tries used")


@pytest.mark.soak
def test_a_good_slot_that_was_changed_falls_back(changed_slot: str, shop: Shop) -> None:
    """Nobody presses a key, and no volume is opened by the changed one."""
    (why,) = [line for line in changed_slot.splitlines() if line.startswith("failed ")]
    assert why.startswith("failed    1.1.0: the start failed early:")
    assert "kairos-check-root.service" in why
    assert "running   1.0.0 (installed)\n" in changed_slot
    assert kernels(shop) == ["kr_1.0.0.efi", "kr_1.1.0+0-2.efi", "recovery.efi"]
    assert shop.on("cat /usr/local/data") == "kept"


@pytest.fixture(scope="module")
def session(changed_slot: str, machine: qemu.Machine, shop: Shop) -> Iterator[Typist]:
    """A repair session after the last good slot was changed too."""
    write_over_slot(shop, "kr_verity_1.0.0", 0)
    shop.on("sudo -n systemctl --no-block reboot")
    shop.wait_code(machine, FALL_BACK_SECONDS)
    with repair(shop, machine) as person:
        yield person


@pytest.mark.soak
def test_with_no_good_slot_left_recovery_shows_its_code(session: Typist) -> None:
    """And in a repair session why."""
    lines = session.ask("kairos-node state", STEP_SECONDS).splitlines()
    assert "running   1.0.0 (recovery)" in lines
    assert "version   1.1.0: bad, all tries used" in lines
    assert "version   1.0.0: bad, all tries used" in lines
    (why,) = [line for line in lines if line.startswith("failed ")]
    assert why.startswith("failed    1.0.0: the start failed early:")


@pytest.mark.soak
def test_an_upgrade_from_recovery_brings_the_machine_back(session: Typist, shop: Shop) -> None:
    argv = f"kairos-node upgrade http://{HOST}:{PORT}/good/"
    said = session.ask(f"{argv} 2>&1; echo status $?", WRITE_SECONDS)
    assert said.endswith("status 0"), said
    session.type("systemctl --no-block reboot\r")
    wait_state(shop, "running   1.1.0", "version   1.1.0: good, running")
    assert shop.on("cat /usr/local/data") == "kept"
