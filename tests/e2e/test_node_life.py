"""The life of one machine, from the stick on: the real commands, and pictures of its screen.

Each fixture is a stage that begins where the one before it ended; each test looks at a stage.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.testing.images import Factory
from node.testing.shop import DISK, LOOK_SECONDS, NODE, Shop
from pairing.errors import ExitCode
from pairing.testing import guest_system, powercuts, qemu, writelog
from pairing.testing.canaries import Canaries, sealed
from pairing.testing.lan import HOST, Lan
from pairing.testing.operators import Run
from pairing.testing.powercuts import Recording
from pairing.testing.recording import Watch, recording
from tests.e2e.conftest import (
    ARTEFACTS,
    CONFIG,
    INSTALL_SECONDS,
    RESTART_SECONDS,
    SECRETS,
    alone,
    fresh,
)

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]

END_SECONDS = 60.0
CUTS_ANYWHERE, CUTS_LOSSY = 20, 20


@pytest.fixture(scope="module")
def keeping(shared: Path) -> Iterator[contextlib.ExitStack]:
    """Holds branches back until this machine is installed; its end lets them go."""
    with contextlib.ExitStack() as stack:
        if not (shared / "installed").exists():
            stack.enter_context(alone(shared / "installed.lock"))
        yield stack


@pytest.fixture(scope="module")
def shop(network: Lan) -> Shop:
    return Shop.new(network, fresh(ARTEFACTS / "life"), CONFIG, 20)


@pytest.fixture(scope="module")
def watch(shop: Shop) -> Iterator[Watch]:
    with recording(shop.box, shop.operator.escrow) as watch:
        yield watch


OTHER_ADDRESSES = (100, 199)


@pytest.fixture(scope="module")
def live(
    shop: Shop, watch: Watch, factory: Factory, keeping: contextlib.ExitStack
) -> Iterator[qemu.Machine]:
    """The machine, started from the stick, with a code and its address on the screen."""
    with shop.live(factory.build("1.0.0").stick) as machine:
        yield machine


@pytest.fixture(scope="module")
def registered(shop: Shop, live: qemu.Machine) -> Iterator[Run]:
    """One command, from the photo through the restart to the end."""
    with shop.register(shop.photo(live), "--wait", "installed") as run:
        yield run


@pytest.fixture(scope="module")
def written(registered: Run, shop: Shop, watch: Watch) -> Run:
    """The installation, from the photo to a complete disk. Then the network's addresses change."""
    registered.until("written", INSTALL_SECONDS)
    watch.finish()
    shop.network.give_addresses(*OTHER_ADDRESSES)
    return registered


@pytest.fixture(scope="module")
def installed(
    written: Run, shop: Shop, live: qemu.Machine, shared: Path, keeping: contextlib.ExitStack
) -> Run:
    """The machine after its restart, its config in force; a copy is left for branches."""
    written.end(RESTART_SECONDS)
    if not (shared / "installed").exists():
        shop.keep(shared / "installed", live)
    keeping.close()
    return written


def test_the_stick_shows_the_same_code_on_screen_and_serial_line(live: qemu.Machine) -> None:
    from pairing.testing.screens import picture

    shown = live.folder / "serial.png"
    picture(live.serial[0].text(), 80, 24).save(shown)
    assert guest_system.token_in(shown).id == guest_system.token_on_screen(live).id


def test_the_photo_leads_to_a_complete_disk(written: Run, shop: Shop) -> None:
    assert written.states[:5] == ["claimed", "approved", "planned", "installing", "written"]
    steps = [line["step"] for line in written.of("step")]
    order = list(dict.fromkeys(steps))
    assert order.index("escrow-key") < order.index("wipe-tables") < order.index("write-disk")
    assert order[-1] == "mark-complete"
    assert len(list(shop.operator.escrow.glob("*.json"))) == 1


def test_a_power_cut_at_any_moment_leaves_nothing_half_made(
    written: Run, shop: Shop, watch: Watch, tmp_path: Path
) -> None:
    assert watch.acknowledged is not None
    assert watch.entry is not None
    made = Recording(
        log=watch.log,
        image=blank(tmp_path / "end.raw"),
        key=shop.recovery_key(),
        acknowledged=watch.acknowledged,
        entry=watch.entry,
        requests=watch.finished,
    )
    end = powercuts.finished(made)
    assert all(volume.slots >= 2 and volume.opens for volume in end.volumes.values())
    assert set(end.volumes) == {"KR_OEM", "KR_PERSISTENT"}
    again = replace(made, image=blank(tmp_path / "cuts.raw"))
    report = powercuts.examine(
        again,
        end,
        lambda log: writelog.cuts(log, CUTS_ANYWHERE, CUTS_LOSSY, closely=watch.entry),
    )
    assert report.faults == []
    assert set(report.standings) == {"nothing", "built", "starts"}


def test_no_secret_is_outside_of_the_encrypted_volumes(
    written: Run, shop: Shop, live: qemu.Machine
) -> None:
    """The control, the same search of a disk without encryption, is in `test_installs.py`."""
    require_no_secret(shop, live)


def test_the_same_command_hears_of_the_restart_and_the_verdict(installed: Run, shop: Shop) -> None:
    assert installed.end(END_SECONDS) == ExitCode.DONE, installed.end_of()
    assert installed.states[5:] == ["rebooting", "installed"]
    assert installed.verdict["state"] == "installed"
    assert installed.verdict["serial"] == shop.box.hardware.serial
    numbers = [line["seq"] for line in installed.lines if "seq" in line]
    assert numbers == sorted(set(numbers)), "they go on over the restart"
    assert len({line["boot"] for line in installed.of("state")}) == 2


def test_its_address_has_changed_on_the_way(installed: Run, shop: Shop, live: qemu.Machine) -> None:
    before = guest_system.token_in(live.folder / "photographed.png").addresses[0].host
    now = shop.network.address(shop.box.hardware.mac)
    last = [int(address.rsplit(".", 1)[1]) for address in (before, now)]
    assert last[0] < OTHER_ADDRESSES[0] <= last[1]


def test_the_config_is_in_force(installed: Run, shop: Shop) -> None:
    assert shop.on("hostname") == "till-7"
    assert shop.on("sudo -n cat /etc/shop") == SECRETS["file"]
    assert shop.on("sudo -n cat /run/told") == SECRETS["command"]
    assert "admin" in shop.on("id -nG").split()


def test_no_secret_came_out_of_the_volumes_while_the_config_was_applied(
    installed: Run, shop: Shop, live: qemu.Machine
) -> None:
    shop.on("sync")
    require_no_secret(shop, live)


def test_the_system_cannot_be_changed_and_the_data_is_encrypted(installed: Run, shop: Shop) -> None:
    assert "Read-only file system" in shop.on("sudo -n touch /usr/changed 2>&1 || true")
    assert shop.on("findmnt -no FSTYPE /") == "squashfs"
    assert shop.on("findmnt -no SOURCE /usr/local") == "/dev/mapper/kr_persistent"
    assert shop.on("findmnt -no SOURCE /oem") == "/dev/mapper/kr_oem"
    kept = shop.on("sudo -n sh -c 'echo kept > /usr/local/data; cat /usr/local/data'")
    assert kept == "kept"


@pytest.fixture(scope="module")
def written_again(installed: Run, shop: Shop, factory: Factory, watch: Watch) -> tuple[int, int]:
    """Version 1.1.0 from a web server of the shop's, not yet started.

    How many requests the disk had before and after it.
    """
    folder = factory.build("1.1.0").root.parent
    web = ("8000", "--bind", HOST, "--directory", str(folder))
    shop.on("sudo -n sh -c 'echo kept > /usr/local/data; sync'")
    before = writelog.count(watch.log)
    with shop.network.place.program("http.server", *web):
        shop.on(f"sudo -n {NODE} upgrade http://{HOST}:8000/")
    shop.on("sync")
    return before, writelog.count(watch.log)


@pytest.mark.soak
def test_a_power_cut_during_an_upgrade_leaves_the_old_system_or_both(
    written_again: tuple[int, int], shop: Shop, watch: Watch, tmp_path: Path
) -> None:
    before, after = written_again
    made = Recording(
        log=watch.log,
        image=blank(tmp_path / "end.raw"),
        key=shop.recovery_key(),
        acknowledged=0,
        entry=None,
        begin=before,
        requests=after,
    )
    end = powercuts.finished(made)
    assert {"kr_root_1.0.0", "kr_root_1.1.0"} <= set(end.digests)
    report = powercuts.examine(
        replace(made, image=blank(tmp_path / "cuts.raw")),
        end,
        lambda log: writelog.cuts(log, CUTS_ANYWHERE, CUTS_LOSSY, begin=before),
        judge=powercuts.judge_upgrade,
    )
    assert report.faults == []
    assert set(report.standings) == {"starts", "both"}


@pytest.fixture(scope="module")
def upgraded(written_again: tuple[int, int], shop: Shop) -> str:
    """What the machine says after its restart into version 1.1.0."""
    assert "kr_1.1.0+" in shop.on("sudo -n ls /boot/EFI/Linux"), "on trial"
    shop.on("sudo -n systemctl --no-block reboot")
    deadline = time.monotonic() + RESTART_SECONDS
    state = ""
    while "running   1.1.0" not in state:
        assert time.monotonic() < deadline, state
        time.sleep(LOOK_SECONDS)
        state = shop.tried(f"sudo -n {NODE} state") or ""
    return state


@pytest.mark.soak
def test_an_upgrade_is_good_after_its_trial_and_the_data_is_there(
    upgraded: str, shop: Shop
) -> None:
    assert shop.on("cat /usr/local/data") == "kept"
    assert shop.on("hostname") == "till-7"
    assert "volumes   open, opened by tpm2" in upgraded, "the TPM knows the new kernel's signature"
    deadline = time.monotonic() + END_SECONDS
    while "+" in (kernels := shop.on("sudo -n ls /boot/EFI/Linux")):
        assert time.monotonic() < deadline, kernels
        time.sleep(LOOK_SECONDS)
    assert kernels.split() == ["kr_1.0.0.efi", "kr_1.1.0.efi", "recovery.efi"]


# --- what the tests use -----------------------------------------------------------------------


def require_no_secret(shop: Shop, machine: qemu.Machine) -> None:
    """None on the disk outside of its encrypted volumes, none at the operator's."""
    search, image = Canaries(SECRETS), shop.box.disk()
    assert len(sealed(image)) == 2
    assert search.on_disk(image) == set()
    assert search.in_tree(machine.folder) == set(), "serial consoles, what the operator was told"
    assert search.in_tree(shop.operator.folder) == set(), "records, journal, audit log"


def blank(image: Path) -> Path:
    with image.open("wb") as file:
        file.truncate(DISK)
    return image
