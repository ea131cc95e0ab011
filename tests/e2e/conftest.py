"""Virtual machines on a network of their own, shared by the tests of this folder.

All boot at once; each test waits for the machine that it needs. Their serial logs and last
pictures stay in build/e2e.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from node.testing.images import Factory
from pairing.testing import guest, guest_system, netns, qemu
from pairing.testing.firmware import EMPTY
from pairing.testing.hardware import Drive, Firmware
from pairing.testing.lan import PREFIX, Lan, lan

TOOLS = ("qemu-system-x86_64", "mmdebstrap", "dnsmasq", "prlimit")
ARTEFACTS = guest.TOP / "build/e2e"
DISK_BYTES = 8 << 30
BOOT_SECONDS = 420.0
"""Three at once, emulated, on a busy machine. One on an idle one: 45."""
REDRAW_SECONDS = 60.0
KINDS = ("bios", "uefi", "clock")


@pytest.fixture(scope="module")
def network() -> Iterator[Lan]:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or not EMPTY.exists():
        pytest.skip(f"not installed: {', '.join(missing) or 'ovmf'} (as root: .ci/packages)")
    if not netns.possible():
        pytest.skip("needs root and network namespaces")
    with lan(fresh(ARTEFACTS / "lan")) as up:
        yield up


@pytest.fixture(scope="session")
def factory() -> Factory:
    """Builds the images of this run."""
    return Factory(fresh(ARTEFACTS / "images"))


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


def board(tap: str, number: int) -> qemu.Hardware:
    """A small machine with a serial number that nobody can guess."""
    return qemu.Hardware(
        serial=f"E2E-{secrets.token_hex(4).upper()}",
        uuid=str(uuid.uuid4()),
        mac=f"52:54:00:00:00:{number:02x}",
        tap=tap,
        serial_lines=3,
    )


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
