"""Fits a lattice to the picture: Gauss-Newton on the patterns that every code of a version has.

The picture is sampled once into a square patch as the first guess has it, its light evened out;
then the patch is moved under the known pattern, coarsely blurred first. Lengths are in modules.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pairing.qr.grid.lattice import Float, Lattice, project
from pairing.qr.grid.layout import known, size_of

Gray = NDArray[np.float32]

MARGIN = 4
"""Modules of the picture round the code in a patch: how far a pattern may be moved."""
FINE = 4
"""Samples of a patch along a module."""
_WINDOW = 9
"""Modules over which the light is evened out: a finder and its surroundings."""
BLURS = (0.8, 0.5, 0.3)
_WIDE_BLUR = 1.4
"""For a second try from further away."""
_GOOD = 0.8
"""A fit below this is tried once more from the wide blur."""
_ROUNDS = 7
_STILL = 0.004
"""Modules: a step that moves no corner further ends a round."""
_DATA_WEIGHT = 0.5
_MANY = 57
"""Modules along a side from which data modules are sampled once, not nine times: enough of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What is expected where: `a` and `b` are places across and down, -1/2..1/2 over the code;
    `dark` the pattern there less its weighted mean; `weight` with sum 1."""

    a: Float
    b: Float
    dark: Float
    weight: Float

    @property
    def power(self) -> float:
        """Weighted variance of the pattern."""
        return float((self.weight * self.dark) @ self.dark)


def aligned(gray: Gray, guess: Lattice, *, bent: bool = False) -> Lattice:
    """The lattice near a flat `guess` that fits the picture best, with its `fit`.

    `gray` is the picture with 0 for black. The guess may be wrong by about two modules. With
    `bent` the surface may be curved. Where nothing fits, what comes back has a low fit.
    """
    n = guess.size
    patch = evened(rectified(gray, guess.homography, n))
    moved = np.zeros(16 if bent else 8)
    best, fit = _descend(patch, n, guess.version, moved, BLURS)
    if fit < _GOOD and not bent:
        again, other = _descend(patch, n, guess.version, moved, (_WIDE_BLUR, *BLURS))
        best, fit = (again, other) if other > fit else (best, fit)
    if fit > 0.5:
        best, fit = _with_data(patch, guess.version, best, fit)
    homography = guess.homography @ movement(best, n)
    bend = best[8:].reshape(2, 4) * n if bent else None
    return replace(guess, homography=homography / homography[2, 2], bend=bend, fit=max(0.0, fit))


def rectified(gray: Gray, homography: Float, size: int) -> Gray:
    """A square of `size` modules with MARGIN modules round it, FINE samples a module."""
    side = (size + 2 * MARGIN) * FINE
    line = (np.arange(side) + 0.5) / FINE - MARGIN
    u, v = np.meshgrid(line, line)
    at = project(homography, np.stack((u.ravel(), v.ravel()), axis=1))
    return sampled(gray, at).reshape(side, side)


def sampled(gray: Gray, at: Float) -> Gray:
    """Values of the picture at (k, 2) pixels, between pixels by bilinear interpolation.

    Outside the picture its edge goes on.
    """
    high, wide = gray.shape
    x = np.clip(at[:, 0] - 0.5, 0, wide - 1.001).astype(np.float32)
    y = np.clip(at[:, 1] - 0.5, 0, high - 1.001).astype(np.float32)
    left, top = x.astype(np.intp), y.astype(np.intp)
    x -= left
    y -= top
    first = top * wide + left
    flat = gray.ravel()
    upper = flat[first] * (1 - x) + flat[first + 1] * x
    lower = flat[first + wide] * (1 - x) + flat[first + wide + 1] * x
    return np.asarray(upper * (1 - y) + lower * y, dtype=np.float32)


def evened(patch: Gray, window: int = _WINDOW * FINE) -> Gray:
    """Dark positive, light negative, by the mean and spread of the surroundings."""
    mean = box_mean(patch, window)
    spread = box_mean(patch * patch, window) - mean * mean
    # A flat region holds noise only: it must not be blown up to look like modules.
    floor = 0.05 * float(np.mean(spread)) + 1.0
    return np.asarray((mean - patch) / np.sqrt(np.maximum(spread, floor)), dtype=np.float32)


def box_mean(values: Gray, window: int) -> Gray:
    """Mean over a square of `window` samples round each; the edge goes on outside."""
    before = window // 2
    after = window - before
    for _ in range(2):
        padded = np.pad(values, ((0, 0), (before, after)), mode="edge")
        total = np.cumsum(padded, axis=1, dtype=np.float64)
        values = ((total[:, window:] - total[:, :-window]) / window).astype(np.float32).T
    return np.ascontiguousarray(values)


def blurred(values: Gray, sigma: float) -> Gray:
    """Gaussian blur; `sigma` in samples. The edge goes on outside."""
    reach = max(1, round(2.5 * sigma))
    line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (line / line.sum()).astype(np.float32)
    for _ in range(2):
        padded = np.pad(values, ((0, 0), (reach, reach)), mode="edge")
        length = values.shape[1]
        total = padded[:, :length] * weights[0]
        for shift in range(1, len(weights)):
            total += padded[:, shift : shift + length] * weights[shift]
        values = np.ascontiguousarray(total.T)
    return values


@functools.lru_cache(maxsize=48)
def pattern(version: int, blur: float) -> Samples:
    """The modules that are the same in every code of this version, nine samples each."""
    signs = known(version)
    dark = spread(np.pad(signs, 2, constant_values=-1), blur, 3)[6:-6, 6:-6]
    return samples_of(dark, np.kron(signs, np.ones((3, 3))) != 0, len(dark))


def spread(signs: NDArray[np.floating], blur: float, fine: int) -> Float:
    """Modules as `fine` x `fine` samples each, blurred by `blur` modules."""
    sharp = np.kron(signs, np.ones((fine, fine))).astype(np.float32)
    return blurred(sharp, blur * fine).astype(np.float64)


def samples_of(
    dark: Float, chosen: NDArray[np.bool_], size: float, weight: Float | None = None
) -> Samples:
    """The chosen ones of a square of samples that lies over a code of `size` samples a side."""
    rows, columns = np.nonzero(chosen)
    middle = (len(dark) - 1) / 2
    counts = np.ones(len(rows)) if weight is None else weight[rows, columns]
    share, values = counts / counts.sum(), dark[rows, columns]
    a, b = (np.asarray((index - middle) / size, dtype=np.float64) for index in (columns, rows))
    return Samples(a, b, values - share @ values, share)


def _descend(
    patch: Gray, size: int, version: int, start: Float, blurs: tuple[float, ...]
) -> tuple[Float, float]:
    """Movement (8 or 16 numbers) and fit after descending through the blurs."""
    moved, fit = start, 0.0
    for blur in blurs:
        soft = blurred(patch, blur * FINE)
        moved, fit = settle(soft, size, moved, pattern(version, blur))
    return moved, fit


def _with_data(patch: Gray, version: int, start: Float, fit: float) -> tuple[Float, float]:
    """Once more, with the data modules as they look now: they hold what lies between patterns."""
    n = size_of(version)
    soft = blurred(patch, BLURS[-1] * FINE)
    signs = known(version)
    line = (np.arange(n) + 0.5) / n - 0.5
    b, a = (axis.ravel() for axis in np.meshgrid(line, line, indexing="ij"))
    look = sampled(soft, _in_patch(_moved(start, a, b), n)).reshape(n, n)
    seen = np.where(signs == 0, np.clip(look * 1.5, -1, 1), signs)
    fine = 3 if n < _MANY else 2
    dark = spread(np.pad(seen, 2, constant_values=-1), BLURS[-1], fine)
    dark = dark[2 * fine : -2 * fine, 2 * fine : -2 * fine]
    counts = np.where(signs != 0, 1.0, _DATA_WEIGHT).repeat(fine, axis=0).repeat(fine, axis=1)
    every = samples_of(dark, np.ones(dark.shape, dtype=bool), len(dark), counts)
    moved, _ = settle(soft, n, start, every, rounds=3)
    sure = pattern(version, BLURS[-1])
    better = _correlation(sampled(soft, _in_patch(_moved(moved, sure.a, sure.b), n)), sure)
    return (moved, better) if better > fit - 0.02 else (start, fit)


def settle(
    soft: Gray,
    size: int,
    start: Float,
    pattern: Samples,
    *,
    rounds: int = _ROUNDS,
    free: int | None = None,
) -> tuple[Float, float]:
    """Gauss-Newton until nothing moves; returns the best movement and its correlation.

    A movement is 8 numbers of a homography, or 8 more for a bend; only the first `free` change.
    """
    across, down = _slopes(soft)
    moved, best, fit = start, start, -1.0
    for _ in range(rounds):
        places = _moved(moved, pattern.a, pattern.b)
        at = _in_patch(places, size)
        look = sampled(soft, at)
        now = _correlation(look, pattern)
        if now > fit:
            best, fit = moved, now
        slope = sampled(across, at), sampled(down, at)
        jacobian = _jacobian(slope, moved, places, pattern, size * FINE)
        step = _step(look, jacobian[:, :free], pattern)
        if step is None:
            break
        # At most about a module and a half at once: further away the slope says nothing.
        far = float(np.abs(step).max()) * size
        moved = moved.copy()
        moved[:free] += step * min(1.0, 1.5 / (far + 1e-9))
        if far < _STILL:
            break
    return best, fit


def _slopes(soft: Gray) -> tuple[Gray, Gray]:
    """How the patch changes to the right and down, by sample; nothing at its edges."""
    across, down = np.zeros_like(soft), np.zeros_like(soft)
    across[:, 1:-1] = (soft[:, 2:] - soft[:, :-2]) / 2
    down[1:-1] = (soft[2:] - soft[:-2]) / 2
    return across, down


def _correlation(look: Gray, pattern: Samples) -> float:
    off = look - pattern.weight @ look
    power = float((pattern.weight * off) @ off) * pattern.power
    return float((pattern.weight * pattern.dark) @ off) / power**0.5 if power > 0 else 0.0


def _step(look: Gray, jacobian: Float, pattern: Samples) -> Float | None:
    """One Gauss-Newton step; None where the picture does not resemble the pattern at all."""
    weight, off = pattern.weight, look - pattern.weight @ look
    gain = float((weight * off) @ pattern.dark) / pattern.power
    if gain < 0.05:
        return None
    weighted = jacobian.T * weight
    square = weighted @ jacobian
    diagonal = square.ravel()[:: len(square) + 1]
    square.ravel()[:: len(square) + 1] = diagonal * 1.01 + 1e-6 * diagonal.sum()
    return np.asarray(np.linalg.solve(square, weighted @ (gain * pattern.dark - off)))


def _jacobian(
    slope: tuple[Gray, Gray], moved: Float, places: _Places, pattern: Samples, scale: float
) -> Float:
    """(k, 8 or 16): how each number of the movement changes the picture at each place.

    `scale`: samples of the patch along the code.
    """
    a, b, x, y, below = places
    across, down = slope[0] * (scale / below), slope[1] * (scale / below)
    along = -(across * x + down * y)
    rows = np.empty((len(moved), len(a)))
    rows[0], rows[1], rows[2] = across * a, across * b, across
    rows[3], rows[4], rows[5] = down * a, down * b, down
    rows[6], rows[7] = along * a, along * b
    if len(moved) > 8:
        for number, term in enumerate(_bends(pattern.a, pattern.b)):
            rows[8 + number], rows[12 + number] = across * term, down * term
    return rows.T


_Places = tuple[Float, Float, Float, Float, Float]
"""a and b after the bend, x and y after the homography, and what it divided by."""


def _moved(moved: Float, a: Float, b: Float) -> _Places:
    """Where places of the code lie after a movement."""
    if len(moved) > 8:
        bends = np.stack(_bends(a, b))
        a, b = a + moved[8:12] @ bends, b + moved[12:] @ bends
    below = 1 + moved[6] * a + moved[7] * b
    x = ((1 + moved[0]) * a + moved[1] * b + moved[2]) / below
    y = (moved[3] * a + (1 + moved[4]) * b + moved[5]) / below
    return a, b, x, y, below


def _bends(a: Float, b: Float) -> list[Float]:
    across, down = a * a - 0.25, b * b - 0.25
    return [across, down, across * b, down * a]


def _in_patch(places: _Places, size: int) -> Float:
    """(k, 2): those places in samples of the patch."""
    _, _, x, y, _ = places
    middle, scale = (size / 2 + MARGIN) * FINE, size * FINE
    return np.stack((x * scale + middle, y * scale + middle), axis=1)


def movement(moved: Float, size: int) -> Float:
    """The movement as a homography of module coordinates."""
    centred = np.array([[1 / size, 0, -0.5], [0, 1 / size, -0.5], [0, 0, 1]])
    own = np.eye(3) + np.array([moved[0:3], moved[3:6], [moved[6], moved[7], 0]])
    back = np.array([[size, 0, size / 2], [0, size, size / 2], [0, 0, 1]], dtype=np.float64)
    return np.asarray(back @ own @ centred)
