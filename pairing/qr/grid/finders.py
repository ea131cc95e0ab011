"""Looks for the three finders of a code where no engine saw them.

Normalised correlation with the finder's four nested squares, by sums over boxes: one small picture
a module size, as each is scaled so that a module has two pixels. What looks like a finder is then
fitted exactly; as the others of its code lie in the same plane, the picture is searched once more,
straightened as that finder says. If that leads nowhere, turned and squeezed pictures are searched.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pairing.qr.grid.lattice import Float
from pairing.qr.grid.shape import shape_at

Index = NDArray[np.int64]

SIDE, FINE_SIDE = 700, 1400
"""Pixels of the longer side of the picture that is searched; the latter for small codes."""
_MODULE = 2
"""Pixels a module has in the pictures that are correlated."""
_SMALLEST, _STEP = 2.0, 1.4
"""Pixels a module in the picture searched; 1.4 apart, a finder loses little."""
_NEARLY = 1.2
"""Between sizes where one finder's size is known: perspective makes others larger or smaller."""
_LEAST = 0.3
"""Correlation from which a place is looked at closely; noise reaches it too."""
_PEAKS, _OF_A_SIZE = 22, 3
"""Places looked at closely, and how many of each size come first."""
_FITS = 0.5
"""Correlation of a fitted finder below which it is none."""
_CLEAR = 0.6
"""One above this tells how to straighten the picture."""
_STRAIGHTENED = 3
"""How many finders, at most, are followed so after each stage."""
_REACH = 110
"""Modules from a finder within which the others are looked for: up to version 24."""
_TRIPLES = 6
_CORE = 1.6
"""Sizes that differ more are looked at apart until they have been fitted."""


@dataclass(frozen=True, slots=True, eq=False)
class Finder:
    """Looks like a finder: middle in pixels of the picture searched, `modules` as in `Shape`."""

    middle: Float
    modules: Float
    score: float
    inverted: bool = False

    @property
    def module(self) -> float:
        """Pixels a module."""
        (a, b), (c, d) = self.modules.tolist()
        return math.sqrt(abs(a * d - b * c))


@dataclass(frozen=True, slots=True, eq=False)
class Triple:
    """Three finders that may belong to one code: `centres` (3 x 2 pixels) at the top left, top
    right and bottom left, about `apart` modules from each other; `module` in pixels."""

    centres: Float
    module: float
    apart: float
    score: float
    inverted: bool


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
class Stage:
    """One part of the search: the longer side of the picture searched, how it is distorted, and
    the sizes of modules in it."""

    name: str
    side: int
    views: tuple[View, ...]
    sizes: tuple[float, ...]


_SIZES = tuple(_SMALLEST * _STEP**power for power in range(8))
_EASY = (
    Stage("finders", SIDE, (View(),), _SIZES),
    Stage("tips", SIDE, (View(45),), _SIZES),
    Stage("askew", SIDE, _askew(0.7, 45), _SIZES[1:]),
)
_FAR_ASKEW = Stage("far askew", SIDE, _askew(0.5, 30), _SIZES[1:])
_FINE = (
    Stage("fine", FINE_SIDE, (View(),), _SIZES[:2]),
    Stage("fine tips", FINE_SIDE, (View(45),), _SIZES[:2]),
)


def stages(size: tuple[int, int], *, hard: bool = False) -> tuple[Stage, ...]:
    """What to search in a picture of this size, in order; more when trying hard."""
    fine = _FINE if max(size) > 1.4 * SIDE else ()
    return (*_EASY, *((_FAR_ASKEW,) if hard else ()), *fine)


def searched(size: tuple[int, int]) -> float:
    """Pixels of the picture that is searched first for one of a photo of this size."""
    return min(1.0, SIDE / max(size))


def triples(
    image: Image.Image, todo: Iterable[Stage], single: list[Finder] | None = None
) -> Iterator[tuple[str, list[Triple]]]:
    """Twice a stage, its name and the triples that it adds, best first, in pixels of `image`.

    The second time the picture was straightened as the finders say. `image` is gray. The next is
    to be searched only if those before led to no code. `single` is filled with the finders
    themselves, in pixels of the picture searched first.
    """
    side, found, seen = 0, list[Finder](), list[Triple]()
    for stage in todo:
        if stage.side != side:
            side, followed, found = stage.side, list[Finder](), []
            scale = min(1.0, side / max(image.size))
            small = _resized(image, scale, scale) if scale < 1 else image
            gray = np.asarray(small, dtype=np.float32)
        peaks = [p for view in stage.views for p in _peaks(small, view.matrix, stage.sizes)]
        found = _joined(found, _fitted(gray, strongest(_mixed(peaks), alike=_CORE)))
        if single is not None and side == SIDE:
            single[:] = found
        yield stage.name, _fresh(found, seen, scale)
        clear = [f for f in found if f.score > _CLEAR and not any(f is g for g in followed)]
        for finder in clear[:_STRAIGHTENED]:
            followed.append(finder)
            found = _joined(found, _fitted(gray, strongest(_mixed(_like(small, finder)))))
        yield f"{stage.name} straightened", _fresh(found, seen, scale)


def _fresh(found: list[Finder], seen: list[Triple], scale: float) -> list[Triple]:
    """Triples of what was found that are not among those seen; they are from now on."""
    all_there = [
        Triple(t.centres / scale, t.module / scale, t.apart, t.score, t.inverted)
        for t in matched(found)
    ]
    fresh = [t for t in all_there if not any(_same(t, other) for other in seen)][:_TRIPLES]
    seen += fresh
    return fresh


def _same(one: Triple, other: Triple) -> bool:
    near = bool(np.abs(one.centres - other.centres).max() < 2 * one.module)
    return near and 0.8 < one.module / other.module < 1.25


def _like(image: Image.Image, finder: Finder) -> Iterator[Finder]:
    """What looks like a finder, not too far off, once the picture is straightened as this says."""
    sizes = {max(2.0, finder.module * ratio) for ratio in (1 / _NEARLY, 1, _NEARLY)}
    straight = _inverse(finder.modules) * finder.module
    reach = _REACH * finder.module
    left, top = (max(0, int(value - reach)) for value in finder.middle)
    right, bottom = (
        min(side, int(value + reach) + 1)
        for value, side in zip(finder.middle, image.size, strict=True)
    )
    for peak in _peaks(image.crop((left, top, right, bottom)), straight, sorted(sizes)):
        yield replace(peak, middle=peak.middle + (left, top))


def _peaks(image: Image.Image, matrix: Float, sizes: Iterable[float]) -> Iterator[Finder]:
    """All places, in the pixels of `image`, that look like a finder once it is distorted."""
    seen = _distorted(image, matrix)
    back = _inverse(matrix)
    for module in sizes:
        if min(seen.size) < 21 * module:
            return
        factor = _MODULE / module
        small = _resized(seen, factor, factor) if factor != 1 else seen
        ratio = seen.width / small.width, seen.height / small.height
        for x, y, score in _strong(correlation(np.asarray(small))):
            off = np.array([x * ratio[0] - seen.width / 2, y * ratio[1] - seen.height / 2])
            at = back @ off + (image.width / 2, image.height / 2)
            yield Finder(at, back * module, abs(score), score < 0)


def _inverse(matrix: Float) -> Float:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _distorted(image: Image.Image, matrix: Float) -> Image.Image:
    if np.allclose(matrix, np.eye(2)):
        return image
    half = np.array([image.width / 2, image.height / 2])
    size = np.ceil(np.abs(matrix) @ half * 2)
    back = _inverse(matrix)
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


def _strong(score: NDArray[np.float32]) -> Iterator[tuple[float, float, float]]:
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


def _mixed(peaks: Iterable[Finder]) -> list[Finder]:
    """The best few of each size, then the rest: printed squares of one size must not crowd out a
    finder of another. What is more than _PEAKS is left out."""
    ranked = sorted(peaks, key=lambda f: -f.score)
    of_size: dict[int, int] = {}
    first, rest = list[Finder](), list[Finder]()
    for peak in ranked:
        size = round(2 * math.log(peak.module, _STEP))
        of_size[size] = of_size.get(size, 0) + 1
        (first if of_size[size] <= _OF_A_SIZE else rest).append(peak)
    return [*first, *rest]


def strongest(found: Iterable[Finder], *, alike: float = 99) -> list[Finder]:
    """The first of each place, in order, at most _PEAKS.

    Those whose modules differ by more than `alike` times are kept apart: the core of a finder
    looks like a smaller one from afar.
    """
    ranked = list(found)
    middles = np.array([f.middle for f in ranked]).reshape(-1, 2)
    modules = np.array([f.module for f in ranked])
    left = np.arange(len(ranked))
    kept: list[Finder] = []
    while len(left) and len(kept) < _PEAKS:
        best, left = left[0], left[1:]
        kept.append(ranked[best])
        larger = np.maximum(modules[left], modules[best])
        far = np.hypot(*(middles[left] - middles[best]).T) >= 4 * larger
        left = left[far | (larger >= alike * np.minimum(modules[left], modules[best]))]
    return kept


def _joined(old: list[Finder], new: list[Finder]) -> list[Finder]:
    """Both, the best of each place; those that were there stay the same objects."""
    return strongest(sorted([*old, *new], key=lambda f: -f.score))


def _fitted(gray: NDArray[np.float32], peaks: Iterable[Finder]) -> list[Finder]:
    """Those that are finders on a closer look, with their exact shape."""
    kept = []
    for peak in peaks:
        light = 255 - gray if peak.inverted else gray
        shape = shape_at(light, peak.middle, peak.modules)
        if shape.fit > _FITS:
            finder = Finder(shape.middle, shape.modules, shape.fit, peak.inverted)
            if finder.module > 1.2:
                kept.append(finder)
    return kept


def matched(found: Sequence[Finder]) -> list[Triple]:
    """The triples that can be the finders of one code, best first.

    Measured in the modules of one of its finders, a code has a right angle and equal legs.
    """
    if len(found) < 3:
        return []
    threes = np.array(list(itertools.permutations(range(len(found)), 3)))
    points = np.array([f.middle for f in found])
    legs = points[threes[:, 1:]] - points[threes[:, :1]]
    # A code is not seen from behind: right, then down goes clockwise.
    front = _cross(legs) > 0
    threes, legs = threes[front], legs[front]
    if not len(threes):
        return []
    modules = np.array([f.module for f in found])[threes]
    unequal = modules.max(axis=1) / modules.min(axis=1)
    module = np.exp(np.log(modules).mean(axis=1))
    apart = np.sqrt(_cross(legs)) / module
    inverted = np.array([f.inverted for f in found])[threes]
    alike = (inverted[:, 0] == inverted[:, 1]) & (inverted[:, 0] == inverted[:, 2])
    possible = alike & (unequal < 2) & (apart > 10) & (apart < 190)
    straight = np.linalg.inv(np.array([f.modules for f in found]))
    odd = np.mean([_oddness(legs, straight[threes[:, one]]) for one in range(3)], axis=0)
    scores = np.array([f.score for f in found])[threes]
    score = scores.min(axis=1) / 2 + scores.mean(axis=1) / 2 - odd - 0.2 * np.log(unequal)
    best = [int(row) for row in np.argsort(-score) if possible[row] and score[row] > 0.2]
    return [
        Triple(
            points[threes[row]],
            float(module[row]),
            float(apart[row]),
            float(score[row]),
            bool(inverted[row, 0]),
        )
        for row in best[: 3 * _TRIPLES]
    ]


def _oddness(legs: Float, straight: Float) -> Float:
    """How far from a right angle with equal legs along the sides of a finder."""
    seen = np.einsum("kij,klj->kli", straight, legs)
    lengths = np.linalg.norm(seen, axis=2)
    cosine = np.sum(seen[:, 0] * seen[:, 1], axis=1) / (lengths[:, 0] * lengths[:, 1])
    tilt = np.abs(seen).min(axis=2) / lengths
    unequal = np.log(lengths[:, 0] / lengths[:, 1])
    return np.asarray(0.3 * cosine**2 + 0.3 * np.abs(unequal) + 0.4 * (tilt**2).sum(axis=1))


def _cross(legs: Float) -> Float:
    return np.asarray(legs[:, 0, 0] * legs[:, 1, 1] - legs[:, 0, 1] * legs[:, 1, 0])


def _resized(image: Image.Image, wide: float, high: float) -> Image.Image:
    size = max(1, round(image.width * wide)), max(1, round(image.height * high))
    how = Image.Resampling.BOX if min(wide, high) < 0.6 else Image.Resampling.BILINEAR
    return image.resize(size, how)
