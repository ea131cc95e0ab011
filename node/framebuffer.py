"""Draw the code into a framebuffer, pixel by pixel: larger modules than text can have.

Geometry and pixels are pure; `Framebuffer` is the door. Sources: linux/fb.h and
Documentation/fb/api.rst of the Linux kernel. Any answer that is not understood is an OSError, and
the code is drawn as text.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pairing.qr import render

_VSCREENINFO, _FSCREENINFO, _CON2FBMAP = 0x4600, 0x4602, 0x460F
_VAR = "@40I"
_FIX = "@16sLIIIIHHHILIIH2H"
_PACKED, _TRUE_COLOUR, _DIRECT_COLOUR = 0, 2, 4
_YWRAP = 256
_NONE = 0xFF
"""CON2FBMAP's answer for a console that is on no framebuffer."""
ROTATION = Path("/sys/class/graphics/fbcon/rotate")
SAMPLES = 24
"""Lines of a drawing that are compared with what is on the screen: reading it may be slow."""


@dataclass(frozen=True, slots=True)
class Mode:
    """What a framebuffer shows: pixels, `stride` bytes a line, `depth` bytes a pixel.

    `white` and `black`: the bytes of one pixel. `left`, `top`: which pixel of its memory is at the
    upper left of the monitor. `lines`: how many its memory has.
    """

    width: int
    height: int
    stride: int
    depth: int
    white: bytes
    black: bytes
    left: int = 0
    top: int = 0
    lines: int = 0
    wraps: bool = False

    @property
    def gray(self) -> int:
        """Which byte of a pixel tells white from black."""
        pairs = zip(self.white, self.black, strict=True)
        return next(at for at, (white, black) in enumerate(pairs) if white == 0xFF and not black)

    def place(self, x: int, y: int) -> int:
        """Where in its memory a pixel of the monitor is."""
        line = self.top + y
        if self.wraps and self.lines:
            line %= self.lines
        return line * self.stride + (self.left + x) * self.depth


def mode_of(variable: bytes, fixed: bytes) -> Mode:
    """From fb_var_screeninfo and fb_fix_screeninfo. Raises OSError (EOPNOTSUPP) for other pixels
    than whole bytes of red, green and blue, in any order."""
    var, fix = struct.unpack_from(_VAR, variable), struct.unpack_from(_FIX, fixed)
    width, height, _, lines, left, top, bits = var[:7]
    kind, visual, stride = fix[3], fix[5], fix[9]
    depth = bits // 8
    colours = (var[8:11], var[11:14], var[14:17])
    known = bits in (16, 24, 32) and kind == _PACKED and visual in (_TRUE_COLOUR, _DIRECT_COLOUR)
    if not known or not all(length for _, length, _ in colours):
        raise OSError(errno.EOPNOTSUPP, f"pixels of {bits} bits, kind {kind}, visual {visual}")
    if not width or not height or stride < (left + width) * depth:
        raise OSError(errno.EINVAL, f"{width} x {height} pixels in lines of {stride} bytes")
    opaque = _mask(*var[17:19])
    white = opaque | sum(_mask(offset, length) for offset, length, _ in colours)
    order = sys.byteorder
    return Mode(
        *(width, height, stride, depth),
        *(white.to_bytes(depth, order), opaque.to_bytes(depth, order)),
        *(left, top, lines, bool(var[33] & _YWRAP)),
    )


def _mask(offset: int, length: int) -> int:
    return (1 << length) - 1 << offset


@dataclass(frozen=True, slots=True)
class Drawing:
    """A code in a black box: `module` pixels a module, the box `width` x `height` pixels with its
    upper left at (`x`, `y`); the code with its quiet zone is in the middle of it."""

    code: render.Modules
    module: int
    quiet: int
    x: int
    y: int
    width: int
    height: int

    def lines(self, mode: Mode) -> Iterator[tuple[int, bytes]]:
        """Each line of pixels: where it goes in the framebuffer's memory, and its bytes."""
        grid = render.enlarge(self.code, 1, self.quiet)
        side = len(grid) * self.module
        above, before = (self.height - side) // 2, (self.width - side) // 2
        blank = mode.black * self.width
        rows = [self._row(row, before, side, mode) for row in grid]
        for line in range(self.height):
            row = (line - above) // self.module
            yield mode.place(self.x, self.y + line), rows[row] if 0 <= row < len(rows) else blank

    def _row(self, row: tuple[bool, ...], before: int, side: int, mode: Mode) -> bytes:
        code = b"".join((mode.black if dark else mode.white) * self.module for dark in row)
        after = self.width - side - before
        return mode.black * before + code + mode.black * after


class Framebuffer:
    """An open framebuffer: `with Framebuffer.of_console(1) as screen`. Raises OSError all over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    @classmethod
    def of_console(cls, number: int, folder: Path = Path("/dev")) -> Framebuffer:
        """The framebuffer on which the kernel shows this virtual console, from 1."""
        if ROTATION.exists() and ROTATION.read_text().strip() != "0":
            raise OSError(errno.EOPNOTSUPP, "the console is rotated")
        first = cls(folder / "fb0")
        try:
            request = bytearray(struct.pack("@II", number, _NONE))
            fcntl.ioctl(first._fd, _CON2FBMAP, request)
            shown = struct.unpack("@II", request)[1]
            if shown == 0:
                return first
        except OSError:
            first.close()
            raise
        first.close()
        if shown >= _NONE:
            raise OSError(errno.ENODEV, "the console is on no framebuffer")
        return cls(folder / f"fb{shown}")

    def mode(self) -> Mode:
        """What it shows now."""
        variable, fixed = bytearray(struct.calcsize(_VAR)), bytearray(struct.calcsize(_FIX))
        fcntl.ioctl(self._fd, _VSCREENINFO, variable)
        fcntl.ioctl(self._fd, _FSCREENINFO, fixed)
        return mode_of(bytes(variable), bytes(fixed))

    def draw(self, drawing: Drawing) -> None:
        """Put it there."""
        for place, line in drawing.lines(self.mode()):
            done = 0
            while done < len(line):
                count = os.pwrite(self._fd, line[done:], place + done)
                if count <= 0:
                    raise OSError(errno.ENOSPC, "the framebuffer is smaller than it says")
                done += count

    def shows(self, drawing: Drawing) -> bool:
        """Whether it is still there: some lines of it are looked at."""
        lines = list(drawing.lines(self.mode()))
        step = max(1, len(lines) // SAMPLES)
        return all(os.pread(self._fd, len(line), at) == line for at, line in lines[::step])

    def picture(self) -> tuple[int, int, bytes]:
        """Width, height and one byte of gray a pixel of all that it shows."""
        mode = self.mode()
        at = mode.gray
        size = mode.width * mode.depth
        lines = (os.pread(self._fd, size, mode.place(0, y)) for y in range(mode.height))
        return mode.width, mode.height, b"".join(line[at :: mode.depth] for line in lines)

    def close(self) -> None:
        """Leave everything as it is."""
        with contextlib.suppress(OSError):
            os.close(self._fd)
