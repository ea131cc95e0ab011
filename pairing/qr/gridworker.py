"""The child with the grid reader: `python -m pairing.qr.gridworker`, started by PhotoReader.

Only for photos that `pairing.qr.worker` could not read, as loading numpy takes longer than reading
most photos. A request (`pairing.qr.pipe`) is one of

    {do: "read", any, hard, places: [[corners, version], ...]} and a picture
    {do: "sum", any, sizes: [...], photos: [...], shown: [...]} and the soft bits of unread codes,
        one after another: which of these photos show the same screen, and what it says; `shown`
        are the tokens that other photos gave

The answers: {codes, seen, soft, tried, cpu_ms}, or {sums: [[text, [photo, ...]], ...], cpu_ms}, or
{failed, cpu_ms}.
"""

from __future__ import annotations

import base64
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# Before numpy loads: its threads spin, and their memory counts against the limit.
os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

import numpy as np
from PIL import Image

from pairing import errors
from pairing.qr import photo, pipe, render, sharpness
from pairing.qr.grid import codelike, combine, decode, reader
from pairing.qr.grid.lattice import from_corners
from pairing.qr.grid.softbits import SoftBits, soft_bits
from pairing.qr.reading import Place, Seen, Tried, kind_of
from pairing.qr.worker import CODES_LIMIT, codes_said

PLACES_LIMIT = 4
SUM_SECONDS = 7.0
"""CPU time after which no further group of photos is summed; the kernel ends it at ten."""


def answer(request: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Read one picture, or sum the bits of several."""
    start = time.process_time()
    do = _sum if request["do"] == "sum" else _read
    try:
        found = do(request, data, _accept(request))
    except Exception as broken:  # a stranger's picture brought the arithmetic to its end
        found = {"failed": _where(broken)}
    return {**found, "cpu_ms": round((time.process_time() - start) * 1000)}


def _where(broken: Exception) -> str:
    """Such as `LinAlgError, align.py 123`."""
    last = traceback.extract_tb(broken.__traceback__)[-1]
    return f"{type(broken).__name__}, {Path(last.filename).name} {last.lineno}"


def _accept(request: dict[str, Any]) -> Callable[[str], bool]:
    if request.get("any") is True:
        return lambda text: True
    return lambda text: kind_of(text) is not None


def _read(request: dict[str, Any], data: bytes, accept: Callable[[str], bool]) -> dict[str, Any]:
    try:
        image = photo.open_gray(data)
    except errors.PhotoError as wrong:
        return {"error": wrong.slug, "detail": wrong.detail}
    places = [
        Place(tuple((x, y) for x, y in corners), version)
        for corners, version in request["places"][:PLACES_LIMIT]
    ]
    found = reader.read(image, places, accept, hard=request.get("hard") is True)
    seen, steps = found.seen[:CODES_LIMIT], found.steps[: CODES_LIMIT - 1]
    if not places and not found.codes and not seen:
        seen, guess = _guessed(image)
        steps = (*steps, guess)
    return {
        "codes": codes_said(found.codes),
        "seen": [_said(_blurred(image, code)) for code in seen],
        "soft": [
            base64.b64encode(combine.to_bytes(soft)).decode("ascii")
            for soft in found.soft[:PLACES_LIMIT]
        ],
        "tried": [[t.step, t.ms, t.read, t.located] for t in steps],
    }


def _guessed(image: Image.Image) -> tuple[tuple[Seen, ...], Tried]:
    """What looks like a code where none was located: it may say why."""
    begun = time.process_time()
    found = codelike.code_like(image)
    spent = round((time.process_time() - begun) * 1000)
    return (() if found is None else (found,)), Tried("grid looks like a code", spent)


def _blurred(image: Image.Image, seen: Seen) -> Seen:
    """With its blur, where that may explain why it was not read."""
    return seen if seen.read else replace(seen, blur=sharpness.blur(image, seen.corners))


def _said(seen: Seen) -> list[Any]:
    return [
        seen.corners, seen.version, float(seen.fit), float(seen.pitch), float(seen.glare),
        seen.glare_at, seen.read, seen.cut, float(seen.blur), seen.guessed,
    ]  # fmt: skip


def _sum(request: dict[str, Any], data: bytes, accept: Callable[[str], bool]) -> dict[str, Any]:
    """Texts that no photo gave alone, with the numbers of the photos that gave them together."""
    stop = time.process_time() + SUM_SECONDS
    several = []
    for size in request["sizes"]:
        several.append(combine.from_bytes(data[:size]))
        data = data[size:]
    sums, taken = _copies(request, several)
    left = [index for index in range(len(several)) if request["photos"][index] not in taken]
    for group in combine.groups([several[index] for index in left]):
        # Of a code that was looked at twice in one photo, one look counts.
        members = {
            request["photos"][left[place]]: several[left[place]] for place in reversed(group)
        }
        if len(members) < 2:
            continue
        if time.process_time() > stop:
            break  # the largest groups came first
        text = _text_of(list(members.values()))
        if text is not None and accept(text):
            sums.append([text, sorted(members)[:CODES_LIMIT]])
    return {"sums": sums[:CODES_LIMIT]}


def _copies(request: dict[str, Any], several: list[SoftBits]) -> tuple[list[list[Any]], set[int]]:
    """Photos of codes that other photos gave, and their numbers. Only for codes that are drawn as
    we draw them.
    """
    copies: dict[str, set[int]] = {}
    for text in request["shown"]:
        code = render.modules(text)
        soft = SoftBits(render.version(code), np.array(code, dtype=np.float32) * 2 - 1)
        for photo_number, other in zip(request["photos"], several, strict=True):
            if combine.same_screen(soft, other):
                copies.setdefault(text, set()).add(photo_number)
    said = [[text, sorted(numbers)[:CODES_LIMIT]] for text, numbers in copies.items()]
    return said, set().union(*copies.values())


def _text_of(several: list[SoftBits]) -> str | None:
    corrected = decode.decode(combine.summed(several), decode.Tries())
    return None if corrected is None else decode.text_of(corrected)


def warm_up() -> None:
    """Read a code made for it, so that whatever is loaded when first used is loaded."""
    photo.preload()
    reader.preload()
    code = render.modules("EP1:WARM-UP")
    grid = render.enlarge(code, 4)
    size = len(grid)
    image = Image.frombytes(
        "L", (size, size), bytes(0 if dark else 255 for row in grid for dark in row)
    )
    edge, end = 4 * render.QUIET, size - 4 * render.QUIET
    place = Place(((edge, edge), (end, edge), (end, end), (edge, end)), None)
    for places in ([place], []):
        reader.read(image, places, lambda text: True)
    sharpness.blur(image, place.corners)
    codelike.code_like(image)
    version = render.version(code)
    soft = soft_bits(np.asarray(image, np.float32), from_corners(version, place.corners))
    several = [combine.from_bytes(combine.to_bytes(soft))] * 2
    combine.groups(several)
    _text_of(several)


def main() -> None:
    """Serve until standard input ends."""
    warm_up()
    pipe.serve(answer, photo.FILE_LIMIT)


if __name__ == "__main__":
    main()
