"""Photos of a screen as a phone takes and a messenger sends them, made from a clean picture.

The chain: a panel of red, green and blue stripes, seen at an angle by a camera whose pixels do not
match the panel's (so moire arises by itself), out of focus, shaken, with reflections and noise,
sharpened, then shrunk and compressed by a messenger. Same picture, severity and seed: same bytes.
"""

from __future__ import annotations

import io
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pairing.testing.screens import picture

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["SEVERITIES", "Severity", "photograph", "picture"]

CAMERA = (2000, 1500)
"""Pixels of the simulated camera."""
_SIDES_FOR = 960
"""Height of the photo for which `Severity.side` is meant."""
MESSENGER_SIDE = 1600
"""Pixels of the longer side after the usual messenger's compression."""
_PANEL_PIXELS = 2_500_000
"""Screens larger than this a third get coarser stripes."""


Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Severity:
    """How bad a photo is. `side` is the code's in a photo of 960 pixels height, from and to; `tilt`
    and the bound of `roll` in degrees; `focus` (blur) and the bound of `shake` in camera pixels;
    `glare` and `noise` in parts of white and steps of 255; `jpeg` a quality.
    """

    side: tuple[int, int]
    tilt: float
    roll: float
    focus: float
    shake: int
    glare: float
    noise: float
    jpeg: int


SEVERITIES = {
    1: Severity(side=(540, 720), tilt=10, roll=3, focus=0.5, shake=1, glare=0, noise=2, jpeg=85),
    2: Severity(side=(500, 620), tilt=20, roll=8, focus=1.0, shake=3, glare=0.2, noise=5, jpeg=75),
    3: Severity(side=(410, 520), tilt=30, roll=20, focus=1.6, shake=5, glare=0.4, noise=9, jpeg=60),
    4: Severity(
        side=(370, 410), tilt=38, roll=45, focus=2.4, shake=9, glare=0.6, noise=14, jpeg=45
    ),
    5: Severity(
        side=(270, 330), tilt=45, roll=180, focus=3, shake=13, glare=0.7, noise=18, jpeg=30
    ),
}
"""From a careful photographer to a hopeless one."""


def photograph(picture: Image.Image, severity: int = 2, seed: int = 0) -> bytes:
    """A JPEG, 1600 pixels wide, of a screen that shows `picture`. `severity` 1 to 5."""
    import numpy as np

    chance, how = random.Random(f"{seed}/{severity}"), SEVERITIES[severity]
    seen = _look_at(picture, how, chance)
    light = _focus(seen, how, chance)
    values = np.asarray(light, dtype=np.float32) * chance.uniform(0.8, 1.3)
    values = _shake(values, how, chance)
    values = _reflect(values, how, chance)
    noise = np.random.default_rng(chance.randrange(2**32)).normal(0, how.noise, values.shape)
    return _send(_image(values + noise.astype(np.float32)), how)


def _code_in(picture: Image.Image) -> tuple[Point, float]:
    """Centre and side of the code in the clean picture; the whole of it if there is none."""
    import zxingcpp

    found = zxingcpp.read_barcode(picture.convert("L"))
    if found is None:
        return (picture.width / 2, picture.height / 2), float(min(picture.size))
    at = found.position
    corners = [(p.x, p.y) for p in (at.top_left, at.top_right, at.bottom_right, at.bottom_left)]
    centre = sum(x for x, _ in corners) / 4, sum(y for _, y in corners) / 4
    return centre, math.dist(corners[0], corners[1])


def _panel(picture: Image.Image) -> Image.Image:
    """Every pixel as three stripes with dark gaps, three rows high."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    rows, columns, _ = pixels.shape
    fine = 3 if rows * columns * 9 < _PANEL_PIXELS * 4 else 1
    if fine == 1:
        return picture.convert("RGB")
    panel = np.repeat(np.repeat(pixels, 3, axis=0), 3, axis=1)
    for stripe in range(3):
        others = [colour for colour in range(3) if colour != stripe]
        panel[:, stripe::3, others] *= 0.25
    panel[2::3] *= 0.55
    return Image.fromarray(np.clip(panel * 1.6, 0, 255).astype(np.uint8))


def _look_at(picture: Image.Image, how: Severity, chance: random.Random) -> Image.Image:
    """Pinhole perspective, sampled without averaging, before a dim wall."""
    from PIL import Image

    corners = _project(picture, how, chance)
    panel = _panel(picture)
    source = [(0, 0), (panel.width, 0), (panel.width, panel.height), (0, panel.height)]
    coefficients = _perspective(corners, source)
    transform, bilinear = Image.Transform.PERSPECTIVE, Image.Resampling.BILINEAR
    seen = panel.transform(CAMERA, transform, coefficients, bilinear)
    mask = Image.new("L", panel.size, 255).transform(CAMERA, transform, coefficients)
    wall = Image.new("RGB", CAMERA, (70, 66, 60))
    return Image.composite(seen, wall, mask)


def _project(picture: Image.Image, how: Severity, chance: random.Random) -> list[Point]:
    """Where the picture's corners fall in the photo, whose middle is about the code's."""
    wide, high = CAMERA
    (x, y), side = _code_in(picture)
    scale = chance.uniform(*how.side) / side * high / _SIDES_FOR
    left, top, right, bottom = -x, -y, picture.width - x, picture.height - y
    towards, roll = chance.uniform(0, 2 * math.pi), math.radians(chance.uniform(-1, 1) * how.roll)
    around = [math.radians(how.tilt) * part(towards) for part in (math.cos, math.sin)]
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    seen = (_turned(u * scale / high, v * scale / high, around, roll) for u, v in corners)
    middle = wide * chance.uniform(0.45, 0.55), high * chance.uniform(0.45, 0.55)
    return [(middle[0] + u * high, middle[1] + v * high) for u, v in seen]


def _turned(x: float, y: float, around: list[float], roll: float) -> Point:
    """A point of the screen as seen from 2.5 photo heights away, turned about three axes."""
    x, y = x * math.cos(roll) - y * math.sin(roll), x * math.sin(roll) + y * math.cos(roll)
    x, depth = x * math.cos(around[0]), x * math.sin(around[0])
    y, depth = (
        y * math.cos(around[1]) - depth * math.sin(around[1]),
        depth + y * math.sin(around[1]),
    )
    away = 2.5
    return x * away / (away + depth), y * away / (away + depth)


def _perspective(photo: list[Point], source: list[tuple[int, int]]) -> tuple[float, ...]:
    """Pillow's eight coefficients: from points in the photo to points in the source."""
    import numpy as np

    rows: list[list[float]] = []
    for (x, y), (u, v) in zip(photo, source, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    right = [float(number) for point in source for number in point]
    return tuple(float(number) for number in np.linalg.solve(np.array(rows), np.array(right)))


def _focus(seen: Image.Image, how: Severity, chance: random.Random) -> Image.Image:
    from PIL import ImageFilter

    return seen.filter(ImageFilter.GaussianBlur(how.focus * chance.uniform(0.7, 1.3)))


def _shake(values: Any, how: Severity, chance: random.Random) -> Any:
    """Averages the picture along a short path, as an unsteady hand does."""
    import numpy as np

    length = chance.randint((how.shake + 1) // 2, how.shake)
    angle = chance.uniform(0, math.pi)
    steps = [(round(i * math.cos(angle)), round(i * math.sin(angle))) for i in range(length)]
    return sum(np.roll(values, step, axis=(1, 0)) for step in steps) / length


def _reflect(values: Any, how: Severity, chance: random.Random) -> Any:
    """One or two soft bright spots, as of a lamp behind the photographer."""
    import numpy as np

    high, wide = values.shape[:2]
    down, across = np.mgrid[0:high:8, 0:wide:8].astype(np.float32)
    glow = np.zeros_like(down)
    for _ in range(chance.randint(1, 2)):
        x, y = chance.uniform(0.2, 0.8) * wide, chance.uniform(0.2, 0.8) * high
        radius = chance.uniform(0.05, 0.2) * wide
        glow += np.exp(-((across - x) ** 2 + (down - y) ** 2) / radius**2)
    spread = np.repeat(np.repeat(glow, 8, axis=0), 8, axis=1)[:high, :wide]
    return values + (255 * how.glare * spread)[..., None]


def _image(values: Any) -> Image.Image:
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _send(photo: Image.Image, how: Severity) -> bytes:
    """The phone sharpens and stores; the messenger shrinks and compresses again."""
    from PIL import Image, ImageFilter

    stored = io.BytesIO()
    photo.filter(ImageFilter.UnsharpMask(2, 60, 2)).save(stored, "JPEG", quality=90)
    sent = Image.open(stored)
    sent.thumbnail((MESSENGER_SIDE, MESSENGER_SIDE), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    sent.save(out, "JPEG", quality=how.jpeg)
    return out.getvalue()
