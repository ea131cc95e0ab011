"""Looks for the three finders of a code where no engine saw them.

Normalised correlation with the finder's four nested squares, by sums over boxes: one small picture
a module size, as each is scaled so that a module has two pixels. Turned and squeezed pictures find
what lies askew.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pairing.qr.grid.lattice import Float

Index = NDArray[np.int64]

_MODULE = 2
"""Pixels a module has in the pictures that are searched."""
_SMALLEST, _STEP, _LARGEST = 2.0, 1.4, 16.0
"""Pixels a module in the picture of at most SIDE pixels; 1.4 apart, a finder loses little."""
SIDE = 700
"""Pixels of the longer side of the picture that is searched."""
_LEAST = 0.38
"""Correlation from which a peak may be a finder; noise reaches it too."""
_PEAKS = 14
_TRIPLES = 6
_SURE = 0.5
"""Three peaks above this end the search among turned and squeezed pictures."""


@dataclass(frozen=True, slots=True)
class View:
    """How the picture is distorted before it is searched for upright squares: made narrower by
    `squeeze` along `direction`, then turned by `turn` (degrees, clockwise)."""

    turn: int = 0
    squeeze: float = 1.0
    direction: int = 0

    @property
    def matrix(self) -> Float:
        """2 x 2, from points of the picture to points of its distorted one, about the centres."""
        along = _rotation(self.direction)
        return _rotation(self.turn) @ along @ np.diag([self.squeeze, 1.0]) @ along.T


def _rotation(degrees: float) -> Float:
    angle = math.radians(degrees)
    return np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])


def _askew(squeeze: float, step: int) -> tuple[View, ...]:
    """Every direction, and in each squares upright and on their tips."""
    return tuple(
        View(turn, squeeze, direction) for direction in range(0, 180, step) for turn in (0, 45)
    )


@dataclass(frozen=True, slots=True)
class Finder:
    """A square that looks like a finder: centre and module in pixels of the picture searched."""

    x: float
    y: float
    module: float
    score: float
    inverted: bool = False
    view: View = View()


@dataclass(frozen=True, slots=True, eq=False)
class Triple:
    """Three finders that may belong to one code: `centres` (3 x 2 pixels) at the top left, top
    right and bottom left; `module` in pixels; `score` 0..1."""

    centres: Float
    module: float
    score: float
    inverted: bool

    @property
    def sure(self) -> bool:
        """Whether searching further is not worth it before this one has been looked at."""
        return self.score > _SURE


EASY = ((View(),), (View(45),), _askew(0.7, 45))
HARD = (_askew(0.5, 30),)
"""Stages: the next is searched only if those before led to no code."""


def triples(image: Image.Image, *, hard: bool = False) -> Iterator[list[Triple]]:
    """After each stage, the triples that it adds, best first, in pixels of `image` (gray).

    To be searched as long as none of them turns out to be a code.
    """
    scale = min(1.0, SIDE / max(image.size))
    small = _resized(image, scale, scale) if scale < 1 else image
    found: list[Finder] = []
    seen: list[Triple] = []
    for stage in (*EASY, *HARD) if hard else EASY:
        for view in stage:
            found = strongest([*found, *_finders(small, view)])
        fresh = [t for t in matched(found) if not any(_same(t, other) for other in seen)]
        seen += fresh
        yield [
            Triple(t.centres / scale, t.module / scale, t.score, t.inverted)
            for t in fresh[:_TRIPLES]
        ]


def _same(one: Triple, other: Triple) -> bool:
    return bool(np.abs(one.centres - other.centres).max() < 2 * one.module)


def _finders(image: Image.Image, view: View) -> Iterator[Finder]:
    """All peaks of one view, in the pixels of `image`."""
    seen = _distorted(image, view)
    back = np.linalg.inv(view.matrix)
    module = _SMALLEST
    while module < _LARGEST and min(seen.size) > 21 * module:
        factor = _MODULE / module
        small = _resized(seen, factor, factor) if factor < 1 else seen
        ratio = seen.width / small.width, seen.height / small.height
        for x, y, score in _peaks(correlation(np.asarray(small))):
            off = np.array([x * ratio[0] - seen.width / 2, y * ratio[1] - seen.height / 2])
            at = back @ off + (image.width / 2, image.height / 2)
            size = module / math.sqrt(view.squeeze)
            yield Finder(float(at[0]), float(at[1]), size, abs(score), score < 0, view)
        module *= _STEP


def _distorted(image: Image.Image, view: View) -> Image.Image:
    if view == View():
        return image
    matrix, half = view.matrix, np.array([image.width / 2, image.height / 2])
    size = np.ceil(np.abs(matrix) @ half * 2)
    back = np.linalg.inv(matrix)
    shift = half - back @ (size / 2)
    rows = [*back[0], shift[0], *back[1], shift[1]]
    return image.transform(
        (int(size[0]), int(size[1])),
        Image.Transform.AFFINE,
        [float(number) for number in rows],
        Image.Resampling.BILINEAR,
        fillcolor=128,
    )


def correlation(gray: NDArray[np.uint8]) -> NDArray[np.float32]:
    """-1..1 for each place where a finder of _MODULE pixels a module fits wholly in the picture.

    Negative where it would be one in light on dark.
    """
    dark = 255 - gray.astype(np.uint32)
    total, squares = _summed(dark), _summed(dark * dark)
    boxes = [_box(total, modules) for modules in (9, 7, 5, 3)]
    whole, seven, five, three = (box.astype(np.float32) for box in boxes)
    cells = float(81 * _MODULE**2)
    spread = _box(squares, 9).astype(np.float32) - whole * whole / cells
    ink = seven - five + three
    # 33 of the 81 modules are dark.
    both = np.sqrt(np.maximum(spread, cells * 9) * (33 * 48 / 81 * _MODULE**2))
    return np.asarray((ink - whole * (33 / 81)) / both, dtype=np.float32)


def _summed(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Sums over everything above and to the left. They wrap, which differences do not mind."""
    down = np.cumsum(np.pad(values, ((1, 0), (1, 0))), axis=0, dtype=np.uint32)
    return np.cumsum(down, axis=1, dtype=np.uint32)


def _box(total: NDArray[np.uint32], modules: int) -> NDArray[np.uint32]:
    """Sums over squares of so many modules round the places where nine fit."""
    cut, side = (9 - modules) * _MODULE // 2, modules * _MODULE
    high, wide = total.shape
    rows, columns = high - 9 * _MODULE, wide - 9 * _MODULE
    top, below = slice(cut, cut + rows), slice(cut + side, cut + side + rows)
    left, right = slice(cut, cut + columns), slice(cut + side, cut + side + columns)
    return total[below, right] - total[top, right] - total[below, left] + total[top, left]


def _peaks(score: NDArray[np.float32]) -> Iterator[tuple[float, float, float]]:
    """The strongest places (x, y in pixels, score) at least three modules apart."""
    strength = np.abs(score)
    rows, columns = np.nonzero(strength > _LEAST)
    values = strength[rows, columns]
    if len(values) > 4000:
        keep = np.argpartition(values, -4000)[-4000:]
        rows, columns, values = rows[keep], columns[keep], values[keep]
    half, apart = 9 * _MODULE / 2, 3 * _MODULE
    for _ in range(_PEAKS):
        if not len(values):
            return
        best = int(values.argmax())
        y, x = int(rows[best]), int(columns[best])
        yield x + half, y + half, float(score[y, x])
        far = np.maximum(np.abs(rows - y), np.abs(columns - x)) > apart
        rows, columns, values = rows[far], columns[far], values[far]


def strongest(found: list[Finder]) -> list[Finder]:
    """The best of all sizes and views, each place once."""
    kept: list[Finder] = []
    for finder in sorted(found, key=lambda f: -f.score):
        near = (
            math.hypot(k.x - finder.x, k.y - finder.y) / max(k.module, finder.module) for k in kept
        )
        if all(distance > 4 for distance in near):
            kept.append(finder)
        if len(kept) == _PEAKS:
            break
    return kept


def matched(found: list[Finder]) -> list[Triple]:
    """The triples that can be the finders of one code, best first.

    Seen as one of its finders was seen, undistorted, a code has a right angle and equal legs.
    """
    if len(found) < 3:
        return []
    threes = np.array(list(itertools.permutations(range(len(found)), 3)))
    points = np.array([(f.x, f.y) for f in found])
    legs = points[threes[:, 1:]] - points[threes[:, :1]]
    # A code is not seen from behind: right, then down goes clockwise.
    threes, legs = _chosen(_cross(legs) > 0, threes, legs)
    modules = np.array([f.module for f in found])[threes]
    spread = modules.max(axis=1) / modules.min(axis=1)
    module = np.exp(np.log(modules).mean(axis=1))
    size = np.sqrt(_cross(legs)) / module
    inverted = np.array([f.inverted for f in found])[threes]
    alike = (inverted[:, 0] == inverted[:, 1]) & (inverted[:, 0] == inverted[:, 2])
    possible = alike & (spread < 2.3) & (size > 9) & (size < 200)
    matrices = np.array([f.view.matrix for f in found])
    odd = np.min([_oddness(legs, matrices[threes[:, seen]]) for seen in range(3)], axis=0)
    scores = np.array([f.score for f in found])[threes]
    score = scores.min(axis=1) / 2 + scores.mean(axis=1) / 2 - odd - 0.15 * np.log(spread)
    best = [int(row) for row in np.argsort(-score) if possible[row]][: 2 * _TRIPLES]
    return [
        Triple(points[threes[row]], float(module[row]), float(score[row]), bool(inverted[row, 0]))
        for row in best
        if score[row] > 0.1
    ]


def _oddness(legs: Float, matrices: Float) -> Float:
    """How far from a right angle with equal legs, where a finder of it looked like a square."""
    seen = np.einsum("kij,klj->kli", matrices, legs)
    lengths = np.linalg.norm(seen, axis=2)
    product = lengths[:, 0] * lengths[:, 1]
    cosine = np.abs(np.sum(seen[:, 0] * seen[:, 1], axis=1)) / product
    # Squares that stand upright show legs that lie or stand.
    tilt = np.abs(seen[:, 0]).min(axis=1) / lengths[:, 0]
    return np.asarray(
        0.25 * cosine**2 + 0.12 * np.abs(np.log(lengths[:, 0] / lengths[:, 1])) + 0.15 * tilt**2
    )


def _cross(legs: Float) -> Float:
    return np.asarray(legs[:, 0, 0] * legs[:, 1, 1] - legs[:, 0, 1] * legs[:, 1, 0])


def _chosen(rows: NDArray[np.bool_], threes: Index, legs: Float) -> tuple[Index, Float]:
    return threes[rows], legs[rows]


def _resized(image: Image.Image, wide: float, high: float) -> Image.Image:
    size = max(1, round(image.width * wide)), max(1, round(image.height * high))
    return image.resize(
        size, Image.Resampling.BOX if min(wide, high) < 0.6 else Image.Resampling.BILINEAR
    )
