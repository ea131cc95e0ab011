"""What the children that read photos say, checked word by word: a taken-over one may say anything.

The functions raise ValueError, TypeError or KeyError for nonsense: call them within `checked`.
"""

from __future__ import annotations

import base64
import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pairing import errors
from pairing.qr.reading import Code, Corners, Gray, Place, Reading, Seen, Tried, overlap

SIDES = ("", "left", "right", "top", "bottom")
_NAMED = (errors.NotAPicture, errors.PictureTooLarge, errors.ContainerRefused)
"""The errors that a worker may name; anything else from it is a failure of its own."""
_TEXT_LIMIT = 8192
_SOFT_LIMIT = 250_000
"""Bytes of the soft bits of one code; those of version 40 are 215 kB."""
_PICTURE_LIMIT = 1600 * 1600
"""Bytes of a picture to draw on."""


@contextlib.contextmanager
def checked() -> Iterator[None]:
    """Nonsense becomes errors.PhotoWorkerFailed."""
    try:
        yield
    except (KeyError, TypeError, ValueError):
        raise errors.PhotoWorkerFailed("(its answer makes no sense)") from None


def refused(reply: dict[str, Any]) -> errors.PhotoError | None:
    """The error that the answer names."""
    if "error" not in reply:
        return None
    for kind in _NAMED:
        if kind.slug == reply["error"]:
            return kind(text(reply.get("detail", ""), 200))
    raise ValueError


def reading(name: str, reply: dict[str, Any]) -> tuple[Reading, tuple[Place, ...]]:
    """What the quick worker says of a photo, and the places of unread codes."""
    places = tuple(_place(*place) for place in sequence(reply["unread"]))
    read = Reading(
        photo=name,
        format=text(reply["format"], 8),
        width=number(reply["width"]),
        height=number(reply["height"]),
        codes=_codes(reply),
        unreadable=tuple(place.corners for place in places),
        tried=_tried(reply),
        cpu_ms=number(reply["cpu_ms"]),
        seen=_blurred(places, sequence(reply["blurs"])),
        blur=_size(reply["blur"]),
        picture=_gray(*reply["picture"]) if "picture" in reply else None,
    )
    return read, places


def _gray(width: object, height: object, pixels: object) -> Gray:
    size = number(width), number(height)
    found = base64.b64decode(text(pixels, _PICTURE_LIMIT * 4 // 3 + 4), validate=True)
    if min(size) < 1 or len(found) != size[0] * size[1]:
        raise ValueError
    return Gray(*size, found)


def _blurred(places: tuple[Place, ...], blurs: list[Any]) -> tuple[Seen, ...]:
    """The places of unread codes with their blur; without, where it was not measured."""
    if not blurs:
        return ()
    return tuple(
        Seen(place.corners, place.version, blur=_size(blur))
        for place, blur in zip(places, blurs, strict=True)
    )


def with_grid(first: Reading, reply: dict[str, Any]) -> Reading:
    """`first` and what the grid worker adds to it."""
    seen = tuple(_seen(*code) for code in sequence(reply["seen"]))
    codes = _codes(reply)
    here = [code.corners for code in codes]
    unread = [corners for corners in first.unreadable if not _any_overlap(corners, here)]
    for code in seen:
        located = not code.read and not code.guessed
        if located and not _any_overlap(code.corners, [*unread, *here]):
            unread.append(code.corners)
    return replace(
        first,
        codes=(*first.codes, *codes),
        unreadable=tuple(unread),
        tried=(*first.tried, *_tried(reply)),
        cpu_ms=first.cpu_ms + number(reply["cpu_ms"]),
        seen=_both(seen, first.seen, here),
        soft=tuple(_packed(soft) for soft in sequence(reply["soft"])),
    )


def _both(grid: tuple[Seen, ...], quick: tuple[Seen, ...], here: list[Corners]) -> tuple[Seen, ...]:
    """What the grid reader saw, with the blur that the quick worker measured, and what only that
    one saw and nobody read."""
    found = []
    for code in grid:
        blur = next((one.blur for one in quick if overlap(one.corners, code.corners)), 0.0)
        found.append(replace(code, blur=code.blur or blur))
    known = [*here, *(code.corners for code in grid)]
    return (*found, *(one for one in quick if not _any_overlap(one.corners, known)))


def sums(
    reply: dict[str, Any], count: int, shown: Sequence[str] = ()
) -> list[tuple[str, list[int]]]:
    """Texts and the numbers of the photos, each below `count`, that gave them together.

    One photo is enough for a text that another one showed.
    """
    found = []
    for said in sequence(reply["sums"]):
        words, photos = said
        said_text = text(words, _TEXT_LIMIT)
        least = 1 if said_text in shown else 2
        numbers = [number(photo) for photo in sequence(photos)]
        if not all(0 <= photo < count for photo in numbers) or len(set(numbers)) < least:
            raise ValueError
        found.append((said_text, numbers))
    return found


def _any_overlap(corners: Corners, places: list[Corners]) -> bool:
    return any(overlap(corners, place) for place in places)


def _codes(reply: dict[str, Any]) -> tuple[Code, ...]:
    return tuple(_code(*code) for code in sequence(reply["codes"]))


def _tried(reply: dict[str, Any]) -> tuple[Tried, ...]:
    return tuple(_step(*step) for step in sequence(reply["tried"]))


def _code(words: object, step: object, corners: object) -> Code:
    return Code(text(words, _TEXT_LIMIT), _corners(corners), text(step, 64))


def _place(corners: object, version: object) -> Place:
    return Place(_corners(corners), _version(version))


def _step(step: object, ms: object, read: object, located: object) -> Tried:
    return Tried(text(step, 64), number(ms), number(read), number(located))


def _seen(*said: object) -> Seen:
    corners, version, fit, pitch, glare, at, read, cut, blur, guessed = said
    if not isinstance(read, bool) or not isinstance(guessed, bool) or cut not in SIDES:
        raise ValueError
    return Seen(
        corners=_corners(corners),
        version=_version(version),
        fit=_share(fit),
        pitch=_size(pitch),
        glare=_share(glare),
        glare_at=None if at is None else _corners([at])[0],
        read=read,
        cut=str(cut),
        blur=_size(blur),
        guessed=guessed,
    )


def _packed(value: object) -> bytes:
    return base64.b64decode(text(value, _SOFT_LIMIT * 4 // 3), validate=True)


def sequence(value: object) -> list[Any]:
    """A list of at most 64."""
    if not isinstance(value, list) or len(value) > 64:
        raise ValueError
    return value


def text(value: object, limit: int) -> str:
    """A text of at most `limit` characters."""
    if not isinstance(value, str) or len(value) > limit:
        raise ValueError
    return value


def number(value: object) -> int:
    """A whole number that is not absurd."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 10**9:
        raise ValueError
    return value


def _version(value: object) -> int | None:
    if value is not None and number(value) not in range(1, 41):
        raise ValueError
    return None if value is None else number(value)


def _size(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError
    if not 0 <= value <= 10**9:
        raise ValueError
    return float(value)


def _share(value: object) -> float:
    return min(1.0, _size(value))


def _corners(value: object) -> Corners:
    return tuple((number(x), number(y)) for x, y in sequence(value))
