"""What the machine's own monitor shows, as pixels, and which code is read from it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from node import consolefont, exactcode, vt
from node.framebuffer import Framebuffer

CONSOLE = 1
"""The virtual console that the node draws on."""


@dataclass(frozen=True, slots=True)
class Picture:
    """`width` x `height` bytes of gray, from the top. `source` in words."""

    source: str
    width: int
    height: int
    gray: bytes

    def code(self) -> str | None:
        """The text of the QR code in it; None if there is none, or one that is not whole."""
        return exactcode.read(self.width, self.height, self.gray)


def picture(console: vt.Vt, framebuffer: Framebuffer | None) -> Picture:
    """What is on it now. Raises OSError."""
    if framebuffer is not None:
        return Picture("pixels of the framebuffer", *framebuffer.picture())
    return Picture("cells and font", *consolefont.picture(console.cells(), console.font()))


@contextlib.contextmanager
def opened(devices: Path) -> Iterator[tuple[vt.Vt, Framebuffer | None] | None]:
    """The console that the node draws on; None where there is none. Raises OSError."""
    try:
        fd = os.open(devices / f"tty{CONSOLE}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    framebuffer = None
    try:
        console = vt.of_terminal(fd)
        with contextlib.suppress(OSError):  # then it is in text
            framebuffer = Framebuffer.of_console(CONSOLE, devices) if console else None
        yield (console, framebuffer) if console else None
    finally:
        if framebuffer is not None:
            framebuffer.close()
        os.close(fd)
