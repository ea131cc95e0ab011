"""An area that looks like a code where none was located: too small in the photo, or too flat.

Only for the reason that the photographer is told; nothing is read here. No finder patterns are
needed. The picture is cut into cells of several sizes. What is textured in both directions (the
smaller eigenvalue of the structure tensor: edges alone have a small one) and lighter than half of
what is round it grows from the strongest cell; console text is as textured, but mostly black. The
square that such an area would be, seen from somewhere, follows from its moments;
`pairing.qr.grid.framed` then looks whether it is a code within a light frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pairing.qr.grid.align import Gray
from pairing.qr.grid.framed import Framed, framed
from pairing.qr.grid.lattice import Float, Points, area, convex
from pairing.qr.reading import Seen

SIDE = 1600
"""Pixels of the longer side of the picture that is searched: what messengers send."""
REDUCED = (1, 2, 4, 8)
"""How many times smaller the picture is made, so that a code is 9 to 18 cells wide in one of them.
"""
_CELL = 4
"""Pixels; cells have twice as many, and in the largest picture as many too, for small codes."""
_SEEDS = 3
"""Areas looked at for each size of cells."""
_WEAKEST = 60.0
"""Squared grey steps a pixel: texture of less is none."""
_NOISE = 400.0
"""At most so much of the texture, where half of the cells have it, is taken for noise."""
_GROWS = 0.3
"""Share of the strongest cell's texture that others of one area have."""
_LIGHT = 0.45
"""Share of the strongest cell's light above black that others have."""
_ROUND = 12
"""Cells round the strongest one within which the darkest is black."""
_FEWEST, _MOST = 16, 1200
"""Cells of an area."""
_SPREAD = 1.5
"""Cells by which an area is wider than what is textured: its cells are smoothed."""
_FILLED = 0.8
"""Share of its square that an area fills."""
_TURNS = np.radians(np.arange(0, 90, 5))
_SQUARE = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]) * math.sqrt(3)
"""Corners of the square whose points have unit variance along both axes."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The picture in squares of `side` pixels: mean `light`, and `texture` in both directions,
    noise taken off (squared grey steps a pixel)."""

    side: int
    light: Gray
    texture: Gray


def code_like(image: Image.Image) -> Seen | None:
    """The area of an 8-bit gray picture that looks most like a code, if one does.

    Corners as if it had 37 modules: those of the code without its quiet zone.
    """
    scale = min(1.0, SIDE / max(image.size))
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BOX)
    pictures = {
        times: np.asarray(image.reduce(times) if times > 1 else image, dtype=np.float32)
        for times in REDUCED
    }
    best: Framed | None = None
    for corners in _outlines(pictures):
        found = framed(pictures, corners)
        if found and (best is None or found.score > best.score):
            best = found
    return _seen(best, scale) if best else None


def _seen(found: Framed, scale: float) -> Seen:
    corners = found.code / scale
    return Seen(
        corners=tuple((round(float(x)), round(float(y))) for x, y in corners),
        pitch=math.sqrt(area(corners)) / found.modules,
        guessed=True,
    )


def _outlines(pictures: dict[int, Gray]) -> Iterator[Points]:
    """Corners (4 x 2 pixels, clockwise) of squares, seen from somewhere, that are textured."""
    for times, gray in pictures.items():
        parts = _parts(gray) if min(gray.shape) > 6 * _CELL else ()
        for larger in (1, 2) if times == 1 else (2,):
            if not parts or min(parts[0].shape) < 6 * larger:
                continue
            side = _CELL * times * larger
            for points in _areas(_cells([_means(part, larger) for part in parts], side)):
                corners = _outline(points, side, spread=_SPREAD)
                if corners is not None:
                    yield corners


def _parts(gray: Gray) -> tuple[Gray, ...]:
    """Means over cells of _CELL pixels: the structure tensor's xx, yy and xy, and the light."""
    here = gray[:-1, :-1]
    across, down = gray[:-1, 1:] - here, gray[1:, :-1] - here
    products = (across * across, down * down, across * down, here)
    return tuple(_means(values, _CELL) for values in products)


def _means(values: Gray, count: int) -> Gray:
    """Of squares of so many values; those left over at the right and the bottom are left out."""
    high, wide = (size // count for size in values.shape)
    rows = values[: high * count, : wide * count].reshape(high, count, -1).mean(axis=1)
    return np.asarray(rows.reshape(high, wide, count).mean(axis=2), dtype=np.float32)


def _cells(parts: list[Gray], side: int) -> Cells:
    xx, yy, xy, light = (_smooth(part) for part in parts)
    texture = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy)
    texture -= min(float(np.median(texture)), _NOISE)
    return Cells(side, light, np.asarray(texture, dtype=np.float32))


def _smooth(values: Gray) -> Gray:
    """Mean over three by three cells."""
    rows = np.pad(values, 1, mode="edge")
    rows = rows[:-2] + rows[1:-1] + rows[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / np.float32(9)


def _areas(cells: Cells) -> Iterator[Points]:
    """Middles of the cells of each area, in pixels."""
    left = cells.texture.copy()
    for _ in range(_SEEDS):
        row, column = (int(place) for place in np.unravel_index(np.argmax(left), left.shape))
        peak = float(left[row, column])
        if peak < _WEAKEST:
            return
        near = (
            slice(max(0, row - _ROUND), row + _ROUND + 1),
            slice(max(0, column - _ROUND), column + _ROUND + 1),
        )
        black, light = float(cells.light[near].min()), float(cells.light[row, column])
        alike = (cells.texture > _GROWS * peak) & (cells.light - black > _LIGHT * (light - black))
        found = _grown(alike, (row, column))
        if len(found) > _MOST:
            left[near] = 0
            continue
        (top, first), (bottom, last) = found.min(axis=0), found.max(axis=0)
        left[top : bottom + 1, first : last + 1] = 0
        if len(found) >= _FEWEST:
            yield np.asarray((found[:, ::-1] + 0.5) * cells.side, dtype=np.float64)


def _grown(alike: NDArray[np.bool_], seed: tuple[int, int]) -> NDArray[np.int64]:
    """Rows and columns of the cells that hang together with `seed`; more than _MOST is enough."""
    free, todo = alike.copy(), [seed]
    free[seed] = False
    found = [seed]
    high, wide = alike.shape
    while todo and len(found) <= _MOST:
        row, column = todo.pop()
        for y, x in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= y < high and 0 <= x < wide and free[y, x]:
                free[y, x] = False
                found.append((y, x))
                todo.append((y, x))
    return np.array(found)


def _outline(points: Points, side: int, *, spread: float = 0.0) -> Points | None:
    """The corners of the square that the cells are, seen from somewhere; None if they are none.

    `spread`: cells by which they reach too far, both ends together. Their second moments say how
    the square is stretched; turned upright, a square's fourth moments are least.
    """
    middle = points.mean(axis=0)
    moments = (points - middle).T @ (points - middle) / len(points) + np.eye(2) * side**2 / 12
    values, directions = np.linalg.eigh(moments)
    stretch = directions * np.sqrt(values)
    if len(points) * side**2 < _FILLED * 12 * math.sqrt(float(np.linalg.det(moments))):
        return None
    even = (points - middle) @ np.linalg.inv(stretch).T
    turn = min((_turn(angle) for angle in _TURNS), key=lambda one: float(((even @ one) ** 4).sum()))
    lengths = np.sqrt(12 * values)
    shorter = np.maximum(lengths - spread * side, lengths / 2) / lengths
    corners: Points = middle + _SQUARE @ turn.T @ (stretch * shorter).T
    return corners if convex(corners) else corners[::-1]


def _turn(angle: float) -> Float:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([(cosine, -sine), (sine, cosine)])
