"""A code of which two finders are in sight: cut off by the photo's edge, or under a reflection.

It cannot be read, but its photographer can be told what to do. Two finders that were fitted exactly
say where the others must be: along a side of the code, or across it, in the modules of either.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pairing.qr.grid.finders import Finder
from pairing.qr.grid.lattice import Float
from pairing.qr.reading import Seen

CLEAR = 0.75
"""Fit of a finder that is certainly one."""
_STRAIGHT = 0.12
"""How far the second finder may lie off the line that the first one's modules say."""
_FINDER = 3.5
"""Modules from the middle of a finder to its edge."""
_TEXTURE, _EVEN = 0.5, 0.35
"""Spread of a code's inside, and of a spot without modules, in spreads of a finder."""
_LIGHT = 0.8
"""How bright a reflection is, in the light of the finder's surroundings."""
_HIDDEN = 0.1
"""What is said for the share of hidden modules: a finder and what is round it."""
FIT = 0.7
"""A whole code that fits less is doubted in favour of half a one."""


@dataclass(frozen=True, slots=True, eq=False)
class Square:
    """Where the code would lie: `corners` (4 x 2, clockwise) in pixels, and its size in modules."""

    corners: Float
    modules: int
    others: tuple[Float, ...]
    """Middles of the two corners' places where no finder was found."""

    @property
    def pitch(self) -> float:
        """Pixels a module."""
        sides = self.corners - np.roll(self.corners, 1, axis=0)
        return float(np.hypot(sides[:, 0], sides[:, 1]).mean() / self.modules)


def half_seen(image: Image.Image, found: Sequence[Finder], scale: float) -> Seen | None:
    """The code that two finders in `found` belong to; their pixels are `scale` of those of `image`.

    None if there are no two clear ones, or nothing that looks like a code beside them.
    """
    gray = np.asarray(image, dtype=np.float32)
    clear = [one for one in found if one.score >= CLEAR and not one.inverted]
    for first, second in itertools.combinations(clear, 2):
        whole = [_larger(one, scale) for one in (first, second)]
        light, contrast = _of_finder(gray, whole[0])
        squares = [(_texture(gray, one.corners), one) for one in _squares(*whole)]
        texture, square = max(squares, key=lambda rated: rated[0], default=(0.0, None))
        if square is not None and texture >= _TEXTURE * contrast:
            return _seen(gray, square, light, contrast)
    return None


def _larger(finder: Finder, scale: float) -> Finder:
    return Finder(finder.middle / scale, finder.modules / scale, finder.score)


def _squares(first: Finder, second: Finder) -> Iterator[Square]:
    """On both sides of the line between two finders, if they can be neighbours in one code."""
    along = np.linalg.inv(first.modules) @ (second.middle - first.middle)
    apart = float(np.abs(along).max())
    version = round((apart - 10) / 4)
    if not 1 <= version <= 40 or float(np.abs(along).min()) > _STRAIGHT * apart:
        return
    size = 17 + 4 * version
    step = (second.middle - first.middle) / (size - 2 * _FINDER)
    axis = int(np.abs(along).argmax())
    beside = (first.modules + second.modules)[:, 1 - axis] / 2
    for way in (beside, -beside):
        near = first.middle - _FINDER * (step + way)
        corners = np.stack((near, near + size * step, near + size * (step + way),
                            near + size * way))  # fmt: skip
        far = (size - 2 * _FINDER) * way
        yield Square(corners, size, (first.middle + far, second.middle + far))


def _of_finder(gray: NDArray[np.float32], finder: Finder) -> tuple[float, float]:
    """How bright its light parts are, and how far light and dark are spread."""
    values = _values(gray, _grid(finder.middle, finder.modules * 9, 18))
    return float(np.percentile(values, 90)), float(values.std())


def _texture(gray: NDArray[np.float32], corners: Float) -> float:
    """Spread of what is inside, as far as that is in the picture; 0 where that is little."""
    middle, axes = corners.mean(axis=0), np.stack(
        (corners[1] - corners[0], corners[3] - corners[0]), axis=1
    )  # fmt: skip
    values = _values(gray, _grid(middle, axes * 0.8, 40))
    return float(values.std()) if len(values) > 300 else 0.0


def _grid(middle: Float, axes: Float, count: int) -> Float:
    """Points of a parallelogram round `middle` whose sides are the columns of `axes`."""
    steps = (np.arange(count) + 0.5) / count - 0.5
    both = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    return np.asarray(middle + both @ axes.T, dtype=np.float64)


def _values(gray: NDArray[np.float32], points: Float) -> NDArray[np.float32]:
    at = np.floor(points).astype(np.int64)
    inside = np.all((at >= 0) & (at < (gray.shape[1], gray.shape[0])), axis=1)
    return np.asarray(gray[at[inside, 1], at[inside, 0]], dtype=np.float32)


def _seen(gray: NDArray[np.float32], square: Square, light: float, contrast: float) -> Seen:
    corners = tuple((round(float(x)), round(float(y))) for x, y in square.corners)
    cut = _cut(square, (gray.shape[1], gray.shape[0]))
    hidden = None if cut else _hidden(gray, square, light, contrast)
    return Seen(
        corners=corners,
        version=(square.modules - 17) // 4,
        fit=FIT,
        pitch=square.pitch,
        glare=_HIDDEN if hidden else 0.0,
        glare_at=hidden,
        cut=cut,
    )


def _cut(square: Square, size: tuple[int, int]) -> str:
    """The side of the photo that more than two modules lie beyond; empty if none."""
    low, high = square.corners.min(axis=0), square.corners.max(axis=0)
    beyond = {
        "left": -float(low[0]),
        "top": -float(low[1]),
        "right": float(high[0]) - size[0],
        "bottom": float(high[1]) - size[1],
    }
    side = max(beyond, key=lambda name: beyond[name])
    return side if beyond[side] > 2 * square.pitch else ""


def _hidden(
    gray: NDArray[np.float32], square: Square, light: float, contrast: float
) -> tuple[int, int] | None:
    """Where the third finder should be and everything is bright and even."""
    pitch = square.pitch
    spots = []
    for middle in square.others:
        values = _values(gray, _grid(middle, np.eye(2) * pitch * 2 * _FINDER, 14))
        if len(values) and values.mean() >= _LIGHT * light:
            spots.append((float(values.std()), middle))
    spread, middle = min(spots, key=lambda spot: spot[0], default=(math.inf, np.zeros(2)))
    return (round(middle[0]), round(middle[1])) if spread < _EVEN * contrast else None
