"""QEMU's control line: commands, and what happened to the machine.

QEMU Machine Protocol specification, docs/interop/qmp-spec.txt of QEMU; its events are in
docs/interop/qemu-qmp-ref (RESET, SHUTDOWN, POWERDOWN, BLOCK_IO_ERROR and others).
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from pairing.testing.patience import patient
from pairing.testing.serial_line import GuestTooSlow, connect

SECONDS = 30.0


class Qmp:
    """One command at a time; events are collected meanwhile."""

    def __init__(self, path: Path) -> None:
        self._socket = connect(path)
        self._changed = threading.Condition()
        self._answers: deque[dict[str, Any]] = deque()
        self._events: list[str] = []
        self._open = True
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: object) -> Any:
        """The command's `return` value. Raises RuntimeError with QEMU's words, and OSError."""
        request = {"execute": command, "arguments": arguments}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        with self._changed:
            self._changed.wait_for(lambda: self._answers or not self._open, SECONDS)
            if not self._answers:
                raise ConnectionResetError(f"QEMU did not answer {command}")
            answer = self._answers.popleft()
        if "error" in answer:
            raise RuntimeError(f"QEMU on {command}: {answer['error'].get('desc', '')}")
        return answer["return"]

    def count(self, event: str) -> int:
        """How often this event has come since the start."""
        with self._changed:
            return self._events.count(event)

    def wait_for(self, event: str, seconds: float, count: int = 1) -> None:
        """Until the event has come `count` times since the start; raises GuestTooSlow."""
        deadline = time.monotonic() + patient(seconds)
        with self._changed:
            while self._events.count(event) < count:
                left = deadline - time.monotonic()
                if left <= 0 or not self._open:
                    raise GuestTooSlow(f"no {event} within {seconds:g} s, but: {self._events}")
                self._changed.wait(left)

    @property
    def open(self) -> bool:
        """Whether QEMU is there. It closes its drives first, this line last."""
        with self._changed:
            return self._open

    def wait_end(self, seconds: float) -> None:
        """Until QEMU has ended; raises GuestTooSlow."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._open, patient(seconds)):
                raise GuestTooSlow(f"still on after {seconds:g} s")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(SECONDS)
        self._socket.close()

    def _read(self) -> None:
        with self._socket.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                self._take(json.loads(line))
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        with self._changed:
            if "event" in message:
                self._events.append(message["event"])
            elif "QMP" not in message:
                self._answers.append(message)
            self._changed.notify_all()
