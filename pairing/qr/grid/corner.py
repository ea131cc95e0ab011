"""From three finders to whole lattices: which version, and where the fourth corner lies.

Held by the three centres, every likely version and place of the fourth point is compared with the
timing, alignment and version patterns; the few best are worth fitting.
"""

from __future__ import annotations

import functools
from collections.abc import Container

import numpy as np

from pairing.qr.grid.align import Gray, evened
from pairing.qr.grid.finders import Triple
from pairing.qr.grid.lattice import Float, Lattice, project
from pairing.qr.grid.layout import known, size_of

_LEAST = 0.28
"""Correlation below which a guess is noise; a right one has 0.4 and more."""
_BEST = 4
_STEP = 3
"""Modules between places of the fourth point: a fit finds the way from half of that."""
_FINDERS_COUNT = 0.35
"""Weight of the finders: they agree with every guess, as they hold it."""


def guesses(gray: Gray, triple: Triple, versions: Container[int] | None = None) -> list[Lattice]:
    """The best lattices over a triple, in pixels of `gray`, with their correlation as `fit`.

    `versions` are those that may be there; None: whatever the distances allow.
    """
    even = evened(gray, max(8, round(9 * triple.module)))
    squares = _squares(triple)
    if not len(squares):
        return []
    found: list[Lattice] = []
    for version in _likely(triple, versions):
        places, dark, weight = _pattern(version)
        scores = _correlations(_looks(even, squares, places), dark, weight)
        top = int(scores.argmax())
        if scores[top] >= _LEAST:
            homography = squares[top] @ _to_unit(version)
            found.append(Lattice(version, homography, fit=float(scores[top])))
    return sorted(found, key=lambda lattice: -lattice.fit)[:_BEST]


def _looks(even: Gray, squares: Float, places: Float) -> Gray:
    """(s, k): the pixel under each of k places as each of s squares lies in the picture."""
    high, wide = even.shape
    flat = np.stack((places[:, 0], places[:, 1], np.ones(len(places)))).astype(np.float32)
    seen = squares.astype(np.float32) @ flat
    x, y = seen[:, 0] / seen[:, 2], seen[:, 1] / seen[:, 2]
    column = np.clip(x, 0, wide - 1).astype(np.int32)
    row = np.clip(y, 0, high - 1).astype(np.int32)
    return np.asarray(even.ravel()[row * wide + column], dtype=np.float32)


def _likely(triple: Triple, versions: Container[int] | None) -> list[int]:
    """Versions by the distance of the finders, which are known to an eighth."""
    size = triple.apart + 7
    return [
        version
        for version in range(1, 41)
        if 0.88 * size - 2 <= size_of(version) <= 1.12 * size + 2
        and (versions is None or version in versions)
    ]


def _squares(triple: Triple) -> Float:
    """(s, 3, 3): homographies from the unit square to the finders' centres, one a place of the
    fourth point. (Heckbert, Fundamentals of Texture Mapping, 1989, 2.2.3: square to quadrangle.)
    """
    corner, right, down = triple.centres
    step = min(0.1, max(0.03, _STEP / triple.apart))
    whole = 0.2 // step * step
    far, aside = (
        axis.ravel()[:, None]
        for axis in np.meshgrid(np.arange(1 - whole, 1.28, step), np.arange(-whole, 0.2, step))
    )
    fourth = corner + (right + down - 2 * corner) * far + (right - down) * aside
    (x1, y1), (x2, y2) = (right - fourth).T, (down - fourth).T
    x, y = (corner - right + fourth - down).T
    below = x1 * y2 - x2 * y1
    g, h = (x * y2 - x2 * y) / below, (x1 * y - x * y1) / below
    # Each corner lies before the camera, so the quadrangle has no dent.
    seen = (below < 0) & (1 + g > 0) & (1 + h > 0) & (1 + g + h > 0)
    g, h = g[seen, None], h[seen, None]
    columns = (right - corner + g * right, down - corner + h * down, corner + 0 * g)
    first = np.stack(columns, axis=2)
    last = np.stack((g, h, np.ones_like(g)), axis=2)
    return np.concatenate((first, last), axis=1)


def _to_unit(version: int) -> Float:
    """Module coordinates to those of the square between the finders' centres."""
    apart = size_of(version) - 7
    return np.array([[1 / apart, 0, -3.5 / apart], [0, 1 / apart, -3.5 / apart], [0, 0, 1]])


@functools.lru_cache(maxsize=40)
def _pattern(version: int) -> tuple[Float, Gray, Gray]:
    """Centres of known modules (in the unit square), how dark they are, how much they count."""
    signs = known(version)
    n = len(signs)
    rows, columns = np.nonzero(signs)
    centres = np.stack((columns + 0.5, rows + 0.5), axis=1)
    finder = (rows < 8) & ((columns < 8) | (columns >= n - 8)) | (rows >= n - 8) & (columns < 8)
    weight = np.where(finder, _FINDERS_COUNT, 1.0)
    weight = (weight / weight.sum()).astype(np.float32)
    return project(_to_unit(version), centres), signs[rows, columns], weight


def _correlations(looks: Gray, dark: Gray, weight: Gray) -> Float:
    """Weighted correlation of each row with the pattern."""
    centred = dark - weight @ dark
    off = looks - (looks @ weight)[:, None]
    size = np.sqrt(((off * off) @ weight) * float((centred * centred) @ weight))
    scores = (off @ (weight * centred)) / np.maximum(size, 1e-9)
    return np.asarray(scores, dtype=np.float64)
