"""The one door to other programs: a deadline, no shell, a clean environment, bounded output."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pairing import errors

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OUTPUT_LIMIT = 16 * 1024 * 1024
LINE_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished program left: exit status, standard output, standard error."""

    status: int
    stdout: bytes
    stderr: bytes

    def text(self) -> str:
        """Standard output as text; bytes that are not UTF-8 are replaced."""
        return self.stdout.decode("utf-8", "replace")


def run(
    argv: Sequence[str],
    *,
    seconds: float,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    check: bool = True,
) -> Result:
    """Run `argv` and wait at most `seconds`.

    Secrets go through `stdin`, never through `argv` or `environment`.
    Raises errors.CommandMissing, errors.CommandTimeout, and (with `check`) errors.CommandFailed
    whose detail is the end of what the program printed.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            timeout=seconds,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", **(environment or {})},
            check=False,
        )
    except FileNotFoundError:
        raise errors.CommandMissing(element=argv[0]) from None
    except subprocess.TimeoutExpired:
        raise errors.CommandTimeout(f"It was given {seconds:g} seconds.", element=argv[0]) from None
    result = Result(done.returncode, done.stdout[:OUTPUT_LIMIT], done.stderr[:OUTPUT_LIMIT])
    if check and result.status != 0:
        raise errors.CommandFailed(_tail(result), element=argv[0])
    return result


def _tail(result: Result, limit: int = 500) -> str:
    said = (result.stderr or result.stdout).decode("utf-8", "replace").strip()
    return f"Status {result.status}: {said[-limit:]}"


class Child:
    """A child process running a module of ours, with a pipe each way. End it with `stop`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._in, self._out = process.stdin, process.stdout
        os.set_blocking(self._in.fileno(), False)

    def write(self, data: bytes, *, seconds: float) -> None:
        """Send `data`. Raises TimeoutError, or BrokenPipeError if the child has ended."""
        deadline, view = time.monotonic() + seconds, memoryview(data)
        while view:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([], [self._in], [], left)[1]:
                raise TimeoutError
            try:
                view = view[os.write(self._in.fileno(), view) :]
            except BlockingIOError:
                continue

    def read(self, size: int, *, seconds: float) -> bytes:
        """Exactly `size` bytes. Raises TimeoutError, or EOFError if the child has ended."""
        deadline, data = time.monotonic() + seconds, bytearray()
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._out], [], [], left)[0]:
                raise TimeoutError
            chunk = os.read(self._out.fileno(), size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)

    def stop(self) -> None:
        """Kill the child and wait for its end. May be called twice."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._in, self._out):
            pipe.close()


def start_module(module: str) -> Child:
    """Run a module of ours in a fresh interpreter, with our import path and nothing else.

    Skips the site packages' start-up files (`-S`): that halves the time to the first answer.
    Raises errors.CommandMissing.
    """
    argv = [sys.executable, "-S", "-s", "-P", "-B", "-m", module]
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", **import_environment()},
        )
    except OSError:
        raise errors.CommandMissing(element=sys.executable or "python") from None
    return Child(process)


def import_environment() -> dict[str, str]:
    """PYTHONPATH for a Python of ours: our own folder (or zip file), then ours to import from."""
    home = str(Path(__file__).absolute().parents[1])
    entries = (home, *(str(Path(entry).absolute()) for entry in sys.path if entry))
    return {"PYTHONPATH": os.pathsep.join(entries)}


class Program:
    """A program of ours that runs beside us and talks in lines. End it with `stop`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._process = process
        self._out = process.stdout

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def lines(self, limit: int = LINE_LIMIT) -> Iterator[str]:
        """What it says (standard output and error), line by line, until it ends."""
        for line in self._out:
            yield line[:limit].decode("utf-8", "replace").rstrip("\n")

    def wait(self, seconds: float) -> int:
        """Its exit status. Raises errors.CommandTimeout."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise errors.CommandTimeout(f"It was given {seconds:g} seconds.") from None

    def stop(self) -> None:
        """Kill it (SIGKILL) and wait for its end. May be called twice."""
        self._process.kill()
        self._process.wait()
        self._out.close()


def start_program(
    module: str, arguments: Sequence[str], *, environment: Mapping[str, str] | None = None
) -> Program:
    """Run a module of ours as a program of its own, with our import path and nothing to read.

    Raises errors.CommandMissing.
    """
    clean = {
        "PATH": PATH,
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        **import_environment(),
    }
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**clean, **(environment or {})},
        )
    except OSError:
        raise errors.CommandMissing(element=sys.executable or "python") from None
    return Program(process)


class Partner(Program):
    """A program that is told something now and then. Without us it reads its input's end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(process)
        assert process.stdin is not None
        self._in = process.stdin

    def say(self, data: bytes) -> None:
        """Write to its standard input, however long it takes. Raises BrokenPipeError."""
        self._in.write(data)
        self._in.flush()

    def stop(self) -> None:
        """Kill it (SIGKILL) and wait for its end. May be called twice."""
        super().stop()
        with contextlib.suppress(BrokenPipeError):
            self._in.close()


def start_partner(argv: Sequence[str]) -> Partner:
    """Run `argv`, or our Python with a module of ours, beside us with a pipe each way.

    Raises errors.CommandMissing.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", **import_environment()},
        )
    except OSError:
        raise errors.CommandMissing(element=argv[0]) from None
    return Partner(process)


class Service:
    """A program that runs beside us and writes to a log file. End it with `stop`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def stop(self, seconds: float = 10.0) -> None:
        """Ask it to end (SIGTERM), after `seconds` kill it. May be called twice."""
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def start_service(argv: Sequence[str], *, log: Path) -> Service:
    """Run `argv` with its output in the file `log` and nothing to read.

    Raises errors.CommandMissing.
    """
    try:
        with log.open("ab") as out:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
            )
    except FileNotFoundError:
        raise errors.CommandMissing(element=argv[0]) from None
    return Service(process)


class Terminal:
    """A program on a pseudo-terminal of its own, the leader of a session. End it with `close`.

    `fd` is our end (pty(7)), not blocking: wait for it as for a socket. `ended_fd` can be read from
    once the program has ended (pidfd_open(2)); what it started may still have the terminal open.
    """

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self._process, self.fd = process, fd
        self.ended_fd = os.pidfd_open(process.pid)
        os.set_blocking(fd, False)

    def read(self, size: int) -> bytes:
        """What it shows now, at most `size` bytes; nothing at its end. Raises BlockingIOError."""
        try:
            return os.read(self.fd, size)
        except BlockingIOError:
            raise
        except OSError:  # EIO: nobody has the other end open any more
            return b""

    def write(self, data: bytes) -> int:
        """Press keys; returns how many it took. Raises BlockingIOError."""
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            raise
        except OSError:
            return len(data)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size; the program is told (SIGWINCH)."""
        size = struct.pack("HHHH", max(1, rows), max(1, columns), 0, 0)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, size)

    def status(self) -> int | None:
        """Its exit status (128 and the signal's number if one ended it), None while it runs."""
        status = self._process.poll()
        return 128 - status if status is not None and status < 0 else status

    def hang_up(self) -> None:
        """Tell every process of its session that the terminal is gone (SIGHUP)."""
        self._signal(signal.SIGHUP)

    def close(self) -> None:
        """Kill every process of its session and close our end. May be called twice."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        for fd in (self.fd, self.ended_fd):
            if fd >= 0:
                os.close(fd)
        self.fd = self.ended_fd = -1

    def _signal(self, number: signal.Signals) -> None:
        for pid in _session(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _session(leader: int) -> list[int]:
    """The processes of a session (proc(5): the fourth field after the name). Linux only."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        if len(fields) > 3 and int(fields[3]) == leader:
            found.append(int(folder.name))
    return found


def start_terminal(
    argv: Sequence[str], *, columns: int, rows: int, environment: Mapping[str, str]
) -> Terminal:
    """Run `argv` on a new terminal. setsid(1) makes it the controlling one, in the child, without
    code of ours between fork and exec. Raises errors.CommandMissing.
    """
    ours, theirs = os.openpty()
    try:
        process = subprocess.Popen(
            ["setsid", "--ctty", "--", *argv],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd="/",
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", **environment},
        )
    except OSError:
        os.close(ours)
        raise errors.CommandMissing(element="setsid") from None
    finally:
        os.close(theirs)
    terminal = Terminal(process, ours)
    terminal.resize(columns, rows)
    return terminal
