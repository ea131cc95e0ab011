"""The child that opens untrusted pictures: `python -m pairing.qr.worker`, started by PhotoReader.

Loads its decoders, locks itself down, then answers requests (`pairing.qr.pipe`): a picture and
{any, hard, picture}. The answer is {error, detail} or the fields of a Reading. It loads no numpy:
what only the grid reader can read goes to a second child (`pairing.qr.gridworker`, docs/adr/0028).
"""

from __future__ import annotations

import base64
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from pairing import errors
from pairing.qr import ladder, photo, pipe, sharpness, zbar
from pairing.qr.reading import Code, kind_of

if TYPE_CHECKING:
    from PIL import Image

TEXT_LIMIT = 8192
"""Characters of one code; the largest QR code holds 7089."""
CODES_LIMIT = 64


def answer(decoder: zbar.Zbar | None, request: dict[str, Any], data: bytes) -> dict[str, Any]:
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
        "codes": codes_said(found.codes),
        "unread": [[place.corners, place.version] for place in found.unread[:CODES_LIMIT]],
        "tried": [[t.step, t.ms, t.read, t.located] for t in found.tried],
        **_blur(image, found),
        **_picture(image, request.get("picture", 0)),
        "cpu_ms": round((time.process_time() - start) * 1000),
    }


def _blur(image: Image.Image, found: ladder.Outcome) -> dict[str, Any]:
    """Of the picture and of each unread code, where that may explain why there is no token."""
    if any(kind_of(code.text) for code in found.codes):
        return {"blur": 0.0, "blurs": []}
    blurs = [sharpness.blur(image, place.corners) for place in found.unread[:CODES_LIMIT]]
    return {"blur": 0.0 if found.codes else sharpness.blur(image), "blurs": blurs}


def _picture(image: Image.Image, side: int) -> dict[str, Any]:
    """The picture itself where it is wanted, its longer side at most `side` pixels."""
    if not side:
        return {}
    small = image.copy()
    small.thumbnail((side, side))
    pixels = base64.b64encode(small.tobytes()).decode("ascii")
    return {"picture": [small.width, small.height, pixels]}


def codes_said(codes: tuple[Code, ...]) -> list[list[Any]]:
    """Codes as they stand in an answer."""
    return [[code.text[:TEXT_LIMIT], code.step, code.corners] for code in codes[:CODES_LIMIT]]


def main() -> None:
    """Serve until standard input ends."""
    import zxingcpp
    from PIL import Image, ImageChops, ImageFilter

    del zxingcpp, Image, ImageChops, ImageFilter  # loaded, for there is no opening files later
    photo.preload()
    decoder = zbar.load()
    pipe.serve(partial(answer, decoder), photo.FILE_LIMIT, zbar=decoder is not None)


if __name__ == "__main__":
    main()
