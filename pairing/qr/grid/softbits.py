"""How dark each module of a located code is, with its confidence: soft bits.

A first guess comes from an equaliser, trained on the modules that every code has: it undoes part of
what blur did. Then all bits are weighed together (`crosstalk`), those of several photos as well.
What glare or shadow took is told apart by its lack of contrast. No loops over modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pairing.qr.grid.crosstalk import weighed_together
from pairing.qr.grid.layout import Float, known, size_of
from pairing.qr.grid.sampling import (
    LEVELS_OVER,
    MARGIN,
    Placed,
    Samples,
    centres,
    kernel,
    levelled,
    sampled,
)

WIDE_FROM = 10
"""Version from which the equaliser looks 2.5 modules far instead of 1.5: there is enough to learn
from, and modules are small."""
RIDGE = 3.0 / 200
"""Penalty on the equaliser's weights, a training module."""
SURE = 0.5
"""From this strength on the equaliser learns from its own decisions."""
ROUNDS = 2
TRUST_OF_PARTS = 2.0
"""Half of what a soft bit of 1 counts as log likelihood when photos are added up: less than it
says, for the same blur makes the same mistakes."""
LOST = 0.25
"""Confidence below which a module counts as lost to glare or shadow."""


@dataclass(frozen=True, slots=True, eq=False)
class SoftBits:
    """`values` (n, n) from -1, surely light, to +1, surely dark. `glare` is the share of modules
    without contrast and `glare_at` their middle in pixels. `samples` for learning again; None in a
    sum of photos, which has `parts`."""

    version: int
    values: Float
    glare: float = 0.0
    glare_at: tuple[float, float] | None = None
    samples: Samples | None = None
    parts: tuple[SoftBits, ...] = ()

    @property
    def teachable(self) -> bool:
        """Whether there are pictures to look at again."""
        return bool(_pictures(self))


def soft_bits(gray: Float, lattice: Placed) -> SoftBits:
    """The soft bits of a code in a picture (height, width), 0 black to 255 white."""
    samples = sampled(gray, lattice)
    certain = known(lattice.version)
    values = weighed_together([samples], equalised(samples, certain), certain)
    lost = samples.confidence < LOST
    at = None
    if lost.any():
        rows, columns = np.nonzero(lost)
        middle = np.array([[columns.mean() + 0.5, rows.mean() + 0.5]])
        x, y = lattice.pixels(middle)[0]
        at = float(x), float(y)
    return SoftBits(lattice.version, values, float(lost.mean()), at, samples)


def equalised(samples: Samples, certain: Float) -> Float:
    """(n, n), about -1 to 1: what the equaliser says of each module, times the confidence.

    `certain` (n, n): +1 or -1 for modules that are certain, else 0.
    """
    n = size_of(samples.version)
    framed = np.pad(certain, 1, constant_values=-1)
    confidence = np.pad(samples.confidence, 1, mode="edge")
    reach = 5 if samples.version >= WIDE_FROM else 3
    decided = np.where(certain == 0, _first_look(samples.light, n), certain)
    values = framed
    for _ in range(ROUNDS):
        views = _windows(levelled(samples.light, decided), n, reach)
        sure = np.where(np.abs(values) * confidence >= SURE, np.sign(values), 0)
        target = np.where(framed != 0, framed, sure).astype(np.float32).ravel()
        values = _fitted(views, target, confidence.ravel()).reshape(n + 2, n + 2)
        decided = np.where(certain == 0, np.sign(values[1:-1, 1:-1]), certain)
    result: Float = values[1:-1, 1:-1] * samples.confidence
    return result


def _first_look(light: Float, n: int) -> Float:
    """Darker or lighter than the neighbourhood."""
    middle = light[centres(n)]
    spread = kernel(np.arange(n), np.arange(n), LEVELS_OVER)
    mean = spread @ middle @ spread.T
    return np.where(middle < mean, np.float32(1), np.float32(-1))


def _windows(levelled: Float, n: int, reach: int) -> Float:
    """(modules with their first ring, window): what the equaliser sees of each, and a 1."""
    first = 2 * (MARGIN - 1) + 1 - reach
    views = sliding_window_view(levelled, (2 * reach + 1, 2 * reach + 1))
    views = views[first : first + 2 * n + 3 : 2, first : first + 2 * n + 3 : 2]
    flat = np.clip(views.reshape((n + 2) ** 2, -1), -3, 3)
    return np.concatenate([flat, np.ones((len(flat), 1), dtype=np.float32)], axis=1)


def _fitted(views: Float, target: Float, confidence: Float) -> Float:
    """Ridge regression to the targets that are not 0; its answer for all."""
    chosen = target != 0
    weight = confidence[chosen, None]
    seen = views[chosen]
    weighed = seen * weight
    square = weighed.T @ seen
    square[np.diag_indices(len(square))] += RIDGE * float(weight.sum()) + 1e-3
    weights = np.linalg.solve(square, weighed.T @ target[chosen])
    result: Float = views @ weights.astype(np.float32)
    return result


def learned_from(soft: SoftBits, truth: Float) -> SoftBits:
    """The soft bits again, with more modules known: +1 or -1 in `truth`, else 0."""
    pictures = _pictures(soft)
    if not pictures:
        return soft
    certain = np.where(known(soft.version) == 0, truth, known(soft.version))
    # From the beginning: what is wrong in the old bits would hold on to itself.
    guess = np.mean([equalised(samples, certain) for samples in pictures], axis=0)
    return replace(soft, values=weighed_together(pictures, guess, certain))


def summed(several: Sequence[SoftBits]) -> SoftBits:
    """What several photos of one code say together: where one is blind, others see.

    Weighed together while all have their samples, else the mean. Raises ValueError for none, or
    for different versions.
    """
    parts = tuple(several)
    if len({part.version for part in parts}) != 1:
        raise ValueError("only photos of one code can be summed")
    version = parts[0].version
    mean: Float = np.mean([part.values for part in parts], axis=0).astype(np.float32)
    together = SoftBits(version, mean, parts=parts)
    pictures = _pictures(together)
    if len(parts) < 2 or not pictures:
        return together
    # What each believes of itself, added up, is a far better start than any equaliser's guess.
    guess = np.tanh(TRUST_OF_PARTS * len(parts) * mean)
    return replace(together, values=weighed_together(pictures, guess, known(version)))


def _pictures(soft: SoftBits) -> list[Samples]:
    """The samples of a photo or of all photos of a sum; none if some are missing."""
    several = [part.samples for part in soft.parts or (soft,)]
    return [] if None in several else [samples for samples in several if samples is not None]
