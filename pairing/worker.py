"""The parent's side of the process that opens untrusted pictures (`pairing.qr.worker`).

One child takes many pictures. It is replaced after `PHOTOS_LIMIT` of them and after any failure.
What it says is a stranger's word too: every field is checked.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pairing import errors, process

PHOTOS_LIMIT = 100
START_SECONDS = 60.0
"""Until the child has loaded its decoders: a second where nothing else runs, but where it had
the lowest priority beside starting machines it took more than thirty."""
PHOTO_SECONDS = 60.0
"""Wall clock for one picture; its CPU limit of ten seconds ends an ordinary one long before."""
ANSWER_LIMIT = 4 * 1024 * 1024
MODULE = "pairing.qr.worker"


@dataclass(frozen=True, slots=True)
class Protection:
    """What the child gave up before its first picture (`pairing.sandbox`); whether it has zbar."""

    held: tuple[str, ...]
    zbar: bool


class Worker:
    """One child at a time, started when first needed. Not for several threads at once."""

    def __init__(self, *, module: str = MODULE, seconds: float = PHOTO_SECONDS) -> None:
        self.module = module
        self._seconds = seconds
        self._child: process.Child | None = None
        self._protection = Protection((), False)
        self._photos = 0

    def protection(self) -> Protection:
        """What protects the child; starts one. Raises errors.PhotoWorkerFailed."""
        self._started()
        return self._protection

    def ask(self, request: dict[str, Any], data: bytes) -> dict[str, Any]:
        """Have one picture read. Raises errors.PhotoWorkerFailed; the next one gets a new child."""
        with self._asked(request, data) as child:
            return _receive(child, self._seconds)

    def ask_many(
        self, request: dict[str, Any], data: bytes, limit: int
    ) -> Iterator[tuple[dict[str, Any], bytes]]:
        """The same for a child that answers several times, each with at most `limit` bytes.

        The last one says {end: true} and has none of them. Raises errors.PhotoWorkerFailed.
        """
        with self._asked(request, data) as child:
            while not (reply := _receive(child, self._seconds)).get("end"):
                yield reply, _read_frame(child, limit, self._seconds)
            yield reply, b""

    @contextlib.contextmanager
    def _asked(self, request: dict[str, Any], data: bytes) -> Iterator[process.Child]:
        child = self._started()
        self._photos += 1
        whole = False
        try:
            for part in (json.dumps(request).encode(), data):
                child.write(len(part).to_bytes(4, "big"), seconds=self._seconds)
                child.write(part, seconds=self._seconds)
            yield child
            whole = True
        except (OSError, EOFError, ValueError) as failure:  # TimeoutError is an OSError
            raise errors.PhotoWorkerFailed(_why(failure)) from None
        finally:
            if not whole or self._photos >= PHOTOS_LIMIT:
                self.stop()

    @property
    def running(self) -> bool:
        """Whether there is a child."""
        return self._child is not None

    def stop(self) -> None:
        """End the child, if there is one."""
        if self._child:
            self._child.stop()
        self._child, self._photos = None, 0

    def _started(self) -> process.Child:
        if self._child is None:
            self._child = process.start_module(self.module)
            try:
                hello = _receive(self._child, START_SECONDS)
            except (OSError, EOFError, ValueError) as failure:
                self.stop()
                raise errors.PhotoWorkerFailed(f"It did not start: {_why(failure)}") from None
            held = hello.get("held", [])
            self._protection = Protection(tuple(map(str, held)), hello.get("zbar") is True)
        return self._child


def _receive(child: process.Child, seconds: float) -> dict[str, Any]:
    reply = json.loads(_read_frame(child, ANSWER_LIMIT, seconds))
    if not isinstance(reply, dict):
        raise ValueError("answer of the wrong kind")
    return reply


def _read_frame(child: process.Child, limit: int, seconds: float) -> bytes:
    length = int.from_bytes(child.read(4, seconds=seconds), "big")
    if length > limit:
        raise ValueError("answer too long")
    return child.read(length, seconds=seconds)


def _why(failure: Exception) -> str:
    if isinstance(failure, TimeoutError):
        return "(too slow)"
    if isinstance(failure, ValueError):
        return "(its answer makes no sense)"
    return "(it ended)"
