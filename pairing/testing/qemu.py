"""A virtual machine for tests: start, watch its serial line, photograph its screen, stop."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pairing import process
from pairing.testing.hardware import Boot, Hardware, argv
from pairing.testing.patience import patient
from pairing.testing.qmp import Qmp
from pairing.testing.serial_line import GuestTooSlow, SerialLine

__all__ = ["Boot", "GuestTooSlow", "Hardware", "Machine", "SerialLine", "running"]

START_SECONDS = 30.0
STOP_SECONDS = 30.0
MOVE_SECONDS = 120.0
"""To save or load a machine's memory."""


class Machine:
    """A running virtual machine."""

    def __init__(self, hardware: Hardware, pid: int, folder: Path) -> None:
        self.hardware = hardware
        self.pid = pid
        self.folder = folder
        lines = range(hardware.serial_lines)
        self.serial = [SerialLine(folder / f"ttyS{line}.socket") for line in lines]
        self.qmp = Qmp(folder / "qmp.socket")

    def screen(self, name: str = "screen.png") -> Path:
        """Save the picture that a monitor would show now, as PNG."""
        target = self.folder / name
        self.qmp.execute("screendump", filename=str(target), format="png")
        return target

    def press(self, *keys: str) -> None:
        """Press these keys at once, named as in QEMU's QKeyCode (`ret`, `esc`, `a`)."""
        codes = [{"type": "qcode", "data": key} for key in keys]
        self.qmp.execute("send-key", keys=codes)

    def reset(self) -> None:
        """Press the reset button."""
        self.qmp.execute("system_reset")

    def press_power(self) -> None:
        """Press the power button shortly: the system is asked to shut down."""
        self.qmp.execute("system_powerdown")

    @contextlib.contextmanager
    def paused(self, memory: Path) -> Iterator[None]:
        """Stand still for the context's length, with everything but the disks saved in `memory`.

        Raises GuestTooSlow.
        """
        self.qmp.execute("stop")
        try:
            self.qmp.execute("migrate", uri=f"exec:cat > {memory}")
            self._moved()
            yield
        finally:
            self.qmp.execute("cont")

    def resume(self) -> None:
        """Go on where `paused` saved a machine (Hardware.memory_from); raises GuestTooSlow."""
        self._moved()
        self.qmp.execute("cont")

    def _moved(self) -> None:
        deadline = time.monotonic() + patient(MOVE_SECONDS)
        while (state := self.qmp.execute("query-migrate").get("status")) != "completed":
            if time.monotonic() > deadline or state == "failed":
                raise GuestTooSlow(f"its memory was not moved, but: {state}")
            time.sleep(0.2)

    @property
    def on(self) -> bool:
        """Whether it has not been switched off."""
        return self.qmp.open

    def wait_off(self, seconds: float) -> None:
        """Until the guest has switched itself off; raises GuestTooSlow."""
        self.qmp.wait_end(seconds)

    def wait_restart(self, seconds: float, count: int = 1) -> None:
        """Until the guest has restarted `count` times since the start; raises GuestTooSlow."""
        self.qmp.wait_for("RESET", seconds, count)

    def stop(self) -> None:
        """Pull the plug, after a last picture for the person who reads a failure."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            self.screen("last-screen.png")
            self.qmp.execute("quit")
        with contextlib.suppress(GuestTooSlow):
            self.qmp.wait_end(STOP_SECONDS)
        self.qmp.close()
        for line in self.serial:
            line.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


@contextlib.contextmanager
def running(
    hardware: Hardware, boot: Boot | None, folder: Path, entry: Sequence[str] = ()
) -> Iterator[Machine]:
    """Boot and, at the end of the context, stop. Sockets, serial logs and pictures go to `folder`.

    `entry` are the words before the command, such as `pairing.testing.lan.Lan.entry`. `boot` None:
    the firmware chooses among the drives.

    Raises errors.CommandMissing where QEMU is not installed, errors.CommandFailed with its words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pidfile = folder / "qemu.pid"
    process.run([*entry, *argv(hardware, boot, folder, pidfile)], seconds=START_SECONDS)
    machine = Machine(hardware, int(pidfile.read_text()), folder)
    try:
        yield machine
    finally:
        machine.stop()
