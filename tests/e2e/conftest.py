"""Virtual machines on a network of their own, shared by the tests of this folder.

All boot at once; each test waits for the machine that it needs. Their serial logs and last
pictures stay in build/e2e, in a folder for each worker of pytest.

Branches of the story begin with a copy of one installed machine (`branch`). KAIROS_TEST_INSTALLED:
a folder where that machine is kept between runs, for people who write tests; after a change of
what is installed, remove it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from node.testing import guest
from node.testing.images import Factory
from node.testing.shop import Shop, board
from pairing.testing import guest_system, netns, qemu
from pairing.testing.firmware import EMPTY
from pairing.testing.hardware import Drive, Firmware
from pairing.testing.lan import PREFIX, Lan, lan
from pairing.testing.serial_line import last_words

TOOLS = ("qemu-system-x86_64", "mmdebstrap", "dnsmasq", "prlimit")
ALL_ARTEFACTS = guest.TOP / "build/e2e"
ARTEFACTS = ALL_ARTEFACTS / os.environ.get("PYTEST_XDIST_WORKER", "main")
DISK_BYTES = 8 << 30
BOOT_SECONDS = 420.0
"""Three at once, emulated, on a busy machine. One on an idle one: 45."""
REDRAW_SECONDS = 60.0
LATELY_SECONDS = 600.0
KINDS = ("bios", "uefi", "clock")
INSTALL_SECONDS, RESTART_SECONDS = 420.0, 420.0
PASSWORD_HASH = "$6$rounds=100000$canary-salt$" + "c4n4ry" * 14 + "zz"
SECRETS = {
    "file": "canary-file-3f9a71c2",
    "password": PASSWORD_HASH,
    "environment": "canary-environment-77aa01",
    "command": "canary-command-0b0b5e",
    "join token": "canary-join-token-5be2d104",
}
CONFIG = f"""#cloud-config
hostname: till-7
users:
  - name: ana
    groups: [admin]
    passwd: {PASSWORD_HASH}
    ssh_authorized_keys:
      - PUBLIC
write_files:
  - path: /etc/shop
    permissions: 0600
    content: {SECRETS["file"]}
environment: {{SHOP: {SECRETS["environment"]}}}
runcmd:
  - "echo {SECRETS["command"]} > /run/told"
k3s-agent:
  enabled: false
  env: {{K3S_URL: "https://10.77.0.254:6443", K3S_TOKEN: {SECRETS["join token"]}}}
install:
  device: auto
  encrypt: tpm2
"""
"""What the machine of the story is told. It has no k3s: its cluster is for later."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure says how far the machines had come that were on lately."""
    report = yield
    if report.failed:
        for log in ARTEFACTS.rglob("ttyS0.log"):
            if time.time() - log.stat().st_mtime < LATELY_SECONDS:
                words = last_words(log.read_text("utf-8", "replace"), 12)
                report.sections.append((str(log.relative_to(ARTEFACTS)), "\n".join(words)))
    return report


def missing_tools(*tools: str) -> list[str]:
    """Those of these programs that are not installed."""
    return [tool for tool in tools if shutil.which(tool) is None]


@pytest.fixture(scope="module")
def network(request: pytest.FixtureRequest) -> Iterator[Lan]:
    missing = missing_tools(*TOOLS)
    if missing or not EMPTY.exists():
        pytest.skip(f"not installed: {', '.join(missing) or 'ovmf'} (as root: .ci/packages)")
    if not netns.possible():
        pytest.skip("needs root and network namespaces")
    with lan(fresh(ARTEFACTS / f"lan-{request.path.stem}")) as up:
        yield up


@pytest.fixture(scope="session")
def shared(testrun_uid: str) -> Path:
    """What the workers of this run share: images' keys, the installed machine."""
    if kept := os.environ.get("KAIROS_TEST_INSTALLED"):
        folder = Path(kept)
    else:
        folder = ALL_ARTEFACTS / f"shared-{testrun_uid}"
        for old in ALL_ARTEFACTS.glob("shared-*"):
            if old != folder:
                shutil.rmtree(old, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def alone(file: Path) -> Iterator[None]:
    """One worker at a time."""
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def factory(shared: Path) -> Factory:
    """Builds the images of this run."""
    factory = Factory(fresh(ARTEFACTS / "images"), shared / "keys")
    with alone(shared / "keys.lock"):
        factory.build("1.0.0")
    return factory


@pytest.fixture(scope="session")
def installed_once(shared: Path, factory: Factory) -> Path:
    """Where an installed machine of version 1.0.0 is kept: `Shop.kept`.

    The test of a machine's life leaves it there as it passes; where that has not run or not yet
    begun, it is installed here.
    """
    kept = shared / "installed"
    with alone(shared / "installed.lock"):
        if not kept.exists():
            with lan(fresh(ARTEFACTS / "lan-installed")) as network:
                shop = Shop.new(network, fresh(ARTEFACTS / "installed"), CONFIG, 20)
                with shop.live(factory.build("1.0.0").stick) as machine:
                    with shop.register(shop.photo(machine), "--wait", "installed") as run:
                        assert run.end(INSTALL_SECONDS + RESTART_SECONDS) == 0, run.end_of()
                    shop.keep(kept, machine)
    return kept


@pytest.fixture(scope="module")
def branch(installed_once: Path, network: Lan) -> Callable[[str], Shop]:
    """Copies of the installed machine for branches of the story: `branch("stolen")`.

    `running()` starts one, `resumed()` lets it go on at the moment at which it was kept.

    Each is the same machine: run one at a time, or give it another network.
    """

    def take(name: str) -> Shop:
        number = numbers.pop(0)
        return Shop.kept(installed_once, network, ARTEFACTS / name, number)

    numbers = list(range(40, 80))
    return take


@pytest.fixture(scope="module")
def machines(network: Lan) -> Iterator[Mapping[str, qemu.Machine]]:
    """An old machine, a usual one, and one with large letters, in French, in 1970.

    `bios`: BIOS, VGA text of 80x25. `uefi`: UEFI, framebuffer of 160x50. `clock`: the same with
    80x25 and a clock that stands at 1970.
    """
    image = guest.image(ARTEFACTS)
    usual = guest_system.KERNEL_WORDS
    odd = (*usual, guest_system.CLOCK_WORD, "kairos.lang=fr", "fbcon=font:TER16x32")
    bios, uefi, clock = (board(network.tap(number), number) for number in range(len(KINDS)))
    wanted = (
        (bios, usual),
        (replace(uefi, firmware=Firmware.UEFI), usual),
        (replace(clock, firmware=Firmware.UEFI, chipset="pc", clock="1970-01-01"), odd),
    )
    with contextlib.ExitStack() as stack:
        running = {}
        for name, (hardware, words) in zip(KINDS, wanted, strict=True):
            boot = qemu.Boot(kernel=image.kernel, initramfs=image.initramfs, words=words)
            folder = fresh(ARTEFACTS / name)
            disk = Drive(image=blank(folder / "disk.raw"))
            hardware = replace(hardware, drives=(disk,))
            started = qemu.running(hardware, boot, folder, network.entry)
            running[name] = stack.enter_context(started)
        yield running


def blank(image: Path) -> Path:
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    return image


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def waiting(request: pytest.FixtureRequest, machines: Mapping[str, qemu.Machine]) -> qemu.Machine:
    """A machine whose code, with its address in it, is on its screen."""
    machine = machines[request.param]
    marker = f"code drawn, address: {PREFIX}"
    guest_system.journal(machine).wait_for(marker, BOOT_SECONDS)
    # It has two consoles, and only one of them may have got that far.
    deadline = time.monotonic() + REDRAW_SECONDS
    while not guest_system.token_on_screen(machine).addresses:
        assert time.monotonic() < deadline, "the code on the screen never got its address"
    return machine
