"""What the children that open untrusted files have in common: frames, and the loop over requests.

A frame is a 4-byte big-endian length and that many bytes. A request is a JSON frame and a frame
with a file's content; the answer is one JSON frame, or an iterator's frames one after another. The
first frame, before any request, says what protects the child: {held, zbar}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from pairing import sandbox

CPU_SECONDS = 10
"""For one picture."""
REQUEST_LIMIT = 4 * 1024 * 1024

Answer = Callable[[dict[str, Any], bytes], dict[str, Any]]


def read_frame(stream: BinaryIO, limit: int) -> bytes | None:
    """The next frame, None at the end of the stream. Raises ValueError for one too long."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    length = int.from_bytes(head, "big")
    if length > limit:
        raise ValueError("frame too long")
    return stream.read(length)


def frame(data: bytes) -> bytes:
    """`data` with its length before it."""
    return len(data).to_bytes(4, "big") + data


def send(*parts: bytes) -> None:
    """Write frames to standard output."""
    for part in parts:
        sys.stdout.buffer.write(frame(part))
    sys.stdout.buffer.flush()


def serve(answer: Answer, limit: int, *, zbar: bool = False) -> None:
    """Lock this process down and answer until standard input ends. `limit`: bytes of a file."""
    source = sys.stdin.buffer
    send(json.dumps({"held": sandbox.lock_down(), "zbar": zbar}).encode())
    while (head := read_frame(source, REQUEST_LIMIT)) is not None:
        data = read_frame(source, limit) or b""
        sandbox.allow_cpu(CPU_SECONDS)
        send(json.dumps(answer(json.loads(head), data)).encode())
