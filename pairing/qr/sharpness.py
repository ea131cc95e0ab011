"""How blurred a picture is, told by its steepest edges. Pillow only; for the photo workers.

An edge between dark and light that was blurred by a Gaussian of sigma s rises over a distance d by
2 * Phi(d / (2 * s)) - 1 of its height (the normal distribution's integral). So the steepest rise
over d pixels, as a part of the picture's contrast, gives s. A shaken photo is blurred in one
direction only, so four are looked at and the worst of a code's counts: a code has edges in all.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

from pairing.qr.reading import Corners

if TYPE_CHECKING:
    from PIL import Image

_SIDE, _CODE_SIDE = 800, 1200
"""A larger picture, or a larger code, is looked at in this size."""
_STEP = 2
"""Pixels over which the rise is measured."""
_SMOOTH = 1
"""Radius of the box that takes the noise out; its own variance is taken off again."""
_SMOOTH_VARIANCE = ((2 * _SMOOTH + 1) ** 2 - 1) / 12
_DIRECTIONS = ((_STEP, 0), (0, _STEP), (1, 1), (1, -1))
_SHARE = 0.98
"""The rise that this share of all pixels stays below is that of an edge, not of noise."""
_TILE, _TILES = 80, 24
"""Side of a tile in pixels, and how many of them count."""
_LEAST_CONTRAST = 16
"""Grey steps below which there is nothing to measure."""


def blur(gray: Image.Image, corners: Corners = ()) -> float:
    """Sigma of the blur in pixels of `gray` (mode L), within the box round `corners` if given.

    0 where there is nothing to measure.
    """
    box = _box(corners, gray.size) if corners else (0, 0, *gray.size)
    if box[2] - box[0] < 8 or box[3] - box[1] < 8:
        return 0.0
    region = gray.crop(box)
    scale = max(1.0, max(region.size) / (_CODE_SIDE if corners else _SIDE))
    if scale > 1:
        from PIL import Image

        size = (round(region.width / scale), round(region.height / scale))
        region = region.resize(size, Image.Resampling.BOX)
    if min(region.size) < 8:
        return 0.0
    smooth = _smoothed(region)
    return scale * (_sigma(smooth, worst=True) if corners else _of_tiles(smooth))


def _smoothed(region: Image.Image) -> Image.Image:
    from PIL import ImageFilter

    return region.filter(ImageFilter.BoxBlur(_SMOOTH))


def _of_tiles(smooth: Image.Image) -> float:
    """The middle one of those of the tiles with most contrast: most of a picture may be empty."""
    tiles = [
        smooth.crop((x, y, x + _TILE, y + _TILE))
        for y in range(0, smooth.height - _TILE + 1, _TILE)
        for x in range(0, smooth.width - _TILE + 1, _TILE)
    ]
    rated = sorted(((_contrast(tile), tile) for tile in tiles or [smooth]), key=lambda r: -r[0])
    telling = [tile for contrast, tile in rated[:_TILES] if 2 * contrast >= rated[0][0]]
    found = sorted(_sigma(tile, worst=False) for tile in telling)
    return found[len(found) // 2]


def _contrast(smooth: Image.Image) -> int:
    seen = smooth.histogram()
    return _percentile(seen, 0.97) - _percentile(seen, 0.03)


def _sigma(smooth: Image.Image, *, worst: bool) -> float:
    contrast = _contrast(smooth)
    if contrast < _LEAST_CONTRAST:
        return 0.0
    spread = sorted(_spread(smooth, direction, contrast, _SHARE) for direction in _DIRECTIONS)
    found = spread[-1] if worst else spread[2]
    return float(max(0.0, found**2 - _SMOOTH_VARIANCE) ** 0.5)


def _spread(smooth: Image.Image, direction: tuple[int, int], contrast: int, share: float) -> float:
    """Sigma of the steepest edges across one direction."""
    from PIL import ImageChops

    across, down = direction
    wide, high = smooth.width - abs(across), smooth.height - abs(down)
    left, top = max(0, -across), max(0, -down)
    here = smooth.crop((left, top, left + wide, top + high))
    there = smooth.crop((left + across, top + down, left + across + wide, top + down + high))
    rise = _percentile(ImageChops.difference(here, there).histogram(), share) / contrast
    rise = min(0.98, max(0.02, rise))
    length = (across * across + down * down) ** 0.5
    return float(length / (2 * NormalDist().inv_cdf((1 + rise) / 2)))


def _percentile(histogram: list[int], share: float) -> int:
    wanted, so_far = share * sum(histogram), 0
    for value, count in enumerate(histogram):
        so_far += count
        if so_far >= wanted:
            return value
    return len(histogram) - 1


def _box(corners: Corners, size: tuple[int, int]) -> tuple[int, int, int, int]:
    across, down = [x for x, _ in corners], [y for _, y in corners]
    left, top = max(0, min(across)), max(0, min(down))
    return left, top, min(size[0], max(across)), min(size[1], max(down))
