"""A child in the photo worker's place that misbehaves on request: `Worker(module=MODULE)`.

It speaks the protocol of `pairing.qr.pipe`. A request {"do": NAME, "lock": true} locks the
sandbox first (false: not, the positive control) and answers {"outcome": ...}: `done`, or the name
of the error that stopped it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import socket
import sys
import threading
from collections.abc import Callable

from pairing import sandbox
from pairing.qr.pipe import REQUEST_LIMIT, frame, read_frame

MODULE = "pairing.testing.probe"
_IO_URING_SETUP = 425


def _socket() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()


def _unix_socket() -> None:
    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()


def _socketpair() -> None:
    for end in socket.socketpair():
        end.close()


def _read_file() -> None:
    with open("/etc/passwd", "rb") as file:  # noqa: PTH123
        file.read(1)


def _list_folder() -> None:
    os.listdir("/")  # noqa: PTH208


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _execute() -> None:
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)


def _kill() -> None:
    os.kill(os.getppid(), 0)


def _io_uring() -> None:
    # Bad arguments on purpose: a kernel that looks at them says EFAULT, the filter EPERM.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_IO_URING_SETUP, 1, None) < 0 and ctypes.get_errno() != errno.EFAULT:
        raise OSError(ctypes.get_errno(), "io_uring_setup")


def _memory() -> None:
    mmap.mmap(-1, 1024 * 1024 * 1024).close()  # address space only: nothing is touched


def _thread() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()


def _spin() -> None:
    sandbox.allow_cpu(0)
    while True:
        pass


def _hang() -> None:
    threading.Event().wait()


def _exit() -> None:
    os._exit(3)


def _nonsense() -> None:
    sys.stdout.buffer.write(frame(b"\xff not json"))
    sys.stdout.buffer.flush()


def _flood() -> None:
    sys.stdout.buffer.write((2**31).to_bytes(4, "big"))
    sys.stdout.buffer.flush()


def _nothing() -> None:
    return


DEEDS: dict[str, Callable[[], None]] = {
    "socket": _socket,
    "unix-socket": _unix_socket,
    "socketpair": _socketpair,
    "read-file": _read_file,
    "list-folder": _list_folder,
    "fork": _fork,
    "execute": _execute,
    "kill": _kill,
    "io-uring": _io_uring,
    "memory": _memory,
    "thread": _thread,
    "spin": _spin,
    "hang": _hang,
    "exit": _exit,
    "nonsense": _nonsense,
    "flood": _flood,
    "nothing": _nothing,
}


def attempt(deed: Callable[[], None]) -> str:
    """`done`, or the name of the error number that stopped it."""
    try:
        deed()
    except OSError as refused:
        return errno.errorcode.get(refused.errno or 0, "OSError")
    return "done"


def main() -> None:
    """Serve requests until standard input ends."""
    sink = sys.stdout.buffer
    sink.write(frame(json.dumps({"held": [], "zbar": False}).encode()))
    sink.flush()
    locked = False
    while (head := read_frame(sys.stdin.buffer, REQUEST_LIMIT)) is not None:
        read_frame(sys.stdin.buffer, REQUEST_LIMIT)
        request = json.loads(head)
        if request.get("lock") and not locked:
            sandbox.lock_down()
            locked = True
        answer = {"outcome": attempt(DEEDS[request["do"]]), "pid": os.getpid()}
        sink.write(frame(json.dumps(answer).encode()))
        sink.flush()


if __name__ == "__main__":
    main()
