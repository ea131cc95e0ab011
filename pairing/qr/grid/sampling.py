"""The picture of a located code, sampled module by module. No loops over modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pairing.qr.grid.layout import Bool, Float, size_of

MARGIN = 4
"""Modules sampled round the code: the first ring of the quiet zone and the window beyond it."""
LEVELS_OVER = 3.0
"""Modules (sigma) over which black and white are taken to be the same."""
CONTRAST_OVER = 1.5
"""Modules (half a side) within which contrast is measured."""
ENOUGH_CONTRAST = 0.45
"""Of the median contrast: less lowers the confidence."""
_FAR = 1e6
"""Pixels."""

Reals = NDArray[np.float64]


class Placed(Protocol):
    """A lattice: where the modules of a code of this version lie, `pitch` pixels a module."""

    @property
    def version(self) -> int: ...

    @property
    def pitch(self) -> float: ...

    def pixels(self, points: Reals) -> Reals:
        """(k, 2) module coordinates (across, down) to pixels."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A code as seen: `light` at half a module's pitch, `MARGIN` modules round it included;
    `confidence` (n, n) from 0, lost, to 1."""

    version: int
    light: Float
    confidence: Float


def sampled(gray: Float, lattice: Placed) -> Samples:
    """The picture along the lattice; each sample the mean of 2 x 2 points."""
    n = size_of(lattice.version)
    small, factor, corner = _crop(gray, lattice)
    count = 2 * (n + 2 * MARGIN) + 1
    along = (np.arange(2 * count) - 0.5) / 4 - MARGIN
    across, down = np.meshgrid(along, along)
    at = _pixels(lattice, np.stack([across.ravel(), down.ravel()], axis=1))
    fine, inside = _bilinear(small, ((at - corner) / factor - 0.5).astype(np.float32))
    light = fine.reshape(count, 2, count, 2).mean(axis=(1, 3), dtype=np.float32)
    seen: Bool = np.all(inside.reshape(count, 2, count, 2), axis=(1, 3))
    return Samples(lattice.version, light, _confidence(light, n) * seen[centres(n)])


def centres(n: int) -> tuple[slice, slice]:
    """Which samples are the middles of the modules."""
    middle = slice(2 * MARGIN + 1, 2 * (MARGIN + n), 2)
    return middle, middle


def _pixels(lattice: Placed, points: Reals) -> Reals:
    """Also for points at the horizon of a wrong guess: they lie far beyond the picture."""
    with np.errstate(all="ignore"):
        at = lattice.pixels(points)
    return np.clip(np.nan_to_num(at, nan=-_FAR), -_FAR, _FAR)


def _crop(gray: Float, lattice: Placed) -> tuple[Float, int, Reals]:
    """The part round the code, shrunk by a whole number so that a module has 4 to 8 pixels; that
    number, and the part's top left corner."""
    n, m = size_of(lattice.version), MARGIN
    frame = np.array([(-m, -m), (n + m, -m), (n + m, n + m), (-m, n + m)], dtype=np.float64)
    corners = _pixels(lattice, frame)
    high, wide = gray.shape
    left, top = np.clip(np.floor(corners.min(axis=0)) - 2, 0, (wide - 2, high - 2)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 2, (left + 2, top + 2), (wide, high))
    part = gray[top : int(bottom), left : int(right)]
    factor = max(1, int(lattice.pitch / 4))
    factor = min(factor, *(side // 2 for side in part.shape))
    rows, columns = (side // factor for side in part.shape)
    if factor > 1:
        whole = part[: rows * factor, : columns * factor]
        part = whole.reshape(rows, factor, columns, factor).mean(axis=(1, 3), dtype=np.float32)
    return part.astype(np.float32, copy=False), factor, np.array((left, top), dtype=np.float64)


def _bilinear(picture: Float, at: Float) -> tuple[Float, Bool]:
    """Values at (k, 2) points (column, row; whole numbers are pixel centres), and whether they lie
    in the picture; beyond it the nearest value counts."""
    high, wide = picture.shape
    limit = np.array((wide - 1, high - 1), dtype=np.float32)
    inside: Bool = np.all((at > -1) & (at < limit + 1), axis=1)
    at = np.clip(np.nan_to_num(at), 0, limit - np.float32(1e-3))
    corner = at.astype(np.int32)
    across, down = (at - corner).T
    first = corner[:, 1] * wide + corner[:, 0]
    flat = picture.ravel()
    above = flat[first] * (1 - across) + flat[first + 1] * across
    below = flat[first + wide] * (1 - across) + flat[first + wide + 1] * across
    return above * (1 - down) + below * down, inside


def _confidence(light: Float, n: int) -> Float:
    """min(1, contrast nearby / enough of it) squared."""
    reach = int(2 * CONTRAST_OVER)
    first, width = 2 * MARGIN + 1 - reach, 2 * reach + 1
    rows = np.zeros((n, len(light)), dtype=np.float32)
    for step in range(width):
        rows[np.arange(n), first + 2 * np.arange(n) + step] = 1 / width
    mean = rows @ light @ rows.T
    variance = rows @ (light - light.mean()) ** 2 @ rows.T - (mean - light.mean()) ** 2
    contrast = np.sqrt(np.maximum(variance, 0))
    enough = ENOUGH_CONTRAST * float(np.median(contrast)) + 1e-3
    result: Float = np.minimum(1, contrast / enough) ** 2
    return result


def levelled(light: Float, decided: Float) -> Float:
    """The samples with black at +1 and white at -1, as they are in each neighbourhood."""
    n = len(decided)
    middle = light[centres(n)]
    places = np.arange(len(light)) / 2 - MARGIN - 0.5
    spread = kernel(places, np.arange(n), LEVELS_OVER)
    levels = []
    for sign in (1, -1):
        here = (decided == sign).astype(np.float32)
        usual = float((middle * here).sum() / max(1.0, float(here.sum())))
        weight = spread @ here @ spread.T
        total = spread @ (middle * here) @ spread.T
        levels.append((total + 0.02 * usual) / (weight + 0.02))
    black, white = levels
    half = (white - black) / 2
    least = 0.1 * float(np.median(np.abs(half))) + 1e-3
    result: Float = ((white + black) / 2 - light) / np.maximum(half, least)
    return result


def kernel(at: NDArray[np.generic], of: NDArray[np.generic], sigma: float) -> Float:
    """(len(at), len(of)): Gaussian weights, each row of sum 1."""
    weights = np.exp(-0.5 * (np.subtract.outer(at, of).astype(np.float32) / sigma) ** 2)
    result: Float = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return result
