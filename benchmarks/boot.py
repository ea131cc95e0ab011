"""A real stick in an emulated machine: how soon its code is photographed.

Needs root, QEMU, OVMF, mmdebstrap and, for the image's parts, the network once.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from node.testing.images import Factory
from node.testing.shop import board
from pairing import errors
from pairing.testing import guest_system, qemu
from pairing.testing.box import Box
from pairing.testing.hardware import Drive, Firmware
from pairing.testing.lan import Lan, lan
from pairing.testing.measured import Figure

STARTS = 3
CODE_SECONDS, LOOK_SECONDS = 400.0, 0.5
GOAL = 45.0
PHASES = re.compile(r"([\d.]+)(min|s|ms) ?(?:([\d.]+)s )?\((\w+)\)")


def measure(quick: bool) -> list[Figure]:
    """Seconds. Raises RuntimeError for anybody but root."""
    if os.geteuid() != 0:
        raise RuntimeError("virtual machines with a network of their own need root")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        factory = Factory(Path(name) / "images", Path(name) / "keys")
        stick = factory.build("1.0.0").stick
        with lan(Path(name) / "lan") as network:
            return [*_starts(network, Path(name), stick, 1 if quick else STARTS)]


def _starts(network: Lan, folder: Path, stick: Path, count: int) -> Iterator[Figure]:
    samples: list[float] = []
    spent: list[float] = []
    phases: dict[str, list[float]] = {}
    for number in range(count):
        hardware = replace(board(network.tap(number), number), firmware=Firmware.UEFI)
        box = Box.new(folder / f"box-{number}", hardware, (1 << 30,))
        began = time.perf_counter()
        medium = Drive(image=stick, serial="STICK", read_only=True)
        with box.running(medium, entry=network.entry, words=(guest_system.SHELL_WORD,)) as machine:
            _until_shown(machine, began)
            samples.append(time.perf_counter() - began)
            spent.append(processor_seconds(machine.pid))
            for name, seconds in _phases(machine).items():
                phases.setdefault(name, []).append(seconds)
    note = "firmware included, with a TPM, one emulated processor"
    yield Figure(name="power on to the code", unit="s", samples=samples, goal=GOAL, note=note)
    note = "what an idle machine would take: nothing waits for anything but the processor"
    yield Figure(name="processor time of that", unit="s", samples=spent, goal=GOAL, note=note)
    for name, seconds_of in phases.items():
        yield Figure(name=f"of that or after it: {name}", unit="s", samples=seconds_of)


def _until_shown(machine: qemu.Machine, began: float) -> None:
    while time.perf_counter() - began < CODE_SECONDS:
        try:
            guest_system.token_on_screen(machine)
            return
        except (errors.PhotoError, OSError, SyntaxError):
            time.sleep(LOOK_SECONDS)
    raise RuntimeError("no code on the screen")


def processor_seconds(pid: int) -> float:
    """What a process has used so far: proc(5), /proc/PID/stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _phases(machine: qemu.Machine) -> dict[str, float]:
    """Seconds of kernel, initrd, and of the system until nothing starts any more:
    systemd-analyze(1)."""
    said = guest_system.ask(machine, "systemctl is-system-running --wait; systemd-analyze")
    line = next((line for line in said.splitlines() if "Startup finished" in line), "")
    found: dict[str, float] = {}
    for number, unit, rest, name in PHASES.findall(line):
        scale = {"min": 60.0, "s": 1.0, "ms": 0.001}[unit]
        found[name] = float(number) * scale + float(rest or 0)
    return found
