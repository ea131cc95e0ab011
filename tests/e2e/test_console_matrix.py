"""Every picture of the node's code on the kernel's consoles is read: video modes and fonts.

No installer and no network: the node shows its code, fonts are changed under it, kernel messages
come over it. Each time the node is stopped first, and the picture looked at: what goes wrong then
is what it has to mend.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import zxingcpp
from PIL import Image as Picture

from node.testing import consoles
from node.testing.guest import Image
from pairing import peertoken
from pairing.qr import render
from pairing.testing import guest_system, qemu
from pairing.testing.hardware import Firmware, Hardware
from pairing.testing.patience import patient
from pairing.testing.screens import picture
from tests.e2e.conftest import ARTEFACTS, fresh, missing_tools

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(600)]

BOOT_SECONDS, MEND_SECONDS, DOCTOR_SECONDS = 240.0, 60.0, 240.0
FONTS = (*consoles.FOUND, consoles.BROKEN)
WITHOUT_HALVES = ("Lat15-Fixed16", "Uni2-Fixed16", consoles.BROKEN)
MESSAGES = 40
"""More lines than fit: everything scrolls away."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A video mode, the pixels of a module in it, and what is broken while the node is stopped."""

    name: str
    module: int
    firmware: Firmware
    monitor: tuple[int, int] | None = None

    def breaks(self, font: str) -> bool:
        """Whether a console in this font cannot show the code by itself."""
        return self.firmware is Firmware.UEFI or font in WITHOUT_HALVES


MODES = (
    Mode("vga-80x25", 9, Firmware.BIOS),
    Mode("1024x768", 18, Firmware.UEFI, (1024, 768)),
    Mode("1280x800", 19, Firmware.UEFI, (1280, 800)),
)


@dataclass(frozen=True, slots=True)
class Screen:
    """A machine that shows its code."""

    mode: Mode
    machine: qemu.Machine

    def code(self, name: str) -> zxingcpp.Barcode | None:
        """What is read from its picture now."""
        with Picture.open(self.machine.screen(f"{name}.png")) as shown:
            found = zxingcpp.read_barcodes(shown.convert("L"))
        return next((code for code in found if code.text.startswith("EP1:")), None)

    def wait(self, name: str) -> zxingcpp.Barcode:
        deadline = time.monotonic() + patient(MEND_SECONDS)
        while (code := self.code(name)) is None:
            assert time.monotonic() < deadline, f"{name}: the code cannot be read"
            time.sleep(0.5)
        return code

    def ask(self, command: str) -> str:
        return guest_system.ask(self.machine, command)

    def while_stopped(self, name: str, command: str) -> zxingcpp.Barcode | None:
        """What is read after `command` as long as the node cannot draw; then it can again."""
        self.ask("kill -STOP $(cat /run/node.pid)")
        said = self.ask(command)
        assert "rror" not in said, said
        try:
            return self.code(f"{name}-stopped")
        finally:
            self.ask("kill -CONT $(cat /run/node.pid)")


@pytest.fixture(scope="module")
def image() -> Image:
    if missing := [*missing_tools("qemu-system-x86_64", "mmdebstrap"), *consoles.missing()]:
        pytest.skip(f"not installed: {', '.join(missing)} (as root: .ci/packages)")
    return consoles.image(fresh(ARTEFACTS / "console-image"))


@pytest.fixture(scope="module", params=MODES, ids=lambda mode: mode.name)
def screen(request: pytest.FixtureRequest, image: Image) -> Iterator[Screen]:
    mode: Mode = request.param
    hardware = Hardware(
        serial="CONSOLE-1",
        uuid=str(uuid.uuid4()),
        mac="52:54:00:00:00:01",
        firmware=mode.firmware,
        monitor=mode.monitor,
        serial_lines=3,
    )
    boot = qemu.Boot(
        kernel=image.kernel,
        initramfs=image.initramfs,
        words=("rdinit=/console-init", *consoles.WORDS),
    )
    with qemu.running(hardware, boot, fresh(ARTEFACTS / f"console-{mode.name}")) as machine:
        machine.serial[guest_system.SCREEN_LINE].wait_for("\u2588", BOOT_SECONDS)
        yield Screen(mode, machine)


def test_the_code_is_as_large_as_it_can_be(screen: Screen) -> None:
    code = screen.wait("kernel")
    where = code.position
    modules = len(render.modules(code.text))
    wide = (where.top_right.x - where.top_left.x + where.bottom_right.x - where.bottom_left.x) / 2
    assert round(wide / modules) == screen.mode.module
    peertoken.parse(code.text)


@pytest.mark.parametrize("font", FONTS)
def test_the_code_is_read_in_every_font(screen: Screen, font: str) -> None:
    loading = f"setfont -C /dev/tty1 /font-{font} 2>&1"
    alone = screen.while_stopped(font, loading)
    if screen.mode.breaks(font):
        assert alone is None, "the control: nobody has mended it yet"
    screen.wait(font)


@pytest.mark.parametrize("screen", MODES[:2], indirect=True, ids=lambda mode: mode.name)
def test_the_doctor_reads_it_from_inside(screen: Screen) -> None:
    screen.wait("before-doctor")
    size = "{} x {}".format(*(screen.mode.monitor or (640, 400)))
    shell = screen.machine.serial[guest_system.SHELL_LINE]
    said = shell.ask("kairos-node doctor 2>&1 | grep screen", DOCTOR_SECONDS)
    assert f"the code on it can be read ({size}" in said


def test_kernel_messages_do_not_stay_over_it(screen: Screen) -> None:
    screen.wait("before-messages")
    say = f"i=0; while [ $i -lt {MESSAGES} ]; do echo '<1>usb: new device' >/dev/kmsg; i=$((i+1))"
    assert screen.while_stopped("messages", f"{say}; done") is None, "the control"
    screen.wait("messages")


def test_a_serial_line_shows_the_same_code(screen: Screen) -> None:
    """After the messages, which came on it too, it is drawn anew."""
    serial = screen.machine.serial[guest_system.SCREEN_LINE]
    deadline = time.monotonic() + patient(MEND_SECONDS)
    shown: list[zxingcpp.Barcode] = []
    while not shown:
        assert time.monotonic() < deadline
        time.sleep(0.5)
        shown = zxingcpp.read_barcodes(picture(serial.text(), 80, 24).convert("L"))
    assert [code.text for code in shown] == [screen.wait("serial").text]
