"""Whether an outline in a picture holds a code: half dark, textured throughout, in a light frame.

The outline is a guess; the quiet zone is looked for near each side, as a line of even light, and
says where the code ends. No finder is needed, so a code counts that has hardly a pixel a module,
and so does another kind of square code. The limits were set on simulated photos and on pictures
without a code (`tests/qr/grid/test_codelike.py`).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pairing.qr.grid.align import Gray, sampled
from pairing.qr.grid.lattice import Points, convex, project, through

MODULES = 37
"""Across a code of unknown version: version 5, the largest of ours."""
_QUIET = 2
"""Modules from a code's edge to the line that is found in its quiet zone."""
_SAMPLES = 96
"""Along and across the picture that is looked at, straightened."""
_REACH = 0.4
"""It shows so many sides of the outline beyond it."""
_FINEST = 50
"""Pixels of the shorter side: twice as many are not needed, and show moire."""
_OFFSETS = np.linspace(-0.21, 0.24, 16)
"""Sides of the outline by which the end of a line may lie outside of it."""
_SLANT = 0.25
_ALONG = np.linspace(0.02, 0.98, 40)
_DARKEST = 6
"""Of 40 points along a line, so many may be dark: noise, and corners cut."""
_NEARER = 0.3
"""Of two lines as light, the nearer one: spreads of the inside for each side of distance."""
_MARGIN = 0.06
"""Sides of the frame that are left out at its edges when the inside is looked at."""
_PARTS = 6
"""Along and across the inside: each part must look like a code."""
_LIKE_ITSELF = 0.11
"""Sides by which the inside is moved, at least, when it is compared with itself."""
_UNIT = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])


@dataclass(frozen=True, slots=True, eq=False)
class Framed:
    """A code within its frame. `code`: its corners (4 x 2 pixels, clockwise), as if it had so many
    `modules`; `score` compares finds in one picture."""

    code: Points
    score: float
    modules: int = MODULES


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Lines in the quiet zone: `corners` (4 x 2 pixels), how much lighter than the inside their
    darker parts are, in spreads of the inside, their mean `light` and how far the four differ."""

    corners: Points
    rise: float
    light: float
    uneven: float


@dataclass(frozen=True, slots=True)
class Inside:
    """What is within a frame. Shares are from black to the light of the frame.

    `contrast`: grey steps. `light`, `darkest`, `lightest`: shares, of all and of its parts.
    `texture`: the least textured part's spread in that of all; `fine`: the mean step from sample to
    sample in that spread; `across`: such steps across in those down. `repeats`: the correlation
    with itself, moved: near 1 for tiles and keys.
    """

    contrast: float
    light: float
    darkest: float
    lightest: float
    texture: float
    fine: float
    across: float
    repeats: float

    @property
    def is_code(self) -> bool:
        """Whether a code may look like this."""
        return (
            self.contrast >= 50
            and 0.33 <= self.light <= 0.62
            and self.darkest >= 0
            and self.lightest <= 0.9
            and self.texture >= 0.4
            and self.fine >= 0.42
            and 0.5 <= self.across <= 2
            and self.repeats <= 0.3
        )


def framed(pictures: Mapping[int, Gray], corners: Points) -> Framed | None:
    """The code whose outline is about `corners` (4 x 2 pixels, clockwise), if it is one.

    `pictures`: the picture, by how many times smaller it was made; those of `corners` are of 1.
    """
    frame = _frame(pictures, corners)
    if frame is None or not 1 <= frame.rise <= 3 or frame.uneven > 0.35:
        return None
    inside = _inside(_straightened(pictures, frame.corners), frame.light)
    if not inside.is_code:
        return None
    edge = _QUIET / (MODULES + 2 * _QUIET)
    code = project(through(_UNIT, frame.corners), _UNIT * (1 - 2 * edge) + edge)
    return Framed(code, frame.rise * inside.texture)


def _straightened(pictures: Mapping[int, Gray], corners: Points) -> Gray:
    """The outline as a square, with _REACH round it."""
    sides = np.roll(corners, -1, axis=0) - corners
    lengths = np.hypot(sides[:, 0], sides[:, 1])
    short = min(lengths[0] + lengths[2], lengths[1] + lengths[3]) / 2
    times = max(times for times in pictures if times == 1 or short / times >= _FINEST)
    steps = (np.arange(_SAMPLES) + 0.5) / _SAMPLES * (1 + 2 * _REACH) - _REACH
    u, v = np.meshgrid(steps, steps)
    at = project(through(_UNIT, corners), np.stack((u.ravel(), v.ravel()), axis=1))
    return sampled(pictures[times], at / times).reshape(_SAMPLES, _SAMPLES)


def _sample(value: float) -> int:
    """The sample at so many sides from the outline's start."""
    return int((value + _REACH) / (1 + 2 * _REACH) * _SAMPLES)


def _frame(pictures: Mapping[int, Gray], corners: Points) -> Frame | None:
    """The lightest line along each side; None if there is none within the picture."""
    patch = _straightened(pictures, corners)
    inner = patch[_sample(0.2) : _sample(0.8), _sample(0.2) : _sample(0.8)]
    mean, spread = float(inner.mean()), max(1.0, float(inner.std()))
    ends, places = _lines()
    slant, apart = np.abs(ends[:, 0] - ends[:, 1]), np.abs(ends.sum(axis=1)) / 2
    lines, lights, rises = [], [], []
    for turns in range(4):
        values = np.sort(np.rot90(patch, turns).ravel()[places], axis=1)
        dark = values[:, _DARKEST]
        best = int(np.argmax(dark - spread * (_SLANT * slant + _NEARER * apart)))
        rises.append(float(dark[best] - mean) / spread)
        if rises[-1] < 1:
            return None  # most outlines end here
        lights.append(float(values[best].mean()))
        lines.append(_line(turns, ends[best]))
    found = _corners(lines)
    if found is None:
        return None
    placed = project(through(_UNIT, corners), found)
    high, wide = pictures[1].shape
    if not convex(placed) or placed.min() < 0 or np.any(placed.max(axis=0) > (wide, high)):
        return None
    light = sum(lights) / 4
    return Frame(placed, min(rises), light, (max(lights) - min(lights)) / max(1.0, light - mean))


@functools.cache
def _lines() -> tuple[Points, NDArray[np.int64]]:
    """Lines above the upper side: how far outside each begins and ends (k x 2), and the samples
    along it (k x 40) in the straightened picture."""
    pairs = (pair for pair in itertools.product(_OFFSETS, repeat=2))
    ends = np.array([pair for pair in pairs if abs(pair[0] - pair[1]) < _SLANT])
    height = -(ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * _ALONG)
    rows, columns = (
        ((values + _REACH) / (1 + 2 * _REACH) * _SAMPLES).astype(np.int64)
        for values in (height, _ALONG)
    )
    return ends, rows * _SAMPLES + columns


def _line(turns: int, ends: Points) -> Points:
    """Start and end of a line (2 x 2, sides of the outline), turned back as often as the picture
    was turned for it to be above."""
    points = np.array([(0.0, -ends[0]), (1.0, -ends[1])])
    for _ in range(turns):
        points = np.stack((1 - points[:, 1], points[:, 0]), axis=1)
    return points


def _corners(lines: list[Points]) -> Points | None:
    """Where each line meets the next, clockwise from the top left; None if two do not."""
    found = []
    for (a, b), (c, d) in zip(lines, (*lines[1:], lines[0]), strict=True):
        both = np.stack((b - a, c - d), axis=1)
        if abs(float(np.linalg.det(both))) < 0.1:
            return None
        found.append(a + np.linalg.solve(both, c - a)[0] * (b - a))
    corners = np.array(found)
    return corners if convex(corners) else corners[::-1]


def _inside(patch: Gray, light: float) -> Inside:
    low, high = _sample(_MARGIN), _sample(1 - _MARGIN)
    side = (high - low) // _PARTS
    inner = patch[low : low + side * _PARTS, low : low + side * _PARTS].astype(np.float64)
    parts = inner.reshape(_PARTS, side, _PARTS, side)
    means, spreads = parts.mean(axis=(1, 3)), parts.std(axis=(1, 3))
    spread, black = max(1.0, float(inner.std())), float(np.percentile(inner, 5))
    contrast = max(1.0, light - black)
    shares = (means - black) / contrast
    across, down = (max(0.1, float(np.abs(np.diff(inner, axis=axis)).mean())) for axis in (1, 0))
    return Inside(
        contrast=contrast,
        light=float(shares.mean()),
        darkest=float(shares.min()),
        lightest=float(shares.max()),
        texture=float(spreads.min()) / spread,
        fine=(across + down) / 2 / spread,
        across=across / down,
        repeats=_repeats(inner),
    )


def _repeats(inner: Points) -> float:
    """The largest correlation with itself when moved, and what leaves it at one side comes in at
    the other (Wiener-Khinchin)."""
    power = np.abs(np.fft.fft2(inner - inner.mean())) ** 2
    alike = np.fft.ifft2(power).real
    if alike[0, 0] <= 0:
        return 1.0
    near = round(_LIKE_ITSELF * _SAMPLES / (1 + 2 * _REACH))
    moved = np.roll(alike, (near - 1, near - 1), axis=(0, 1))
    moved[: 2 * near - 1, : 2 * near - 1] = 0
    return float(moved.max() / alike[0, 0])
