"""The parent's side of the process that opens untrusted pictures (`pairing.qr.worker`).

One child takes many pictures. It is replaced after `PHOTOS_LIMIT` of them and after any failure.
What it says is a stranger's word too: every field is checked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pairing import errors, process

PHOTOS_LIMIT = 100
START_SECONDS = 30.0
"""Until the child has loaded its decoders; a second where nothing else runs."""
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
        child = self._started()
        self._photos += 1
        try:
            for part in (json.dumps(request).encode(), data):
                child.write(len(part).to_bytes(4, "big") + part, seconds=self._seconds)
            reply = _receive(child, self._seconds)
        except (OSError, EOFError, ValueError) as failure:  # TimeoutError is an OSError
            self.stop()
            raise errors.PhotoWorkerFailed(_why(failure)) from None
        if self._photos >= PHOTOS_LIMIT:
            self.stop()
        return reply

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
    length = int.from_bytes(child.read(4, seconds=seconds), "big")
    if length > ANSWER_LIMIT:
        raise ValueError("answer too long")
    reply = json.loads(child.read(length, seconds=seconds))
    if not isinstance(reply, dict):
        raise ValueError("answer of the wrong kind")
    return reply


def _why(failure: Exception) -> str:
    if isinstance(failure, TimeoutError):
        return "(too slow)"
    if isinstance(failure, ValueError):
        return "(its answer makes no sense)"
    return "(it ended)"
