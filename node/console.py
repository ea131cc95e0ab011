"""The door to the consoles: which there are, how large, what they can show; and drawing on them.

Layout is `node.screen`; nothing here decides what is shown. Sources: console_ioctl(4),
console_codes(4), tty_ioctl(4).
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from node import canvas, texts
from node.screen import Abilities, Screen, layout
from pairing.qr.render import HALF_BLOCKS

DEFAULT_SIZE = (80, 24)
"""Columns and rows of a console that does not know its size: a serial line."""
REPAIR_SECONDS = 5.0
"""How often a Linux console is drawn anew: the kernel's messages land on it unasked."""
DRAW_SECONDS = 20.0
"""For one full page; 9600 baud take nine. What is not out by then is drawn anew next time."""
_GIO_UNIMAP = 0x4B66
_PAIRS = 4096
_HOME = "\x1b[H"
"""Where a kernel message does least harm: below, it would scroll the page."""
_UTF8 = "\x1b%G"
_WHITE_BACKGROUND, _USUAL_COLOURS = "\x1b]P7ffffff", "\x1b]R"
"""Linux console only: colour 7 is gray, and there is no brighter background (console_codes(4))."""


class Console:
    """One terminal that shows the screen: `async with Console.open("/dev/tty1") as console`."""

    def __init__(self, fd: int, *, language: str = "en", colour: bool = True) -> None:
        """`fd` is a terminal; it is closed with the console."""
        self._fd = fd
        self._texts = texts.load(language)
        glyph_map = unicode_map(fd)
        self.is_vt = glyph_map is not None
        self.able = abilities(glyph_map, colour=colour)
        self._shown: tuple[str, ...] = ()
        self._size = (0, 0)
        self._screen = Screen()
        self._turn = trio.Lock()

    @classmethod
    def open(cls, path: str | Path, *, language: str = "en", colour: bool = True) -> Self:
        """Open a terminal device without making it ours. Raises OSError."""
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        return cls(fd, language=language, colour=colour)

    async def show(self, screen: Screen) -> None:
        """Draw `screen`: only rows that changed; everything if the size did."""
        self._screen = screen
        async with self._turn:
            await self._draw(screen)

    async def refresh(self) -> None:
        """Draw everything again: something else may have written on the terminal."""
        async with self._turn:
            self._shown = ()
            await self._draw(self._screen)

    async def follow_size(self, *, every: float = 1.0) -> None:
        """Redraw when the size changes, and a Linux console now and then; runs until cancelled.

        `every`: seconds between looks.
        """
        repaired = trio.current_time()
        while True:
            await trio.sleep(every)
            if self.is_vt and trio.current_time() >= repaired + REPAIR_SECONDS:
                await self.refresh()
                repaired = trio.current_time()
            elif measure(self._fd) != self._size:
                await self.show(self._screen)

    async def _draw(self, screen: Screen) -> None:
        size = measure(self._fd)
        if size != self._size:
            self._size, self._shown = size, ()
        lines = layout(screen, *size, self.able, self._texts)
        before, self._shown = self._shown, ()  # stays unknown should sending be cut short
        changes = canvas.frame(lines, before)
        if not changes or await self._send(self._start(before) + changes + _HOME):
            self._shown = lines

    def _start(self, before: tuple[str, ...]) -> str:
        if before or not self.is_vt:
            return ""
        return _UTF8 + ("" if self.able.half_blocks else _WHITE_BACKGROUND)

    async def _send(self, text: str) -> bool:
        """Whether all of it went out in time. A terminal that went away swallows everything."""
        view = memoryview(text.encode())
        with trio.move_on_after(DRAW_SECONDS):
            while view:
                try:
                    view = view[os.write(self._fd, view) :]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._fd)
                except OSError as wrong:
                    if wrong.errno != errno.EIO:  # hung up: pulled cable, closed window
                        raise
                    return False
        return not view

    def close(self) -> None:
        """Give the terminal back as it was."""
        with contextlib.suppress(OSError):
            os.write(self._fd, ((_USUAL_COLOURS if self.is_vt else "") + canvas.END).encode())
        os.close(self._fd)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def active_consoles(sysfs: Path = Path("/sys/class/tty/console/active")) -> tuple[str, ...]:
    """The devices that the kernel uses as consoles, such as `/dev/tty0` and `/dev/ttyS0`."""
    try:
        names = sysfs.read_text().split()
    except OSError:
        return ()
    return tuple(f"/dev/{name}" for name in names)


def measure(fd: int) -> tuple[int, int]:
    """Columns and rows; DEFAULT_SIZE where the terminal does not say (serial lines)."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        return DEFAULT_SIZE
    return (columns, rows) if columns and rows else DEFAULT_SIZE


def unicode_map(fd: int) -> Mapping[str, int] | None:
    """Which character a Linux console draws with which glyph; None if `fd` is no such console."""
    import fcntl

    pairs = array.array("H", bytes(_PAIRS * 4))
    # struct unimapdesc: unsigned short, padding, pointer to pairs of unsigned short.
    request = bytearray(struct.pack("@HP", _PAIRS, pairs.buffer_info()[0]))
    try:
        fcntl.ioctl(fd, _GIO_UNIMAP, request)
    except OSError:
        return None
    count = struct.unpack_from("@H", request)[0]
    return {chr(pairs[2 * i]): pairs[2 * i + 1] for i in range(count)}


def abilities(glyph_map: Mapping[str, int] | None, *, colour: bool = True) -> Abilities:
    """What a terminal can show. Anything but a Linux console is taken to know all we write.

    Half blocks need three glyphs that differ: LatGrkCyr-8x16 maps all to the full block. That each
    bitmap is right as well is not looked at here (KDFONTOP; Debian's fonts that have the three
    have them right).
    """
    if glyph_map is None:
        return Abilities(colour=colour)
    blocks = {glyph_map.get(block) for block in HALF_BLOCKS}
    return Abilities(
        half_blocks=None not in blocks and len(blocks) == len(HALF_BLOCKS),
        colour=colour,
        glyphs=frozenset(glyph_map),
    )
