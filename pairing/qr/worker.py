"""The child that opens untrusted pictures: `python -m pairing.qr.worker`, started by PhotoReader.

Loads its decoders, locks itself down, then answers requests on its standard streams. A frame is
a 4-byte big-endian length and that many bytes. A request is a JSON frame {any, hard} and a frame
with the picture; the answer is one JSON frame, {error, detail} or the fields of a Reading. The
first frame, before any request, says what protects it: {held, zbar}.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, BinaryIO

from pairing import errors, sandbox
from pairing.qr import ladder, photo, zbar
from pairing.qr.reading import kind_of

CPU_SECONDS = 10
"""For one picture."""
FRAME_LIMIT = photo.FILE_LIMIT
TEXT_LIMIT = 8192
"""Characters of one code; the largest QR code holds 7089."""
CODES_LIMIT = 64


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame, None at the end of the stream. Raises ValueError for one too long."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    length = int.from_bytes(head, "big")
    if length > FRAME_LIMIT:
        raise ValueError("frame too long")
    return stream.read(length)


def frame(data: bytes) -> bytes:
    """`data` with its length before it."""
    return len(data).to_bytes(4, "big") + data


def answer(request: dict[str, Any], data: bytes, decoder: zbar.Zbar | None) -> dict[str, Any]:
    """Read one picture."""
    start = time.process_time()
    try:
        image = photo.open_gray(data)
    except errors.PhotoError as wrong:
        return {"error": wrong.slug, "detail": wrong.detail}
    found = ladder.climb(
        image,
        lambda text: kind_of(text) is not None,
        zbar=decoder,
        any_text=request.get("any") is True,
        hard=request.get("hard") is True,
    )
    return {
        "format": photo.format_of(data),
        "width": image.width,
        "height": image.height,
        "codes": [[c.text[:TEXT_LIMIT], c.step, c.corners] for c in found.codes[:CODES_LIMIT]],
        "unread": [[place.corners, place.version] for place in found.unread[:CODES_LIMIT]],
        "tried": [[t.step, t.ms, t.read, t.located] for t in found.tried],
        "cpu_ms": round((time.process_time() - start) * 1000),
    }


def main() -> None:
    """Serve until standard input ends."""
    import zxingcpp
    from PIL import Image, ImageChops, ImageFilter

    del zxingcpp, Image, ImageChops, ImageFilter  # loaded, for there is no opening files later
    photo.preload()
    decoder = zbar.load()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    hello = {"held": sandbox.lock_down(), "zbar": decoder is not None}
    sink.write(frame(json.dumps(hello).encode()))
    sink.flush()
    while (head := read_frame(source)) is not None:
        data = read_frame(source) or b""
        sandbox.allow_cpu(CPU_SECONDS)
        sink.write(frame(json.dumps(answer(json.loads(head), data, decoder)).encode()))
        sink.flush()


if __name__ == "__main__":
    main()
