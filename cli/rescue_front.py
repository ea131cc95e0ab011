"""The operator's own terminal in a repair session: keys in, filtered output out, recorded.

Keys go to the node as they are pressed, Ctrl-C included. Enter, then `~.` ends the session from
here, `~~` types a tilde: as in ssh(1).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import trio

from pairing import errors
from pairing.asciicast import Asciicast
from pairing.protocol.repair import Opened
from pairing.protocol.terms import KnownLease
from pairing.terminalfilter import TerminalFilter

KEYS_AT_ONCE = 4096
END_OF_INPUT = b"\x04"
"""What a terminal sends for Ctrl-D: a shell that reads it has nothing more to do."""


class EscapeKeys:
    """Finds `~.` at the beginning of a line; everything else passes."""

    def __init__(self) -> None:
        self._fresh, self._tilde = True, False
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """The keys for the node. `ended` is True once the operator wants to end the session."""
        passed = bytearray()
        for key in data:
            if self.ended:
                break
            passed += self._next(key)
        return bytes(passed)

    def _next(self, key: int) -> bytes:
        one = bytes([key])
        if self._tilde:
            self._tilde, self._fresh = False, one in (b"\r", b"\n")
            self.ended = one == b"."
            return b"" if self.ended else (b"~" if one == b"~" else b"~" + one)
        if self._fresh and one == b"~":
            self._tilde, self._fresh = True, False
            return b""
        self._fresh = one in (b"\r", b"\n")
        return one


def window() -> tuple[int, int]:
    """Columns and rows of the operator's terminal; 80 by 24 if it does not say."""
    columns, rows = shutil.get_terminal_size((80, 24))
    return min(columns, 1000), min(rows, 1000)


@dataclass(slots=True)
class TerminalFront:
    """`pairing.repairing.Front` on standard input and output.

    `record` is made when the session begins; `unfiltered` shows the node's bytes as they are.
    """

    record_to: Callable[[], Asciicast]
    """Makes the record, and notes in the audit log that the session begins."""
    say: Callable[[str, str], None]
    remember: Callable[[KnownLease], None]
    unfiltered: bool = False
    record: Asciicast | None = None
    limits: Opened | None = None
    _filter: TerminalFilter = field(default_factory=TerminalFilter)
    _escape: EscapeKeys = field(default_factory=EscapeKeys)
    _saved: list[Any] | None = None
    _closed: bool = False
    """Standard input is at its end."""
    _sizes: trio.MemoryReceiveChannel[tuple[int, int]] | None = None

    # --- see `pairing.repairing.Front` --------------------------------------------------------

    async def keys(self) -> bytes:
        """Pressed keys; at the end of a pipe Ctrl-D, then nothing more ever."""
        while True:
            if self._escape.ended:
                return b""
            if self._closed:
                await trio.sleep_forever()
            data = await self._read()
            if not data:
                self._closed = True
                return END_OF_INPUT
            if passed := self._escape.feed(data):
                return passed

    async def _read(self) -> bytes:
        fd = sys.stdin.fileno()
        if not sys.stdin.isatty():
            # Files cannot be waited for; a thread that reads may stay behind at the end.
            return await trio.to_thread.run_sync(os.read, fd, KEYS_AT_ONCE, abandon_on_cancel=True)
        await trio.lowlevel.wait_readable(fd)
        return os.read(fd, KEYS_AT_ONCE)

    async def size_changed(self) -> tuple[int, int]:
        """The next size."""
        assert self._sizes is not None
        return await self._sizes.receive()

    async def show(self, data: bytes) -> None:
        """Record it and show it. What is not recorded is not done: a full record ends it."""
        harmless = self._filter.feed(data)
        if self.record:
            self.record.shown(harmless, trio.current_time())
            if self.record.full:
                raise errors.RescueCut("The record is full.")
        await trio.to_thread.run_sync(_write, data if self.unfiltered else harmless.encode())

    def opened(self, opened: Opened) -> None:
        """Tell the limits, then give the terminal to the node."""
        self.record, self.limits = self.record_to(), opened
        self.say("rescue", f"at most {opened.seconds // 60} minutes, recorded: {self.record.path}")
        self.say("rescue", "`exit` ends it; so does Enter ~ . from this side")
        if self.unfiltered:
            self.say("rescue", "unfiltered: the node can do to this terminal what it likes")
        self._raw()

    async def keep_lease(self, known: KnownLease) -> None:
        """For the next session, or a registration."""
        await trio.to_thread.run_sync(self.remember, known)

    def notice(self, text: str) -> None:
        """On standard error."""
        self.say("network", text)

    # --- the terminal -------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watches the window meanwhile, and puts the terminal right afterwards."""
        send, self._sizes = trio.open_memory_channel[tuple[int, int]](1)
        with self._restored():
            async with trio.open_nursery() as nursery:
                await nursery.start(_watch_size, send)
                yield
                nursery.cancel_scope.cancel()

    @contextlib.contextmanager
    def _restored(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self.record:
                self.record.close()
            if self._saved is not None:
                if sys.stdout.isatty():
                    _write(self._filter.afterwards.encode())
                # Keys and answers that are still on their way belong to the node, not to a shell.
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSAFLUSH, self._saved)

    def _raw(self) -> None:
        if sys.stdin.isatty():
            self._saved = termios.tcgetattr(sys.stdin.fileno())
            tty.setraw(sys.stdin.fileno())


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


async def _watch_size(
    send: trio.MemorySendChannel[tuple[int, int]],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(signal.SIGWINCH) as signals:
        task_status.started()
        async for _ in signals:
            with contextlib.suppress(trio.WouldBlock):
                send.send_nowait(window())
