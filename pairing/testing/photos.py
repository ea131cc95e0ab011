"""Photos of a screen as a phone takes and a messenger sends them, made from a clean picture.

The chain: a panel of red, green and blue stripes, seen at an angle by a camera whose pixels do not
match the panel's (so moire arises by itself), light that strays in the lens, out of focus, shaken,
with reflections, flicker and noise, sharpened, and compressed twice, by the phone and a messenger.
Same picture, severity and seed: same bytes. Lengths are pixels of the photo as it is sent.
"""

from __future__ import annotations

import functools
import io
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pairing.testing.screens import picture

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["SEVERITIES", "Area", "Severity", "photograph", "picture"]

PHOTO = (1280, 960)
"""Pixels of a photo after the messenger."""
_NEAREST = 2.5
"""Distance of the camera in heights of the photo."""
_BLACK = 50.0
"""Steps of 255 that a black screen has in a lit room."""
_WALL = 8
"""A dim wall behind it, before gain."""
_BLOOM = 0.08
"""Share of the light that strays round bright places."""
_STRIPE, _GAP = 0.20, 0.53
"""Light of the other two colours in a stripe, and of the dark line between rows of pixels."""
_WHITE = 0.70 * 3 / (1 + 2 * _STRIPE) * 3 / (2 + _GAP)
"""Gain: stripes and gaps together give the eye this share of white."""
_QUIET = 4

Point = tuple[float, float]
Area = tuple[float, float, float, float]
"""Left, top, right, bottom of a code with its quiet zone, in pixels of the clean picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Severity:
    """How bad a photo is. `side`: of the code with its quiet zone, from and to. `tilt` and `roll`
    are bounds in degrees; `focus` is the blur (standard deviation) and `shake` the bound of a
    movement, in pixels; `glare`, `flicker` and `noise` in parts of white; `jpeg` a quality.
    """

    side: tuple[int, int]
    tilt: float
    roll: float
    focus: float
    shake: int
    glare: float
    flicker: float
    noise: float
    jpeg: int


_TABLE = (
    # side        tilt roll focus shake glare flicker noise jpeg
    ((540, 720), 10, 3, 0.35, 1, 0.0, 0.00, 0.008, 85),
    ((500, 620), 20, 8, 0.75, 3, 0.4, 0.01, 0.015, 75),
    ((410, 520), 30, 20, 1.00, 5, 0.7, 0.02, 0.030, 60),
    ((370, 410), 38, 45, 1.35, 7, 0.9, 0.04, 0.045, 45),
    ((270, 330), 45, 180, 2.15, 9, 1.0, 0.06, 0.078, 30),
)
SEVERITIES = {
    number: Severity(
        side=side,
        tilt=tilt,
        roll=roll,
        focus=focus,
        shake=shake,
        glare=glare,
        flicker=flicker,
        noise=noise,
        jpeg=jpeg,
    )
    for number, (side, tilt, roll, focus, shake, glare, flicker, noise, jpeg) in enumerate(
        _TABLE, 1
    )
}
"""From a careful photographer, whose sharp photo shows the panel's raster, to a hopeless one."""


def photograph(
    picture: Image.Image, severity: int = 2, seed: int = 0, area: Area | None = None
) -> bytes:
    """A JPEG of a screen that shows `picture`. `severity` 1 to 5.

    `area`: where the code is, if it is known; else it is looked for. Pose, glare and noise depend
    on severity and seed alone: two screens of the same seed are photographed from the same place.
    """
    import numpy as np
    from PIL import Image

    chance, how = random.Random(f"{seed}/{severity}"), SEVERITIES[severity]
    screen = np.asarray(_see(picture, area or _area_of(picture), how, chance), dtype=np.float32)
    screen *= _WHITE * chance.uniform(0.85, 1.1)
    light = _shake(screen + np.float32(_BLACK), how, chance)
    light = _stray(light)
    light += _reflection(how, chance)
    light *= _flicker(how, chance)
    light += _noise(light, how, chance)
    return _send(Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)), how)


def _area_of(picture: Image.Image) -> Area:
    """The upright code in the clean picture with its quiet zone; the whole of it without one."""
    import zxingcpp

    found = zxingcpp.read_barcode(picture.convert("L"))
    if found is None:
        return (0, 0, picture.width, picture.height)
    at = found.position
    corners = [at.top_left, at.top_right, at.bottom_right, at.bottom_left]
    xs, ys = [p.x for p in corners], [p.y for p in corners]
    said = found.extra if isinstance(found.extra, dict) else {}
    modules = 17 + 4 * int(str(said.get("Version", "5")))
    across, down = (_QUIET * (max(of) - min(of)) / modules for of in (xs, ys))
    return min(xs) - across, min(ys) - down, max(xs) + across, max(ys) + down


def _panel(picture: Image.Image) -> Image.Image:
    """Every pixel as three stripes beside each other, three rows high with a darker gap."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture.convert("RGB"))
    rows, columns, _ = pixels.shape
    stripes = np.empty((rows, columns, 3, 3), dtype=np.uint8)
    steps = np.arange(256, dtype=np.float32)
    beside, between = ((steps * share).astype(np.uint8) for share in (_STRIPE, _GAP))
    for colour in range(3):
        own = pixels[:, :, colour]
        stripes[:, :, :, colour] = beside[own][:, :, None]
        stripes[:, :, colour, colour] = own
    lines = stripes.reshape(rows, columns * 3, 3)
    panel = np.stack((lines, lines, between[lines]), axis=1)
    return Image.fromarray(panel.reshape(rows * 3, columns * 3, 3))


def _see(picture: Image.Image, area: Area, how: Severity, chance: random.Random) -> Image.Image:
    """Pinhole perspective, sampled without averaging, before a dim wall; out of focus."""
    from PIL import Image, ImageFilter

    corners = _corners(picture, area, how, chance)
    panel = _panel(picture)
    source = [(0, 0), (panel.width, 0), (panel.width, panel.height), (0, panel.height)]
    coefficients = _perspective(corners, source)
    transform, bilinear = Image.Transform.PERSPECTIVE, Image.Resampling.BILINEAR
    seen = panel.transform(PHOTO, transform, coefficients, bilinear)
    mask = Image.new("L", panel.size, 255).transform(PHOTO, transform, coefficients)
    seen = Image.composite(seen, Image.new("RGB", PHOTO, (_WALL,) * 3), mask)
    return seen.filter(ImageFilter.GaussianBlur(how.focus * chance.uniform(0.7, 1.3)))


def _corners(picture: Image.Image, area: Area, how: Severity, chance: random.Random) -> list[Point]:
    """Where the picture's corners fall in the photo, whose middle is about the code's."""
    wide, high = PHOTO
    left, top, right, bottom = area
    x, y, side = (left + right) / 2, (top + bottom) / 2, math.sqrt((right - left) * (bottom - top))
    scale = chance.uniform(*how.side) / side / high
    towards, roll = chance.uniform(0, 2 * math.pi), math.radians(chance.uniform(-1, 1) * how.roll)
    tilt = math.radians(how.tilt) * chance.uniform(0.5, 1)
    around = (tilt * math.cos(towards), tilt * math.sin(towards))
    edges = (-x, -y, picture.width - x, picture.height - y)
    order = ((0, 1), (2, 1), (2, 3), (0, 3))
    seen = (_turned(edges[u] * scale, edges[v] * scale, around, roll) for u, v in order)
    middle = wide * chance.uniform(0.45, 0.55), high * chance.uniform(0.47, 0.53)
    return [(middle[0] + u * high, middle[1] + v * high) for u, v in seen]


def _turned(x: float, y: float, around: tuple[float, float], roll: float) -> Point:
    """A point of the screen as seen by the camera, turned about three axes."""
    x, y = x * math.cos(roll) - y * math.sin(roll), x * math.sin(roll) + y * math.cos(roll)
    x, depth = x * math.cos(around[0]), x * math.sin(around[0])
    y, depth = (
        y * math.cos(around[1]) - depth * math.sin(around[1]),
        depth * math.cos(around[1]) + y * math.sin(around[1]),
    )
    return x * _NEAREST / (_NEAREST + depth), y * _NEAREST / (_NEAREST + depth)


def _perspective(photo: list[Point], source: list[tuple[int, int]]) -> tuple[float, ...]:
    """Pillow's eight coefficients: from points in the photo to points in the source."""
    import numpy as np

    rows: list[list[float]] = []
    for (x, y), (u, v) in zip(photo, source, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    right = [float(number) for point in source for number in point]
    return tuple(float(number) for number in np.linalg.solve(np.array(rows), np.array(right)))


def _shake(values: Any, how: Severity, chance: random.Random) -> Any:
    """Averages the picture along a short path, as an unsteady hand does."""
    import numpy as np

    length = chance.randint(1, how.shake)
    angle = chance.uniform(0, math.pi)
    steps = [(round(i * math.cos(angle)), round(i * math.sin(angle))) for i in range(length)]
    total = values.copy()
    for step in steps[1:]:
        total += np.roll(values, step, axis=(1, 0))
    total /= length
    return total


def _stray(light: Any) -> Any:
    """Bloom: some of the light is spread over its surroundings."""
    import numpy as np
    from PIL import Image, ImageFilter

    small = np.clip(light[::8, ::8], 0, 255).astype(np.uint8)
    spread = Image.fromarray(small).filter(ImageFilter.GaussianBlur(3))
    veil = np.asarray(spread.resize(PHOTO, Image.Resampling.BILINEAR), dtype=np.float32)
    light += _BLOOM * veil
    return light


def _reflection(how: Severity, chance: random.Random) -> Any:
    """One or two soft bright spots, as of a lamp behind the photographer."""
    import numpy as np
    from PIL import Image

    wide, high = PHOTO
    down, across = np.mgrid[0:high:8, 0:wide:8].astype(np.float32)
    glow = np.zeros_like(down)
    for _ in range(chance.randint(1, 2)):
        x, y = chance.uniform(0.2, 0.8) * wide, chance.uniform(0.1, 0.9) * high
        radii = [chance.uniform(0.04, 0.14) * wide for _ in range(2)]
        peak = chance.uniform(0.3, 1)
        glow += peak * np.exp(-(((across - x) / radii[0]) ** 2) - ((down - y) / radii[1]) ** 2)
    spots = Image.fromarray(255 * np.float32(how.glare) * glow)
    return np.asarray(spots.resize(PHOTO, Image.Resampling.BILINEAR))[..., None]


def _flicker(how: Severity, chance: random.Random) -> Any:
    """Dark bands of a dimmed backlight, row after row."""
    import numpy as np

    rows = np.arange(PHOTO[1], dtype=np.float32)
    period, start = chance.uniform(40, 160), chance.uniform(0, 2 * math.pi)
    return (1 + how.flicker * np.sin(rows * (2 * math.pi / period) + start))[:, None, None]


def _noise(light: Any, how: Severity, chance: random.Random) -> Any:
    """Of the light itself (shot noise) and of reading it: as much on white as `noise` says."""
    import numpy as np

    field, (wide, high) = _grain(), PHOTO
    parts = []
    for _ in range(3):
        x, y = chance.randrange(field.shape[1] - wide), chance.randrange(field.shape[0] - high)
        parts.append(field[y : y + high, x : x + wide])
    grain = np.stack(parts, axis=2)
    grain *= np.sqrt(np.clip(light, 0, 255) / 255 * 0.6 + 0.4, dtype=np.float32)
    grain *= 255 * how.noise
    return grain


@functools.lru_cache(maxsize=1)
def _grain() -> Any:
    """Normally distributed; every photo cuts its own pieces from it."""
    import numpy as np

    shape = 1700, 2100
    return np.random.default_rng(4917).standard_normal(shape, dtype=np.float32)


def _send(photo: Image.Image, how: Severity) -> bytes:
    """The phone sharpens and stores; the messenger compresses again."""
    from PIL import Image, ImageFilter

    stored, out = io.BytesIO(), io.BytesIO()
    luma, *colours = photo.convert("YCbCr").split()
    sharp = luma.filter(ImageFilter.UnsharpMask(2, 60, 2))
    Image.merge("YCbCr", (sharp, *colours)).save(stored, "JPEG", quality=90)
    Image.open(stored).save(out, "JPEG", quality=how.jpeg)
    return out.getvalue()
