"""The door to a Linux virtual console: its font and map, and whether it is the one in front.

Sources: ioctl_console(2), linux/kd.h and linux/vt.h, vcs(4). Everything here may raise OSError: by
a terminal that is no such console, by a kernel without the request, or for want of a capability.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Protocol

from node.consolefont import Font, GlyphMap

_GIO_UNIMAP, _PIO_UNIMAP, _PIO_UNIMAPCLR = 0x4B66, 0x4B67, 0x4B68
_KDFONTOP, _KDGETMODE, _VT_GETSTATE = 0x4B72, 0x4B3B, 0x5603
_SET, _GET, _SET_TALL, _GET_TALL = 0, 1, 4, 5
_PITCH, _TALL_PITCH, _WIDEST, _MOST_GLYPHS = 32, 128, 64, 512
_PAIRS = 4096
_TEXT_MODE = 0
_MAJOR = 4
"""Of the device files of virtual consoles (devices.txt of the kernel)."""


class Vt(Protocol):
    """A virtual console, for `node.console`; tests record one. Each method may raise OSError."""

    def glyph_map(self) -> GlyphMap:
        """Which character is drawn with which glyph."""

    def font(self) -> Font:
        """The font in use."""

    def load(self, font: Font, glyph_map: GlyphMap) -> None:
        """Use another font. The console is not resized: it has to have the same cells."""

    @property
    def number(self) -> int:
        """1 for tty1; 0 for whichever is in front."""

    def is_in_front(self) -> bool:
        """Whether it is what the monitor shows, and as text."""

    def cells(self) -> bytes:
        """What is in its cells, and their number, as vcs(4) tells it, without the cursor."""


class LinuxVt:
    """The virtual console behind a terminal that is open."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def glyph_map(self) -> GlyphMap:
        """See `Vt`. Fails on every other kind of terminal."""
        pairs = array.array("H", bytes(_PAIRS * 4))
        # struct unimapdesc: unsigned short, padding, pointer to pairs of unsigned short.
        request = bytearray(struct.pack("@HP", _PAIRS, pairs.buffer_info()[0]))
        fcntl.ioctl(self._fd, _GIO_UNIMAP, request)
        count = struct.unpack_from("@H", request)[0]
        return {chr(pairs[2 * i]): pairs[2 * i + 1] for i in range(count)}

    def font(self) -> Font:
        """See `Vt`."""
        try:
            return self._font(_GET, _PITCH)
        except OSError as wrong:
            if wrong.errno != errno.ENOSPC:
                raise
            return self._font(_GET_TALL, _TALL_PITCH)  # since Linux 6.2

    def load(self, font: Font, glyph_map: GlyphMap) -> None:
        """See `Vt`. Needs CAP_SYS_TTY_CONFIG."""
        data = ctypes.create_string_buffer(font.data, len(font.data))
        kind = _SET if font.pitch == _PITCH else _SET_TALL
        self._operate(kind, font.width, font.height, font.count, data)
        pairs = array.array("H")
        for character, slot in glyph_map.items():
            pairs.extend((ord(character), slot))
        fcntl.ioctl(self._fd, _PIO_UNIMAPCLR, struct.pack("@HHH", 0, 0, 0))
        request = struct.pack("@HP", len(glyph_map), pairs.buffer_info()[0])
        fcntl.ioctl(self._fd, _PIO_UNIMAP, request)

    @property
    def number(self) -> int:
        """See `Vt`."""
        return os.minor(os.fstat(self._fd).st_rdev)

    def is_in_front(self) -> bool:
        """See `Vt`."""
        mode = bytearray(4)
        fcntl.ioctl(self._fd, _KDGETMODE, mode)
        state = bytearray(6)  # struct vt_stat: active, signal, state
        fcntl.ioctl(self._fd, _VT_GETSTATE, state)
        front = struct.unpack_from("@H", state)[0]
        is_text = struct.unpack("@i", mode)[0] == _TEXT_MODE
        return is_text and self.number in (0, front)

    def cells(self) -> bytes:
        """See `Vt`."""
        seen = Path(f"/dev/vcsa{self.number or ''}").read_bytes()
        return seen[:2] + seen[4:]  # lines, columns; not x, y

    def _font(self, operation: int, pitch: int) -> Font:
        data = ctypes.create_string_buffer(_WIDEST // 8 * pitch * _MOST_GLYPHS)
        width, height, count = self._operate(operation, _WIDEST, pitch, _MOST_GLYPHS, data)
        return Font(width, height, count, pitch, data.raw[: (width + 7) // 8 * pitch * count])

    def _operate(
        self, kind: int, width: int, height: int, count: int, data: ctypes.Array[ctypes.c_char]
    ) -> tuple[int, int, int]:
        """struct console_font_op: op, flags, width, height, charcount, data."""
        place = ctypes.addressof(data)
        request = bytearray(struct.pack("@5IP", kind, 0, width, height, count, place))
        fcntl.ioctl(self._fd, _KDFONTOP, request)
        _, _, wide, high, many, _ = struct.unpack("@5IP", request)
        return wide, high, many


def of_terminal(fd: int) -> LinuxVt | None:
    """The virtual console that a terminal is; None for serial lines, windows and the like."""
    if os.major(os.fstat(fd).st_rdev) != _MAJOR:
        return None
    console = LinuxVt(fd)
    try:
        console.glyph_map()
    except OSError:
        return None
    return console
