"""From three finders to whole lattices: which version, and where the fourth corner lies.

Held by the three centres, every likely version and place of the fourth point is compared with the
timing, alignment and version patterns; the few best are worth fitting.
"""

from __future__ import annotations

import functools
from collections.abc import Container

import numpy as np

from pairing.qr.grid.align import Gray, evened, sampled
from pairing.qr.grid.finders import Triple
from pairing.qr.grid.lattice import Float, Lattice, convex, project, through
from pairing.qr.grid.layout import known, size_of

_LEAST = 0.28
"""Correlation below which a guess is noise; a right one has 0.4 and more."""
_BEST = 4
_FINDERS_COUNT = 0.35
"""Weight of the finders: they agree with every guess, as they hold it."""
_UNIT = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], dtype=np.float64)


def guesses(gray: Gray, triple: Triple, versions: Container[int] | None = None) -> list[Lattice]:
    """The best lattices over a triple, in pixels of `gray`, with their correlation as `fit`.

    `versions` are those that may be there; None: whatever the distances allow.
    """
    even = evened(gray, max(8, round(9 * triple.module)))
    squares = _squares(triple)
    found: list[Lattice] = []
    for version in _likely(triple, versions):
        places, dark, weight = _pattern(version)
        best: tuple[float, Float] | None = None
        looks = np.stack([sampled(even, project(square, places)) for square in squares])
        scores = _correlations(looks, dark, weight)
        top = int(scores.argmax())
        best = float(scores[top]), squares[top]
        if best[0] >= _LEAST:
            found.append(Lattice(version, best[1] @ _to_unit(version), fit=best[0]))
    return sorted(found, key=lambda lattice: -lattice.fit)[:_BEST]


def _likely(triple: Triple, versions: Container[int] | None) -> list[int]:
    """Versions by the distance of the finders, which are known to a sixth."""
    size = triple.apart + 7
    return [
        version
        for version in range(1, 41)
        if 0.85 * size <= size_of(version) <= 1.18 * size
        and (versions is None or version in versions)
    ]


def _squares(triple: Triple) -> list[Float]:
    """Homographies from the unit square to the finders' centres, one a place of the fourth."""
    corner, right, down = triple.centres
    along, across = right + down - 2 * corner, right - down
    found = []
    for far in np.arange(0.80, 1.30, 0.06):
        for aside in np.arange(-0.18, 0.19, 0.06):
            fourth = corner + along * far + across * aside
            four = np.stack((corner, right, fourth, down))
            if convex(four):
                found.append(through(_UNIT, four))
    return found


def _to_unit(version: int) -> Float:
    """Module coordinates to those of the square between the finders' centres."""
    apart = size_of(version) - 7
    return np.array([[1 / apart, 0, -3.5 / apart], [0, 1 / apart, -3.5 / apart], [0, 0, 1]])


@functools.lru_cache(maxsize=40)
def _pattern(version: int) -> tuple[Float, Float, Float]:
    """Centres of known modules (in the unit square), how dark they are, how much they count."""
    signs = known(version)
    n = len(signs)
    rows, columns = np.nonzero(signs)
    centres = np.stack((columns + 0.5, rows + 0.5), axis=1)
    finder = (rows < 8) & ((columns < 8) | (columns >= n - 8)) | (rows >= n - 8) & (columns < 8)
    weight = np.where(finder, _FINDERS_COUNT, 1.0)
    dark = signs[rows, columns].astype(np.float64)
    return project(_to_unit(version), centres), dark, weight / weight.sum()


def _correlations(looks: Gray, dark: Float, weight: Float) -> Float:
    """Weighted correlation of each row with the pattern."""
    centred = dark - weight @ dark
    mean = looks @ weight
    off = looks - mean[:, None]
    size = np.sqrt(((off * off) @ weight) * float((centred * centred) @ weight))
    return np.asarray((off @ (weight * centred)) / np.maximum(size, 1e-9))
