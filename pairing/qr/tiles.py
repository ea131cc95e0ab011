"""Which pieces of pictures on a page are one picture that a printer cut up, and how they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SAME_SCALE = 0.03
_PHOTO_SIDE = 600
"""Pixels of a piece's shorter side from which it is a photo of its own, whatever it touches."""
_GAP = 1.5
"""Pixels between two pieces of one picture, or that they lie one over the other."""


@dataclass(frozen=True, slots=True)
class Piece:
    """An upright piece: pixels, and its left and upper end on the page in pixels of its own."""

    size: tuple[int, int]
    left: float
    top: float
    scale: tuple[float, float]
    """Of the page's units for one pixel, across and down."""


def piece(size: tuple[int, int], matrix: Sequence[float] | None) -> Piece | None:
    """Of a picture whose unit square stands at `matrix`; None if it is turned or nobody knows."""
    if matrix is None:
        return None
    across, skew, lean, down, left, bottom = matrix
    if across <= 0 or down <= 0 or abs(skew) + abs(lean) > 1e-3 * (across + down):
        return None
    scale = across / size[0], down / size[1]
    return Piece(size, left / scale[0], -(bottom + down) / scale[1], scale)


def groups(pieces: Sequence[Piece | None]) -> list[list[int]]:
    """Numbers of pieces that belong together, in the order of each group's first."""
    group = list(range(len(pieces)))

    def first(number: int) -> int:
        while group[number] != number:
            group[number] = group[group[number]]
            number = group[number]
        return number

    known = [(number, one) for number, one in enumerate(pieces) if one is not None]
    known.sort(key=lambda one: one[1].top * one[1].scale[1])
    for place, (number, one) in enumerate(known):
        bottom = (one.top + one.size[1] + _GAP) * one.scale[1]
        for other, two in known[place + 1 :]:
            if two.top * two.scale[1] > bottom:
                break
            if _touch(one, two):
                low, high = sorted((first(number), first(other)))
                group[high] = low
    found: dict[int, list[int]] = {}
    for number in range(len(pieces)):
        found.setdefault(first(number), []).append(number)
    return list(found.values())


def _touch(one: Piece, two: Piece) -> bool:
    """Whether they lie beside or below one another, edge to edge, with pixels of one size."""
    if min(*one.size, *two.size) >= _PHOTO_SIDE:
        return False
    for mine, other in zip(one.scale, two.scale, strict=True):
        if abs(mine - other) > _SAME_SCALE * mine:
            return False
    stretch = two.scale[0] / one.scale[0], two.scale[1] / one.scale[1]
    left, top = two.left * stretch[0], two.top * stretch[1]
    right, bottom = left + two.size[0] * stretch[0], top + two.size[1] * stretch[1]
    across = _relation(one.left, one.left + one.size[0], left, right)
    down = _relation(one.top, one.top + one.size[1], top, bottom)
    return {across, down} == {"edge", "same"}


def _relation(start: float, end: float, other: float, other_end: float) -> str:
    """Of two stretches on one line."""
    if abs(start - other) <= _GAP and abs(end - other_end) <= _GAP:
        return "same"
    if abs(end - other) <= _GAP or abs(other_end - start) <= _GAP:
        return "edge"
    return "apart"


def layout(pieces: Sequence[Piece]) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """The whole's size in pixels, and where each piece's left upper corner is in it."""
    across, down = pieces[0].scale
    places = [(one.left * one.scale[0] / across, one.top * one.scale[1] / down) for one in pieces]
    left, top = min(place[0] for place in places), min(place[1] for place in places)
    corners = [(round(place[0] - left), round(place[1] - top)) for place in places]
    width = max(corner[0] + one.size[0] for corner, one in zip(corners, pieces, strict=True))
    height = max(corner[1] + one.size[1] for corner, one in zip(corners, pieces, strict=True))
    return (width, height), corners
