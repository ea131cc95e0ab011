"""A virtual machine for tests: start, watch its serial line, photograph its screen, stop.

Always emulated (`-accel tcg`): the result does not depend on the machine that runs the test.
QMP: QEMU Machine Protocol specification, docs/interop/qmp-spec.txt of QEMU.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairing import process

START_SECONDS = 30.0
QMP_SECONDS = 30.0
CPU_SECONDS = 1200
"""Processor time after which the kernel ends a forgotten machine."""
UEFI_CODE = Path("/usr/share/OVMF/OVMF_CODE.fd")


class GuestTooSlow(AssertionError):
    """The guest did not come to the awaited line in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The machine to emulate. `memory` in MiB, `disk` in bytes (0: none), `tap` an interface.

    One core: with more, an emulated processor may still run the old code where the kernel has just
    patched itself for another (int3 oops of Linux 6.12 with QEMU 7.2, once in ten boots).
    """

    serial: str
    uuid: str
    mac: str
    tap: str = ""
    memory: int = 1536
    cores: int = 1
    disk: int = 0
    uefi: bool = False
    clock: str = "utc"
    """As QEMU's `-rtc base=`: `utc` or a date and time."""
    serial_lines: int = 1
    """ttyS0 and so on; a PC has up to four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What to boot, and the words of the kernel's command line."""

    kernel: Path
    initramfs: Path
    words: Sequence[str] = ()


class SerialLine:
    """Everything the guest has written to its serial line, read in the background."""

    def __init__(self, path: Path) -> None:
        self._socket = _connect(path)
        self._changed = threading.Condition()
        self._text = bytearray()
        self._open = True
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        with self._changed:
            return self._text.decode("utf-8", "replace")

    def wait_for(self, marker: str, seconds: float, start: int = 0) -> str:
        """The text from byte `start` up to and with the first `marker`; raises GuestTooSlow."""
        wanted = marker.encode()
        deadline = time.monotonic() + seconds
        with self._changed:
            while (found := self._text.find(wanted, start)) < 0:
                left = deadline - time.monotonic()
                if left <= 0 or not self._open:
                    end = self._text[-600:].decode("utf-8", "replace")
                    raise GuestTooSlow(f"no {marker!r} within {seconds:g} s, but:\n{end}")
                self._changed.wait(left)
            return self._text[start : found + len(wanted)].decode("utf-8", "replace")

    def ask(self, command: str, seconds: float) -> str:
        """What a shell on this line answers to `command`; raises GuestTooSlow."""
        with self._changed:
            start = len(self._text)
        end = f"-- {start} answered"
        # Typed with quotes in it, so that the shell's echo is not taken for the end.
        self._socket.sendall(f"{command}; echo; echo '-- '{start} 'answered'\n".encode())
        said = self.wait_for(end, seconds, start).removesuffix(end).replace("\r", "")
        return said.partition("\n")[2].strip()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(QMP_SECONDS)
        self._socket.close()

    def _read(self) -> None:
        data = b"-"
        while data:
            try:
                data = self._socket.recv(65536)
            except OSError:
                data = b""
            with self._changed:
                self._text += data
                self._open = bool(data)
                self._changed.notify_all()


class Qmp:
    """QEMU's control line: one command at a time."""

    def __init__(self, path: Path) -> None:
        self._socket = _connect(path)
        self._socket.settimeout(QMP_SECONDS)
        self._lines = self._socket.makefile("rb")
        self._lines.readline()
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: object) -> Any:
        """The command's `return` value. Raises RuntimeError with QEMU's words, and OSError."""
        request = {"execute": command, "arguments": arguments}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while line := self._lines.readline():
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise RuntimeError(f"QEMU on {command}: {answer['error'].get('desc', '')}")
        raise ConnectionResetError("QEMU ended")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


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

    def stop(self) -> None:
        """Pull the plug, after a last picture for the person who reads a failure."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            self.screen("last-screen.png")
            self.qmp.execute("quit")
        self.qmp.close()
        for line in self.serial:
            line.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


@contextlib.contextmanager
def running(
    hardware: Hardware, boot: Boot, folder: Path, entry: Sequence[str] = ()
) -> Iterator[Machine]:
    """Boot and, at the end of the context, stop. Sockets, serial logs and pictures go to `folder`.

    `entry` are the words before the command, such as `pairing.testing.lan.Lan.entry`.

    Raises errors.CommandMissing where QEMU is not installed, errors.CommandFailed with its words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pidfile = folder / "qemu.pid"
    process.run([*entry, *_argv(hardware, boot, folder, pidfile)], seconds=START_SECONDS)
    machine = Machine(hardware, int(pidfile.read_text()), folder)
    try:
        yield machine
    finally:
        machine.stop()


def _argv(hardware: Hardware, boot: Boot, folder: Path, pidfile: Path) -> list[str]:
    qmp = f"unix:{folder / 'qmp.socket'},server=on,wait=off"
    rng = "rng-random,id=rng,filename=/dev/urandom"
    argv = ["prlimit", f"--cpu={CPU_SECONDS}", "qemu-system-x86_64", "-nodefaults", "-no-reboot"]
    argv += ["-accel", "tcg,thread=multi", "-cpu", "Westmere,+rdrand"]
    argv += ["-smp", str(hardware.cores), "-m", str(hardware.memory), "-display", "none"]
    argv += ["-vga", "std", "-rtc", f"base={hardware.clock}", "-uuid", hardware.uuid]
    argv += ["-smbios", f"type=1,serial={hardware.serial},manufacturer=Example,product=Guest"]
    argv += ["-object", rng, "-device", "virtio-rng,rng=rng", "-qmp", qmp]
    argv += ["-kernel", str(boot.kernel), "-initrd", str(boot.initramfs)]
    argv += ["-append", " ".join(boot.words), "-daemonize", "-pidfile", str(pidfile)]
    for line in range(hardware.serial_lines):
        argv += _serial(folder / f"ttyS{line}", f"serial{line}")
    return argv + _network(hardware) + _disk(hardware, folder) + _firmware(hardware)


def _serial(files: Path, name: str) -> list[str]:
    line = f"socket,id={name},path={files}.socket,server=on,wait=off,logfile={files}.log"
    return ["-chardev", line, "-serial", f"chardev:{name}"]


def _network(hardware: Hardware) -> list[str]:
    if not hardware.tap:
        return []
    tap = f"tap,id=lan,ifname={hardware.tap},script=no,downscript=no"
    return ["-netdev", tap, "-device", f"virtio-net,netdev=lan,mac={hardware.mac},romfile="]


def _disk(hardware: Hardware, folder: Path) -> list[str]:
    if not hardware.disk:
        return []
    image = folder / "disk.raw"
    with image.open("wb") as file:
        file.truncate(hardware.disk)
    drive = f"if=none,id=disk,format=raw,file={image},cache=unsafe"
    return ["-drive", drive, "-device", "virtio-blk,drive=disk,serial=E2E-DISK"]


def _firmware(hardware: Hardware) -> list[str]:
    if not hardware.uefi:
        return []
    return ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={UEFI_CODE}"]


def _connect(path: Path) -> socket.socket:
    """QEMU has made its sockets by the time it has become a daemon."""
    line = socket.socket(socket.AF_UNIX)
    line.connect(str(path))
    return line
