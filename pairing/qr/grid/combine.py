"""Several photos of one screen, none of which is readable alone, read together.

Which photos show the same screen is told by their soft bits: those of one code agree where they
are sure, those of two codes by chance, apart from what all tokens of a kind have in common.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence

import numpy as np

from pairing.qr.grid.layout import VERSIONS, Float, layout, size_of
from pairing.qr.grid.sampling import MARGIN, Samples
from pairing.qr.grid.softbits import SoftBits, summed

__all__ = ["from_bytes", "groups", "likeness", "same_screen", "summed", "to_bytes"]

PARITY = 0.35
"""The last part of a code, which is parity (at level M; most of it at L): two tokens of Kairos have
half of their text in common, but no parity."""
ALIKE = 0.4
"""Likeness from which two photos are taken to show the same code."""
_HEAD = struct.Struct(">Bf?ff?")
"""Version, glare, whether it has a place, that place, whether samples follow."""
_STEPS = 127


def likeness(a: SoftBits, b: SoftBits) -> float:
    """-1 to 1: correlation of the last modules; 0 for codes of different versions."""
    if a.version != b.version:
        return 0.0
    order = layout(a.version).order
    rows, columns = order[int((1 - PARITY) * len(order)) :].T
    one, other = a.values[rows, columns], b.values[rows, columns]
    together = float(np.abs(one) @ np.abs(other))
    return float(one @ other) / together if together > 0 else 0.0


def same_screen(a: SoftBits, b: SoftBits) -> bool:
    """Whether both are the same code, as far as their sure bits tell."""
    return likeness(a, b) >= ALIKE


def groups(several: Sequence[SoftBits]) -> tuple[tuple[int, ...], ...]:
    """Indexes of those that show the same screen, the largest group first; nobody is in two.

    Groups grow from the surest photo; one belongs to it if it is like the mean of those in it.
    """
    left = sorted(range(len(several)), key=lambda index: -_sureness(several[index]))
    found: list[tuple[int, ...]] = []
    while left:
        group = [left.pop(0)]
        for _ in range(len(left)):
            middle = _mean([several[index] for index in group])
            nearest = max(left, key=lambda index: likeness(middle, several[index]))
            if not same_screen(middle, several[nearest]):
                break
            group.append(nearest)
            left.remove(nearest)
        found.append(tuple(sorted(group)))
    return tuple(sorted(found, key=len, reverse=True))


def _sureness(soft: SoftBits) -> float:
    return float(np.abs(soft.values).mean())


def _mean(several: Sequence[SoftBits]) -> SoftBits:
    """Of the bits alone, which is enough to compare."""
    version = several[0].version
    values: Float = np.mean([soft.values for soft in several], axis=0).astype(np.float32)
    return SoftBits(version, values)


def to_bytes(soft: SoftBits) -> bytes:
    """A photo's soft bits and samples, an eighth of a byte exact: about 8 kB for version 4, 55 kB
    for 18. For the pipe between the worker and its owner. Not for sums."""
    x, y = soft.glare_at or (0.0, 0.0)
    head = _HEAD.pack(
        soft.version, soft.glare, soft.glare_at is not None, x, y, soft.samples is not None
    )
    parts = [head, np.rint(soft.values * _STEPS).astype(np.int8).tobytes()]
    if soft.samples is not None:
        parts.append(np.rint(soft.samples.confidence * _STEPS).astype(np.int8).tobytes())
        parts.append(np.clip(np.rint(soft.samples.light), 0, 255).astype(np.uint8).tobytes())
    return b"".join(parts)


def from_bytes(data: bytes) -> SoftBits:
    """What `to_bytes` made. Raises ValueError for anything else: the worker may be subverted."""
    if len(data) < _HEAD.size or data[0] not in VERSIONS:
        raise ValueError("no soft bits")
    version, glare, placed, x, y, sampled = _HEAD.unpack_from(data)
    n = size_of(version)
    shapes = [(n, n), (n, n), (2 * (n + 2 * MARGIN) + 1,) * 2] if sampled else [(n, n)]
    ends = list(itertools.accumulate((rows * columns for rows, columns in shapes), initial=0))
    body = data[_HEAD.size :]
    if len(body) != ends[-1] or not np.isfinite((glare, x, y)).all():
        raise ValueError("soft bits of another length")
    values, *rest = (
        np.frombuffer(body[start:end], dtype=np.int8).reshape(shape)
        for start, end, shape in zip(ends, ends[1:], shapes, strict=False)
    )
    samples = None
    if rest:
        samples = Samples(version, rest[1].view(np.uint8).astype(np.float32), _parts(rest[0]))
    return SoftBits(version, _parts(values), glare, (x, y) if placed else None, samples)


def _parts(steps: np.ndarray[tuple[int, ...], np.dtype[np.int8]]) -> Float:
    return np.clip(steps.astype(np.float32) / _STEPS, -1, 1)
