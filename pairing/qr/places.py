"""Where codes lie in a photo, roughly. Pure."""

from __future__ import annotations

from pairing.qr.reading import Corners


def overlap(one: Corners, other: Corners) -> bool:
    """Whether the two boxes share more than a quarter of the smaller one."""
    a, b = box(one), box(other)
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared * 4 > smaller


def box(corners: Corners) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the points."""
    across, down = [x for x, _ in corners] or [0], [y for _, y in corners] or [0]
    return min(across), min(down), max(across), max(down)
