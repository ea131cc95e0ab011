"""A repair session on the machine: a shell on a terminal, for the operator who may have one.

Time, idleness and the connection end it; what still runs in its session is killed. It is said in
the lease's log, shown on the screen and recorded in memory (the operator keeps the lasting one).
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import trio

from pairing import errors, keys
from pairing.asciicast import Asciicast
from pairing.events import Mode
from pairing.process import PATH, Terminal, start_terminal
from pairing.protocol.rescue import RescueRules
from pairing.protocol.tenancy import Tenancy
from pairing.protocol.terminal import (
    CloseTerminal,
    Inflow,
    OpenTerminal,
    Outflow,
    Resize,
    TerminalClosed,
    TerminalData,
    TerminalOpened,
    TerminalOrder,
    TerminalTaken,
    pieces,
)
from pairing.serving import Reporter, TerminalTalk

SHELL = ("/bin/bash",)
"""No login shell: its profile would set another PATH, without our own commands."""
KINDS = frozenset(
    {"xterm", "xterm-256color", "screen", "screen-256color", "tmux", "tmux-256color", "linux"}
    | {"vt100", "vt220", "rxvt", "dumb"}
)
"""What TERM may be: the name of a file is made from it."""
RECORD_LIMIT = 4 * 1024 * 1024
LOOK_SECONDS = 0.5
"""After the shell's end: for what is still to be shown."""
HANG_UP_SECONDS = 1.0
"""Between being told that the terminal is gone and being killed."""
WELCOME = """\
This is a repair session on the machine itself, as root. It is recorded.
  kairos-node state            what this machine is
  kairos-node doctor           what is wrong with it, and what to do
  kairos-node upgrade --help   another version beside the last good one
  kairos-node unlock           open its disk with the recovery key
  kairos-node reset --help     back to pairing, with or without its data
  exit                         the end
"""


class Start(Protocol):
    """`pairing.process.start_terminal`."""

    def __call__(
        self, argv: Sequence[str], *, columns: int, rows: int, environment: Mapping[str, str]
    ) -> Terminal: ...


@dataclass(slots=True)
class Rescue:
    """The machine's side of repair sessions: one at a time.

    `changed` is called when `visitor` does: the words of who is inside, for the screen.
    """

    rules: Callable[[], RescueRules] = RescueRules
    changed: Callable[[], None] = lambda: None
    folder: Path | None = None
    """Where recordings go; nowhere without."""
    shell: Sequence[str] = SHELL
    start: Start = start_terminal
    close_tpm: Callable[[], None] | None = None
    """Until the next start the TPM gives the disk's key to nobody: done before anybody gets into an
    installed system. Raises errors.KnownError."""
    visitor: tuple[str, ...] = ()
    was_used: bool = False
    """Whether there has been a session since the start."""
    _taken: bool = False

    async def serve(
        self,
        message: OpenTerminal,
        held: Tenancy,
        node_key: bytes,
        talk: TerminalTalk,
        reporter: Reporter,
    ) -> None:
        """One session, from its order to its end. Never raises a known error."""
        if self._taken:
            talk.send(_closed(errors.RescueOpenAlready.slug))
            return
        self._taken = True
        try:
            closed = await self._serve(message, held, node_key, talk, reporter)
        except errors.KnownError as error:
            closed = _closed(error.slug, error.detail)
        finally:
            self._taken = False
        talk.send(closed)

    async def _serve(
        self,
        message: OpenTerminal,
        held: Tenancy,
        node_key: bytes,
        talk: TerminalTalk,
        reporter: Reporter,
    ) -> TerminalClosed:
        rules = await trio.to_thread.run_sync(self.rules)
        order = rules.admit(message, held, node_key)
        await self._close_tpm(rules.mode)
        who = keys.fingerprint(held.operator)
        with self._recorded(message, order) as record:
            terminal = self._started(message)
            reporter.said(f"repair session opened by {who}, for {order.seconds} seconds at most")
            session = _Session(terminal, order, talk, record)
            with self._inside(held):
                closed = await session.run()
        lasted = trio.current_time() - session.began
        how = closed.code or "as asked"
        reporter.said(f"repair session ended ({how}) after {lasted:.0f} seconds")
        return closed

    async def _close_tpm(self, mode: Mode) -> None:
        """A locked system may only be waiting for somebody to approve: its TPM would still open the
        disk for whoever is root."""
        if mode is not Mode.LOCKED:
            return
        if self.close_tpm is None:
            raise errors.RescueFailed("It cannot close its TPM before.")
        try:
            await trio.to_thread.run_sync(self.close_tpm)
        except errors.KnownError as wrong:
            raise errors.RescueFailed(f"Its TPM cannot be closed before: {wrong}") from None

    def _started(self, message: OpenTerminal) -> Terminal:
        environment = {
            "TERM": message.kind if message.kind in KINDS else "xterm",
            "HOME": "/root" if Path("/root").is_dir() else "/",
            "PATH": f"{Path(sys.executable).parent}:{PATH}",
        }
        try:
            return self.start(
                self.shell, columns=message.columns, rows=message.rows, environment=environment
            )
        except (errors.CommandMissing, OSError) as wrong:
            raise errors.RescueFailed(str(wrong)) from None

    @contextlib.contextmanager
    def _inside(self, held: Tenancy) -> Iterator[None]:
        self.was_used = True
        held.in_repair, self.visitor = True, keys.fingerprint_words(held.operator)
        self.changed()
        try:
            yield
        finally:
            held.in_repair, self.visitor = False, ()
            self.changed()

    @contextlib.contextmanager
    def _recorded(self, message: OpenTerminal, order: TerminalOrder) -> Iterator[Asciicast | None]:
        if self.folder is None:
            yield None
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            record = Asciicast(
                self.folder / f"{order.session.hex()}.cast",
                columns=message.columns,
                rows=message.rows,
                began=int(time.time()),
                now=trio.current_time(),
                limit=RECORD_LIMIT,
            )
        except OSError as wrong:
            raise errors.RescueFailed(f"It cannot be recorded: {wrong.strerror}.") from None
        try:
            yield record
        finally:
            record.close()


@dataclass(slots=True)
class _Session:
    """`run` ends it in every case and says how."""

    terminal: Terminal
    order: TerminalOrder
    talk: TerminalTalk
    record: Asciicast | None
    began: float = field(default_factory=trio.current_time)
    _out: Outflow = field(default_factory=Outflow)
    _in: Inflow = field(default_factory=Inflow)
    _typed: bytearray = field(default_factory=bytearray)
    _key: float = field(default_factory=trio.current_time)
    """When the last key was pressed."""
    _room: trio.Event = field(default_factory=trio.Event)
    _keys: trio.Event = field(default_factory=trio.Event)
    _end: TerminalClosed | None = None
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def run(self) -> TerminalClosed:
        order = self.order
        self.talk.send(
            TerminalOpened(session=order.session, seconds=order.seconds, idle=order.idle)
        )
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                nursery.start_soon(self._listen)
                nursery.start_soon(self._type)
                nursery.start_soon(self._watch_clock)
                nursery.start_soon(self._watch_shell)
                await self._greet()
                await self._show()
        finally:
            with trio.CancelScope(shield=True):
                await self._stop()
        return self._end or _closed("", status=self.terminal.status() or 0)

    def _finish(self, closed: TerminalClosed) -> None:
        self._end = self._end or closed
        self._scope.cancel()

    # --- what it shows ------------------------------------------------------------------------

    async def _greet(self) -> None:
        for piece in pieces(WELCOME.replace("\n", "\r\n").encode()):
            await self._send(piece)

    async def _show(self) -> None:
        """Until nobody has the terminal open any more, or the shell has ended and all is shown."""
        while True:
            try:
                data = self.terminal.read(await self._wait_for_room())
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self.terminal.fd)
                continue
            if not data:
                return
            await self._send(data)

    async def _wait_for_room(self) -> int:
        while not self._out.room():
            self._room = trio.Event()
            await self._room.wait()
        return self._out.room()

    async def _send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.talk.send(self._out.send(data))
        if self.record:
            self.record.shown(data.decode("utf-8", "replace"), trio.current_time())

    # --- what it is told ----------------------------------------------------------------------

    async def _listen(self) -> None:
        try:
            async for message in self.talk.inbox:
                match message:
                    case TerminalData():
                        self._in.add(message)
                        self._typed += message.data
                        self._key = trio.current_time()
                        self._keys.set()
                    case TerminalTaken():
                        self._out.acknowledged(message)
                        self._room.set()
                    case Resize(columns=columns, rows=rows):
                        self._resize(columns, rows)
                    case CloseTerminal():
                        self._finish(_closed(""))
        except errors.ProtocolBroken as broken:
            self._finish(_closed(broken.slug, broken.detail))
        self._finish(_closed(errors.RescueCut.slug))

    def _resize(self, columns: int, rows: int) -> None:
        self.terminal.resize(columns, rows)
        if self.record:
            self.record.resized(columns, rows, trio.current_time())

    async def _type(self) -> None:
        """Give the shell its keys as fast as it takes them."""
        while True:
            if not self._typed:
                self._keys = trio.Event()
                await self._keys.wait()
            try:
                count = self.terminal.write(bytes(self._typed[:4096]))
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.terminal.fd)
                continue
            del self._typed[:count]
            self.talk.send(self._in.take(count))

    # --- how it ends --------------------------------------------------------------------------

    async def _watch_clock(self) -> None:
        while True:
            over, bored = self.began + self.order.seconds, self._key + self.order.idle
            await trio.sleep_until(min(over, bored))
            now = trio.current_time()
            if now >= over:
                return self._time_up(f"It had {self.order.seconds} seconds.")
            if now >= self._key + self.order.idle:
                return self._time_up(f"No key was pressed for {self.order.idle} seconds.")

    async def _watch_shell(self) -> None:
        """Its children may keep the terminal open: what they have to say is not waited for."""
        await trio.lowlevel.wait_readable(self.terminal.ended_fd)
        shown = -1
        while shown != self._out.sent or not self._out.room():
            shown = self._out.sent
            await trio.sleep(LOOK_SECONDS)
        self._finish(_closed("", status=self.terminal.status() or 0))

    def _time_up(self, why: str) -> None:
        self._finish(_closed(errors.RescueTimeUp.slug, why))

    async def _stop(self) -> None:
        if self.terminal.status() is None:
            self.terminal.hang_up()
            with trio.move_on_after(HANG_UP_SECONDS):
                await trio.lowlevel.wait_readable(self.terminal.ended_fd)
        self.terminal.close()


def _closed(code: str, text: str = "", status: int = 0) -> TerminalClosed:
    return TerminalClosed(code=code, text=text[:1000], status=min(status, 255))
