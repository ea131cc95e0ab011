"""A guest's serial line: all that it says is kept, and a shell on it can be asked."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from pathlib import Path

from pairing.testing.patience import patient

CLOSE_SECONDS = 30.0
_ESCAPE = re.compile(r"\x1b(\[[0-9;?=!]*[A-Za-z]|[78])|\r")


class GuestTooSlow(AssertionError):
    """The guest did not come to the awaited line in time."""


class SerialLine:
    """Everything the guest has written to its serial line, read in the background."""

    def __init__(self, path: Path) -> None:
        self._socket = connect(path)
        self._changed = threading.Condition()
        self._text = bytearray()
        self._open = True
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        with self._changed:
            return self._text.decode("utf-8", "replace")

    def wait_for(self, marker: str, seconds: float, start: int = 0) -> str:
        """The text from byte `start` up to and with the first `marker`; raises GuestTooSlow."""
        wanted = marker.encode()
        deadline = time.monotonic() + patient(seconds)
        with self._changed:
            while (found := self._text.find(wanted, start)) < 0:
                left = deadline - time.monotonic()
                if left <= 0 or not self._open:
                    end = self._text[-600:].decode("utf-8", "replace")
                    raise GuestTooSlow(f"no {marker!r} within {seconds:g} s, but:\n{end}")
                self._changed.wait(left)
            return self._text[start : found + len(wanted)].decode("utf-8", "replace")

    def ask(self, command: str, seconds: float) -> str:
        """What a shell on this line answers to `command`; raises GuestTooSlow."""
        with self._changed:
            start = len(self._text)
        end = f"-- {start} answered"
        # Typed with quotes in it, so that the shell's echo is not taken for the end.
        self._socket.sendall(f"{command}; echo; echo '-- '{start} 'answered'\n".encode())
        said = self.wait_for(end, seconds, start).removesuffix(end).replace("\r", "")
        return said.partition("\n")[2].strip()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(CLOSE_SECONDS)
        self._socket.close()

    def _read(self) -> None:
        data = b"-"
        while data:
            try:
                data = self._socket.recv(65536)
            except OSError:
                data = b""
            with self._changed:
                self._text += data
                self._open = bool(data)
                self._changed.notify_all()


def connect(path: Path) -> socket.socket:
    """To one of QEMU's sockets: it has made them by the time it has become a daemon."""
    line = socket.socket(socket.AF_UNIX)
    line.connect(str(path))
    return line


def last_words(said: str, count: int) -> list[str]:
    """The last lines of a serial line for a person to read: no escapes, no frames, no codes."""
    lines = (line.strip() for line in _ESCAPE.sub("\n", said).splitlines())
    return [line for line in lines if any(letter.isalpha() for letter in line)][-count:]
