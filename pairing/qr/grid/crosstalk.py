"""What neighbouring modules add to each other's samples in a blurred photo, taken away again.

The equaliser of `softbits` decides each module by itself. Here all are decided together, in rounds:
from the bits as believed so far, how a module and its neighbours make the samples round it (blur,
shake, sharpening: one linear model a photo) and how they are scattered is estimated; with that,
each bit is weighed again, its neighbours' part subtracted. Several photos of one code differ in
their models and share the bits, so their evidence adds up. (In telecommunications: turbo
equalisation with a blindly estimated channel.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pairing.qr.grid.layout import Float
from pairing.qr.grid.sampling import MARGIN, Samples, levelled

REACH = 3
"""Samples, half a module apart, looked at on each side of a module's middle."""
NEAR = 2
"""Modules on each side that may add to those samples."""
PASSES, ROUNDS = 2, 4
"""How often black and white are measured again, and how often the bits are weighed for each."""
DAMPING = 0.5
"""Share of the new belief: bits that depend on each other must not swing."""
FLOOR = 0.02
"""Scatter that is always assumed, of the mean over the samples."""
FIRST_BELIEF = 0.98
CLIP = 8.0
"""Log likelihood ratio that counts as certain."""
_MIDDLE = (2 * NEAR + 1) ** 2 // 2


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Samples round each module (modules, window) in one photo, and the confidence of each."""

    window: Float
    weight: Float


def weighed_together(several: Sequence[Samples], values: Float, certain: Float) -> Float:
    """(n, n) from -1, surely light, to 1, surely dark: the bits of one code seen in these photos.

    `values` (n, n) is what is believed at first, `certain` (n, n) +1 or -1 where a module is known.
    """
    belief = np.where(certain != 0, certain, np.clip(values, -FIRST_BELIEF, FIRST_BELIEF))
    evidence = np.zeros_like(belief)
    for _ in range(PASSES):
        decided = np.where(belief > 0, np.float32(1), np.float32(-1))
        photos = [_seen(samples, decided) for samples in several]
        for _ in range(ROUNDS):
            around = _neighbours(belief)
            total = sum((_evidence(photo, around) for photo in photos), np.float32(0))
            evidence = np.reshape(total, belief.shape)
            fresh = (1 - DAMPING) * belief + DAMPING * np.tanh(evidence / 2)
            belief = np.where(certain != 0, certain, fresh).astype(np.float32)
    known_ones = np.where(certain != 0, certain * CLIP, evidence)
    result: Float = (np.clip(known_ones, -CLIP, CLIP) / CLIP).astype(np.float32)
    return result


def _seen(samples: Samples, decided: Float) -> _Seen:
    n = len(decided)
    first = 2 * MARGIN + 1 - REACH
    light = np.clip(levelled(samples.light, decided), -3, 3)
    views = sliding_window_view(light, (2 * REACH + 1, 2 * REACH + 1))
    views = views[first : first + 2 * n - 1 : 2, first : first + 2 * n - 1 : 2]
    return _Seen(views.reshape(n * n, -1), samples.confidence.reshape(n * n, 1))


def _neighbours(belief: Float) -> Float:
    """(modules, neighbours and the module itself, and a 1): what is believed of each; light beyond
    the code."""
    side = 2 * NEAR + 1
    framed = np.pad(belief, NEAR, constant_values=-1)
    views = sliding_window_view(framed, (side, side)).reshape(belief.size, -1)
    return np.concatenate([views, np.ones((belief.size, 1), dtype=np.float32)], axis=1)


def _evidence(photo: _Seen, around: Float) -> Float:
    """(modules,): log likelihood ratios of dark to light in one photo, times its confidence."""
    weighted = around * photo.weight
    doubt = ((1 - around**2) * photo.weight).sum(axis=0)
    square = weighted.T @ around
    square[np.diag_indices(len(square))] += doubt + 0.1
    model = np.linalg.solve(square, weighted.T @ photo.window).astype(np.float32)
    left = photo.window - around @ model
    scatter = (left * photo.weight).T @ left / (float(photo.weight.sum()) + 1e-3)
    scatter[np.diag_indices(len(scatter))] += FLOOR * float(np.trace(scatter)) / len(scatter) + 1e-6
    look = np.linalg.solve(scatter, model[_MIDDLE]).astype(np.float32)
    own = around[:, _MIDDLE] * float(model[_MIDDLE] @ look)
    result: Float = 2 * (left @ look + own) * photo.weight[:, 0]
    return result
