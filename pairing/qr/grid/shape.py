"""The exact shape of a finder: where its middle is, and how its modules lie in the picture."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from pairing.qr.grid.align import (
    FINE,
    Gray,
    Samples,
    blurred,
    evened,
    movement,
    rectified,
    samples_of,
    settle,
    spread,
)
from pairing.qr.grid.lattice import Float, Points, project

SIZE = 7
"""Modules along a finder."""
_BLURS = (0.8, 0.4)
_HOPELESS = 0.35
"""A fit below this after the first blur is not looked at again."""
_ALIKE = 6
"""Numbers of an affine movement: a finder is too small to show perspective."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A finder: `middle` in pixels, `modules` (2 x 2): pixels for a step of one module right
    (first column) and down; `fit` is the correlation with a finder."""

    middle: Points
    modules: Float
    fit: float


def shape_at(gray: Gray, middle: Points, modules: Float) -> Shape:
    """The finder near a guess. `gray` has 0 for black; the guess may be off by a module, by a third
    in size and in angle."""
    origin = middle - modules @ np.full(2, SIZE / 2)
    guess = np.eye(3)
    guess[:2, :2], guess[:2, 2] = modules, origin
    patch = evened(rectified(gray, guess, SIZE))
    moved, fit = np.zeros(8), 0.0
    for blur in _BLURS:
        soft = blurred(patch, blur * FINE)
        moved, fit = settle(soft, SIZE, moved, _pattern(blur), free=_ALIKE)
        if fit < _HOPELESS:
            break
    found = guess @ movement(moved, SIZE)
    place = project(found, np.full((1, 2), SIZE / 2))[0]
    return Shape(place, found[:2, :2] / found[2, 2], fit)


@functools.cache
def _pattern(blur: float) -> Samples:
    """A finder and the light ring round it."""
    rows, columns = np.indices((SIZE, SIZE)) - SIZE // 2
    rings = np.maximum(np.abs(rows), np.abs(columns))
    signs = np.pad(np.where(rings == 2, -1.0, 1.0), 1, constant_values=-1)
    dark = spread(np.pad(signs, 2), blur, 3)[6:-6, 6:-6]
    return samples_of(dark, np.ones(dark.shape, dtype=bool), 3 * SIZE)
