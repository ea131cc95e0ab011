"""The child that takes pictures out of zips and PDFs: `python -m pairing.qr.unpackworker`.

A request (`pairing.qr.pipe`) is {} and the file; answers are {name} or {name, error, detail} and a
frame with the picture, and at the end {end: true}, with {error, detail} where the file as a whole
is refused.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from pairing import errors, sandbox
from pairing.qr import containers, pipe

CPU_SECONDS = 60
"""For one file."""
FILE_LIMIT = 256 * 1000 * 1000
NAME_LIMIT = 300


def answers(data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """What is inside, and at the end whether that is all."""
    try:
        for inside in containers.pictures(data):
            yield {"name": inside.name[-NAME_LIMIT:], **_said(inside.wrong)}, inside.data
    except errors.PhotoError as wrong:
        yield {"end": True, **_said(wrong)}, b""
    else:
        yield {"end": True}, b""


def _said(wrong: errors.PhotoError | None) -> dict[str, str]:
    return {"error": wrong.slug, "detail": wrong.detail} if wrong else {}


def main() -> None:
    """Serve until standard input ends."""
    containers.preload()
    pipe.send(json.dumps({"held": sandbox.lock_down(), "zbar": False}).encode())
    source = sys.stdin.buffer
    while pipe.read_frame(source, pipe.REQUEST_LIMIT) is not None:
        data = pipe.read_frame(source, FILE_LIMIT) or b""
        sandbox.allow_cpu(CPU_SECONDS)
        for said, content in answers(data):
            pipe.send(json.dumps(said).encode(), *([] if "end" in said else [content]))


if __name__ == "__main__":
    main()
