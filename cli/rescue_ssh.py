"""The system's ssh over any stream of bytes, in the operator's filtered and recorded terminal.

ssh runs on a terminal of its own: the password goes there as keys at its prompt, never into
arguments or the environment, and what comes back passes the same filter as in our own sessions.
docs/adr/0025.
"""

from __future__ import annotations

import secrets
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from cli.rescue_front import window
from pairing import errors, process
from pairing.edgevpn.gossip import RawStream
from pairing.protocol.repair import Opened

if TYPE_CHECKING:
    from cli.rescue_front import TerminalFront

USER = "root"
PROMPT = b"password: "
REFUSED = b"Permission denied"
PROMPT_LIMIT = 64 * 1024
CHUNK = 16 * 1024
END_SECONDS = 5.0
"""For ssh to end once its terminal is closed."""
CONNECTION_FAILED = 255
"""ssh's own failure; any other status is that of the shell (ssh(1))."""
_OPTIONS = (
    "StrictHostKeyChecking=no",  # its key is new at every start; the password is all there is
    "UserKnownHostsFile=/dev/null",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "PreferredAuthentications=password",
    "PubkeyAuthentication=no",  # a stranger is offered none of the operator's keys
    "IdentityAgent=none",
    "NumberOfPasswordPrompts=1",
    "ForwardAgent=no",
    "ForwardX11=no",
    "EscapeChar=none",
    "LogLevel=ERROR",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    "PermitLocalCommand=yes",
    "ProxyUseFdpass=yes",
)


def command_line(socket: Path, mark: str) -> list[str]:
    """ssh as it is called. `mark` is what it shows once the other end has accepted us."""
    python = (sys.executable, "-S", "-s", "-P", "-B", "-m", "pairing.handover", str(socket))
    last = (f"ProxyCommand={shlex.join(python)}", f"LocalCommand=echo {shlex.quote(mark)}")
    options = [part for option in (*_OPTIONS, *last) for part in ("-o", option)]
    return ["ssh", "-F", "none", "-tt", *options, f"{USER}@kairos-machine"]


@dataclass(slots=True)
class SshSession:
    """`seconds` at most from the password on, `connect` for getting that far."""

    front: TerminalFront
    password: str = field(repr=False)
    seconds: int
    connect: float
    command: Sequence[str] = ()
    """Instead of ssh, for tests."""
    _terminal: process.Terminal = field(init=False)
    _left: bool = False
    """The operator hung up."""

    async def run(self, stream: RawStream) -> int:
        """A session over `stream`; returns the shell's exit status.

        Raises errors.RecoveryPasswordRefused, errors.RescueCut, errors.RescueTimeUp,
        errors.CommandMissing.
        """
        try:
            with tempfile.TemporaryDirectory(prefix="kairos-rescue-") as folder:
                place = Path(folder) / "way"
                async with trio.open_nursery() as nursery:
                    listener = await _listen(place)
                    nursery.start_soon(_join, listener, stream)
                    try:
                        return await self._session(place)
                    finally:
                        nursery.cancel_scope.cancel()
        except* errors.KnownError as group:
            raise errors.first_known(group) from None

    async def _session(self, place: Path) -> int:
        if not self.command and shutil.which("ssh", path=process.PATH) is None:
            raise errors.CommandMissing("Its package is openssh-client.", element="ssh")
        mark = f"open-{secrets.token_hex(16)}"
        columns, rows = window()
        self._terminal = process.start_terminal(
            [part.replace("MARK", mark) for part in self.command] or command_line(place, mark),
            columns=columns,
            rows=rows,
            environment=process.import_environment() | {"TERM": _kind()},
        )
        try:
            await self._enter(mark.encode())
            self.front.opened(Opened(self.seconds, self.seconds, ()))
            with trio.move_on_after(self.seconds) as limit:
                await self._talk()
            if limit.cancelled_caught:
                raise errors.RescueTimeUp
            return await self._status()
        finally:
            self._terminal.close()

    # --- the password -------------------------------------------------------------------------

    async def _enter(self, mark: bytes) -> None:
        """Type the password; afterwards the other end has accepted it."""
        with trio.move_on_after(self.connect):
            if not (await self._until(PROMPT)).endswith(PROMPT):
                raise errors.RescueCut("(ssh asked for no password)")
            await self._type(self.password.encode("ascii") + b"\n")
            said = await self._until(mark)
            if REFUSED in said:
                raise errors.RecoveryPasswordRefused
            if not said.endswith(mark):
                raise errors.RescueCut
            return
        raise errors.RescueCut("(the machine's ssh did not answer in time)")

    async def _until(self, end: bytes) -> bytes:
        """What ssh says up to and with `end`; without it if ssh ends before, or says too much.

        Byte by byte: what follows belongs to the session.
        """
        said = bytearray()
        while not said.endswith(end) and len(said) < PROMPT_LIMIT:
            data = await self._read(1)
            if not data:
                break
            said += data
        return bytes(said)

    async def _type(self, data: bytes) -> None:
        while data:
            try:
                data = data[self._terminal.write(data) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._terminal.fd)

    async def _read(self, size: int) -> bytes:
        while True:
            try:
                return self._terminal.read(size)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._terminal.fd)

    # --- the session --------------------------------------------------------------------------

    async def _talk(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._press, nursery.cancel_scope)
            nursery.start_soon(self._follow_size)
            while data := await self._read(CHUNK):
                await self.front.show(data)
            nursery.cancel_scope.cancel()

    async def _press(self, whole: trio.CancelScope) -> None:
        while keys := await self.front.keys():
            await self._type(keys)
        self._left = True
        self._terminal.hang_up()
        whole.cancel()

    async def _follow_size(self) -> None:
        while True:
            self._terminal.resize(*await self.front.size_changed())

    async def _status(self) -> int:
        if self._left:
            return 0
        with trio.move_on_after(END_SECONDS):
            await trio.lowlevel.wait_readable(self._terminal.ended_fd)
        status = self._terminal.status()
        if status == CONNECTION_FAILED:
            raise errors.RescueCut
        return status or 0


def _kind() -> str:
    import os

    return os.environ.get("TERM", "xterm")[:32]


async def _listen(place: Path) -> trio.SocketListener:
    listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await listening.bind(str(place))
    listening.listen(1)
    return trio.SocketListener(listening)


async def _join(listener: trio.SocketListener, stream: RawStream) -> None:
    """ssh and the stream, until either ends."""
    async with listener:
        ours = await listener.accept()
    async with ours, trio.open_nursery() as nursery:

        async def copy(source: RawStream, sink: RawStream) -> None:
            try:
                while data := await source.receive_some(CHUNK):
                    await sink.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(copy, stream, ours)
        nursery.start_soon(copy, ours, stream)
