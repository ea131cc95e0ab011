"""The door to the consoles: which there are, how large, what they can show; and drawing on them.

Layout is `node.screen`; nothing here decides what is shown. Sources: console_codes(4),
tty_ioctl(4).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from node import canvas, texts, vt
from node.framebuffer import Framebuffer
from node.kernellog import KernelLog
from node.kernelscreen import KernelScreen
from node.screen import Abilities, Placed, Screen, layout, placed_code, placed_top

LOG = logging.getLogger("kairos.node")
DEFAULT_SIZE = (80, 24)
"""Columns and rows of a console that does not know its size: a serial line."""
REPAIR_SECONDS = 5.0
"""How often a Linux console is drawn anew, whatever is seen of it: the kernel's messages land on
it unasked."""
DRAW_SECONDS = 20.0
"""For one full page; 9600 baud take nine. What is not out by then is drawn anew next time."""
_HOME = "\x1b[H"
"""Where a kernel message does least harm: below, it would scroll the page."""


class Console:
    """One terminal that shows the screen: `async with Console.open("/dev/tty1") as console`."""

    def __init__(
        self,
        fd: int,
        *,
        language: str = "en",
        colour: bool = True,
        kernel: KernelScreen | None = None,
        log: KernelLog | None = None,
    ) -> None:
        """`fd` is a terminal; `kernel` what it is as a virtual console of the kernel, None for
        serial lines and windows; `log` for what the kernel writes on it, if it cannot be read
        back. All are closed with the console."""
        self._fd = fd
        self._texts = texts.load(language)
        self._kernel = kernel
        self._log = log
        # Anything but a Linux console is taken to know all we write.
        self._able = Abilities(colour=colour)
        self._shown: tuple[str, ...] = ()
        self._cleared: tuple[int, int, int] | None = None
        self._has_code = False
        self._size = (0, 0)
        self._screen = Screen()
        self._turn = trio.Lock()

    @classmethod
    def open(cls, path: str | Path, *, language: str = "en", colour: bool = True) -> Self:
        """Open a terminal device without making it ours. Raises OSError."""
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        kernel = _kernel_screen(fd, str(path))
        log = _log_on(str(path)) if kernel is None else None
        return cls(fd, language=language, colour=colour, kernel=kernel, log=log)

    async def show(self, screen: Screen) -> None:
        """Draw `screen`: only rows that changed; everything if the size did."""
        self._screen = screen
        async with self._turn:
            await self._draw(screen)

    async def refresh(self, *, cleared: bool = False) -> None:
        """Draw everything again: something else may have written on the terminal.

        `cleared`: nothing is left of it where the code is, either.
        """
        async with self._turn:
            self._shown = ()
            if cleared:
                self._cleared = None
            await self._draw(self._screen)

    async def follow_size(self, *, every: float = 1.0) -> None:
        """Redraw when the size changes, a console of the kernel also when something else wrote on
        it; a virtual one now and then, whatever is seen. Runs until cancelled.

        `every`: seconds between looks.
        """
        repaired = trio.current_time()
        while True:
            await trio.sleep(every)
            due = self._kernel is not None and trio.current_time() >= repaired + REPAIR_SECONDS
            if measure(self._fd) != self._size:
                await self.show(self._screen)
            elif (spoiled := self._is_spoiled()) or due:
                await self.refresh(cleared=spoiled)
                repaired = trio.current_time()

    def _is_spoiled(self) -> bool:
        if self._kernel is not None:
            return self._kernel.is_spoiled
        return self._log is not None and self._log.spoke()

    async def _draw(self, screen: Screen) -> None:
        size = measure(self._fd)
        if size != self._size:
            self._size, self._shown, self._cleared = size, (), None
        has_code = bool(screen.token)
        if self._kernel and (not self._shown or has_code is not self._has_code):
            self._able = self._kernel.look(*size, colour=self._able.colour, code=has_code)
        self._has_code = has_code
        lines = layout(screen, *size, self._able, self._texts)
        placed = placed_code(screen, *size, self._able)
        before, self._shown = self._shown, ()  # stays unknown should sending be cut short
        changes = self._clear(placed) + canvas.frame(lines, before)
        if changes and not await self._send(self._start(before) + changes + _HOME):
            return
        if self._kernel and not self._kernel.drawn(placed, size[1]):
            await self._draw(screen)  # once: there are no pixels now
            return
        self._shown = lines

    def _start(self, before: tuple[str, ...]) -> str:
        return "" if before or self._kernel is None else self._kernel.start

    def _clear(self, placed: Placed | None) -> str:
        """The cells under a code in pixels are blank, but blanked once: that would flicker."""
        if placed is None or not placed.in_pixels:
            self._cleared = None
            return ""
        place = (placed_top(placed, self._size[1]), placed.rows, placed.columns)
        if place == self._cleared:
            return ""
        self._cleared = place
        rows = range(place[0] + 1, place[0] + placed.rows + 1)
        return "".join(f"\x1b[{row};1H\x1b[0m\x1b[{placed.columns}X" for row in rows)

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
            if self._log:
                self._log.close()
            last = self._kernel.close() if self._kernel else ""
            os.write(self._fd, (last + canvas.END).encode())
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


def _log_on(name: str) -> KernelLog | None:
    try:
        return KernelLog() if name in active_consoles() else None
    except OSError as wrong:
        LOG.info("%s: the kernel's log cannot be read: %s", name, wrong.strerror)
        return None


def _kernel_screen(fd: int, name: str) -> KernelScreen | None:
    console = vt.of_terminal(fd)
    if console is None:
        return None
    number = console.number or 1
    return KernelScreen(console, lambda: Framebuffer.of_console(number), name)
