"""From what was seen in a photo without a token to the one reason that its photographer can mend.

Pure. The limits come from simulated photos with one fault each (`tests/qr/test_diagnose.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pairing import errors
from pairing.qr.reading import NATIVE_PREFIX, Corners, Reading, Seen, describe

PLACES = (
    *("top left", "top", "top right"),
    *("left", "middle", "right"),
    *("bottom left", "bottom", "bottom right"),
)
"""Where something is within a code, as the photo shows it: row by row."""

SMALL, RATHER_SMALL = 3.5, 5.0
"""Pixels for a module: below the first hardly any code is read, below the second half of them."""
BLURRED = 0.45
"""Sigma of the blur in modules from which neighbours run into each other."""
BLURRED_PHOTO = 0.3
"""The same for a photo in which nothing was found, if its code filled half of the height."""
SHARP_PHOTO = 2.0
"""Pixels: a photo that is blurred by less is not called so, however small it is."""
FAR = 3.0
"""Pixels that a module would have, seen straight, below which an area that only looks like a code
is one that is too small: a larger one would have been located. How often the reason is right then
is in docs/adr/0027."""
GLARE = 0.06
"""Share of the modules: what was hidden so far was not enough to be lost by itself."""
FLAT = 58.0
"""Degrees from straight before the screen."""
OUTSIDE = 0.02
"""Share of a code's side that a corner may lie outside the photo by mistake of the measurement."""
_MODULES = 37
"""Across a code of unknown version: version 5, the largest of ours."""


@dataclass(frozen=True, slots=True)
class Look:
    """How one unread code lies in the photo: pixels a module, degrees of tilt, blur in modules."""

    pitch: float
    tilt: float
    blur: float


def reason(reading: Reading) -> errors.PhotoError:
    """Why this photo gives no token."""
    name, unread = reading.photo, unread_codes(reading)
    if any(text.startswith(NATIVE_PREFIX) for text in reading.texts):
        return errors.TokenInvalid("(damaged, or of another version)", element=name)
    if unread:
        return of_code(unread[0], reading)
    if reading.texts:
        return errors.ForeignCode(f"It is {describe(reading.texts)}.", element=name)
    for one in reading.seen:
        if one.guessed and (why := of_guess(one, reading)):
            return why
    half = min(reading.width, reading.height) / 2 / _MODULES
    if half and reading.blur > max(SHARP_PHOTO, BLURRED_PHOTO * half):
        return errors.PhotoBlurred(element=name)
    return errors.NoCodeFound(element=name)


def unread_codes(reading: Reading) -> tuple[Seen, ...]:
    """The codes that were seen but not read, the likeliest to be ours first."""
    seen = [one for one in reading.seen if not one.read and not one.guessed]
    seen += [
        Seen(corners)
        for corners in reading.unreadable
        if not any(_same(corners, one.corners) for one in reading.seen)
    ]
    return tuple(sorted(seen, key=lambda one: (one.fit, _size(one.corners)), reverse=True))


def of_code(seen: Seen, reading: Reading) -> errors.PhotoError:
    """Why this code could not be read: the cause that stands out most."""
    name, look = reading.photo, look_at(seen)
    cut = seen.cut or _outside(seen.corners, reading.width, reading.height)
    if cut:
        return errors.CodeCutOff.at(cut, element=name)
    if seen.glare >= GLARE:
        return errors.CodeGlare.at(place(seen.glare_at, seen.corners), element=name)
    if look.tilt >= FLAT and seen.fit:  # an engine's guess at corners is no measure
        return errors.CodeTooFlat(element=name)
    if 0 < look.pitch < SMALL:
        return errors.CodeTooSmall(f"({look.pitch:.1f} pixels a module)", element=name)
    if look.blur >= BLURRED:
        return errors.PhotoBlurred(element=name)
    if 0 < look.pitch < RATHER_SMALL:
        return errors.CodeTooSmall(f"({look.pitch:.1f} pixels a module)", element=name)
    return errors.CodeUnreadable(element=name)


def of_guess(seen: Seen, reading: Reading) -> errors.PhotoError | None:
    """What is wrong with an area that only looks like a code; None if that is not plain.

    Size comes before angle: where the code would be too small even straight from the front, going
    there does not help, and few pixels say little of an angle.
    """
    name, look = reading.photo, look_at(seen)
    straight = look.pitch / math.sqrt(max(1e-3, math.cos(math.radians(look.tilt))))
    if 0 < straight < FAR:
        return errors.CodeTooSmall(f"({straight:.1f} pixels a module)", element=name)
    if look.tilt >= FLAT:
        return errors.CodeTooFlat(element=name)
    if look.blur >= BLURRED:
        return errors.PhotoBlurred(element=name)
    return None


def look_at(seen: Seen) -> Look:
    """Measures of an unread code. Without four corners only what the grid reader said."""
    if len(seen.corners) != 4:
        return Look(seen.pitch, 0.0, 0.0)
    u, v = _middle_lines(seen.corners)
    modules = 17 + 4 * seen.version if seen.version else _MODULES
    pitch = seen.pitch or math.sqrt(abs(u[0] * v[1] - u[1] * v[0])) / modules
    return Look(pitch, _tilt(u, v), seen.blur / pitch if pitch else 0.0)


Vector = tuple[float, float]


def _middle_lines(corners: Corners) -> tuple[Vector, Vector]:
    """From the middle of one side to that of the other: across the code, and down."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = corners
    across = ((bx + cx - ax - dx) / 2, (by + cy - ay - dy) / 2)
    return across, ((dx + cx - ax - bx) / 2, (dy + cy - ay - by) / 2)


def _tilt(u: Vector, v: Vector) -> float:
    """Degrees by which a square with these middle lines is turned away (weak perspective: the
    singular values of the map from square to photo have the cosine as their ratio)."""
    a, b = u[0] ** 2 + u[1] ** 2, v[0] ** 2 + v[1] ** 2
    spread = math.hypot((a - b) / 2, u[0] * v[0] + u[1] * v[1])
    larger, smaller = (a + b) / 2 + spread, max(0.0, (a + b) / 2 - spread)
    return math.degrees(math.acos(min(1.0, math.sqrt(smaller / larger)))) if larger else 0.0


def place(point: tuple[int, int] | None, corners: Corners) -> str:
    """Which of PLACES a point is in the box round `corners`; empty if that is not known."""
    if point is None or not corners:
        return ""
    column, row = (
        min(2, max(0, int(3 * (value - low) / max(1, high - low))))
        for value, low, high in zip(point, *_bounds(corners), strict=True)
    )
    return PLACES[3 * row + column]


def _bounds(corners: Corners) -> tuple[tuple[int, int], tuple[int, int]]:
    across, down = [x for x, _ in corners], [y for _, y in corners]
    return (min(across), min(down)), (max(across), max(down))


def _outside(corners: Corners, width: int, height: int) -> str:
    """The side of the photo that the code runs out of; empty if it lies within."""
    if not corners or not width or not height:
        return ""
    (left, top), (right, bottom) = _bounds(corners)
    out = {"left": -left, "top": -top, "right": right - width, "bottom": bottom - height}
    side = max(out, key=lambda name: out[name])
    return side if out[side] > OUTSIDE * max(right - left, bottom - top) else ""


def _size(corners: Corners) -> int:
    if not corners:
        return 0
    (left, top), (right, bottom) = _bounds(corners)
    return (right - left) * (bottom - top)


def _same(one: Corners, other: Corners) -> bool:
    """Whether the middle of one lies in the box of the other."""
    if not one or not other:
        return False
    middle = sum(x for x, _ in one) / len(one), sum(y for _, y in one) / len(one)
    (left, top), (right, bottom) = _bounds(other)
    return left <= middle[0] <= right and top <= middle[1] <= bottom
