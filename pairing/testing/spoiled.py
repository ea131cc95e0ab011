"""Photos of a code with exactly one fault each, to see whether it is named.

Other than `pairing.testing.photos` this is no model of a camera: one picture in a dim room, and one
thing that is wrong with it. Same fault and seed: same bytes. Sizes in pixels of a photo of 1600 x
1200, as messengers send them.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from pairing.qr import render
from pairing.qr.reading import Corners
from pairing.testing import screens
from pairing.testing.photos import Area, Point
from pairing.testing.tokens import random_token

if TYPE_CHECKING:
    from PIL import Image

SIZE = (1600, 1200)
WALL, BLACK, WHITE = 70, 35, 205
_COLUMNS, _ROWS = 128, 48
_AWAY = 2.5
"""From where the screen is seen, in heights of the photo."""


def photo(fault: str, seed: int = 0) -> bytes:
    """A JPEG of a code with one of FAULTS. `seed` chooses token, pose and strength."""
    chance = random.Random(f"{fault}/{seed}")
    made = FAULTS[fault](chance)
    return sent(made, chance)


def _screen(chance: random.Random, text: str = "") -> Image.Image:
    """A code with its quiet zone, eight pixels a module, between two lines of other things."""
    from PIL import Image

    grid = render.enlarge(render.modules(text or random_token(chance)), 8)
    pixels = bytes(BLACK if module else WHITE for row in grid for module in row)
    return Image.frombytes("L", (len(grid), len(grid)), pixels)


def _console(chance: random.Random) -> tuple[Image.Image, Area]:
    """A console full of text with a code over one side of it, and the code's place without its
    quiet zone."""
    lines = (
        "".join(chance.choices("abcdefghijklmno[]:.      ", k=chance.randint(60, _COLUMNS)))
        for _ in range(_ROWS)
    )
    console = screens.picture("\r\n".join(lines), _COLUMNS, _ROWS).convert("L")
    console = console.point([round(BLACK + (WHITE - BLACK) * step / 255) for step in range(256)])
    code = _screen(chance)
    code = code.resize((2 * code.width, 2 * code.height))
    left, top = chance.choice((16, console.width - code.width - 16)), 16
    console.paste(code, (left, top))
    quiet = 16 * render.QUIET
    right, bottom = left + code.width, top + code.height
    return console, (left + quiet, top + quiet, right - quiet, bottom - quiet)


def in_room(
    screen: Image.Image,
    chance: random.Random,
    *,
    side: float,
    tilt: float = 10,
    away: float = 0.1,
    area: Area | None = None,
) -> tuple[Image.Image, Corners]:
    """The screen in the room; the code is `side` pixels wide if seen straight, `away` from the
    middle. With its corners. `area`: where on the screen the code is, if not all over it."""
    left, top, right, bottom = area or (0, 0, *screen.size)
    middle = [size / 2 + chance.uniform(-away, away) * size for size in SIZE]
    roll = math.radians(chance.uniform(-8, 8))
    towards, lean = chance.choice((0.0, 0.5, 1.0, 1.5)) * math.pi, math.radians(tilt)

    def point(u: float, v: float) -> Point:
        """From pixels of the screen to those of the photo."""
        x, y = ((2 * u - left - right) / (right - left), (2 * v - top - bottom) / (bottom - top))
        x, y = (part * side / SIZE[1] / 2 for part in (x, y))
        x, y = x * math.cos(roll) - y * math.sin(roll), x * math.sin(roll) + y * math.cos(roll)
        along = x * math.cos(towards) + y * math.sin(towards)
        depth = along * math.sin(lean)
        x -= along * (1 - math.cos(lean)) * math.cos(towards)
        y -= along * (1 - math.cos(lean)) * math.sin(towards)
        scale = SIZE[1] * _AWAY / (_AWAY + depth)
        return middle[0] + x * scale, middle[1] + y * scale

    def quadrangle(box: Area) -> list[Point]:
        return [point(box[u], box[v]) for u, v in ((0, 1), (2, 1), (2, 3), (0, 3))]

    seen = _placed(screen, quadrangle((0, 0, *screen.size)), (right - left) / side)
    return seen, tuple((round(x), round(y)) for x, y in quadrangle((left, top, right, bottom)))


def _placed(screen: Image.Image, corners: list[Point], larger: float) -> Image.Image:
    """The screen, which is so many times `larger`, with its corners there, before a wall."""
    from PIL import Image

    from pairing.testing.photos import _perspective

    small = screen.reduce(max(1, int(larger)))
    ends = [(0, 0), (small.width, 0), (small.width, small.height), (0, small.height)]
    rounded = [(float(round(x)), float(round(y))) for x, y in corners]
    how_to, way = Image.Transform.PERSPECTIVE, Image.Resampling.BICUBIC
    how = _perspective(rounded, ends)
    seen = small.transform(SIZE, how_to, how, way)
    mask = Image.new("L", small.size, 255).transform(SIZE, how_to, how)
    return Image.composite(seen, Image.new("L", SIZE, WALL), mask)


def sent(picture: Image.Image, chance: random.Random) -> bytes:
    """The gray picture with a camera's noise, as JPEG."""
    import numpy as np
    from PIL import Image, ImageFilter

    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.8)), dtype=np.float32)
    noise = np.random.default_rng(chance.randrange(2**32)).standard_normal(soft.shape, np.float32)
    noisy = np.clip(soft + noise * np.float32(chance.uniform(8, 20)), 0, 255)
    out = io.BytesIO()
    Image.fromarray(noisy.astype(np.uint8)).save(out, "JPEG", quality=chance.randint(60, 80))
    return out.getvalue()


# --- the faults ---------------------------------------------------------------------------------


def _none(chance: random.Random) -> Image.Image:
    return in_room(_screen(chance), chance, side=chance.uniform(500, 800))[0]


def _blurred(chance: random.Random) -> Image.Image:
    from PIL import ImageFilter

    side = chance.uniform(400, 700)
    picture, _ = in_room(_screen(chance), chance, side=side)
    return picture.filter(ImageFilter.GaussianBlur(side / 41 * chance.uniform(0.95, 1.6)))


def _shaken(chance: random.Random) -> Image.Image:
    """Moved along a line while the shutter was open."""
    from PIL import Image, ImageChops

    side = chance.uniform(400, 700)
    picture, _ = in_room(_screen(chance), chance, side=side)
    length, angle = side / 41 * chance.uniform(3, 5), chance.uniform(0, math.pi)
    steps = max(2, round(length / 2))
    total = picture
    for number in range(1, steps):
        x, y = (round(number * 2 * part) for part in (math.cos(angle), math.sin(angle)))
        total = Image.blend(total, ImageChops.offset(picture, x, y), 1 / (number + 1))
    return total


def _small(chance: random.Random) -> Image.Image:
    """And as soft as small things are."""
    from PIL import ImageFilter

    side = 41 * chance.uniform(1.1, 1.5)
    picture, _ = in_room(_screen(chance), chance, side=side, away=0.3)
    return picture.filter(ImageFilter.GaussianBlur(0.6))


def _glare(chance: random.Random) -> Image.Image:
    """A lamp's reflection on the code, between its finders."""
    from PIL import Image, ImageChops, ImageDraw, ImageFilter

    side = chance.uniform(500, 750)
    picture, corners = in_room(_screen(chance), chance, side=side)
    u, v = chance.choice(GLARE_AT)
    x, y = _within(corners, u, v)
    radius = side * chance.uniform(0.24, 0.32)
    light = Image.new("L", SIZE, 0)
    ImageDraw.Draw(light).ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return ImageChops.add(picture, light.filter(ImageFilter.GaussianBlur(radius / 4)))


GLARE_AT = ((0.5, 0.5), (0.72, 0.72), (0.5, 0.75), (0.75, 0.5))
"""Where the reflection's middle is in the code: across and down, 0 to 1."""


def _within(corners: Corners, u: float, v: float) -> tuple[float, float]:
    """A place in the quadrangle, without the perspective's second order."""
    weights = ((1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v)
    x = sum(weight * corner[0] for weight, corner in zip(weights, corners, strict=True))
    return x, sum(weight * corner[1] for weight, corner in zip(weights, corners, strict=True))


def _cut(chance: random.Random) -> Image.Image:
    """A quarter to a third of the code lies outside, at the right or at the bottom."""
    side = chance.uniform(500, 700)
    picture, corners = in_room(_screen(chance), chance, side=side, tilt=5)
    part = chance.uniform(0.66, 0.78)
    if chance.random() < 0.5:
        edge = round(_within(corners, part, 0.5)[0])
        return picture.crop((0, 0, edge, SIZE[1]))
    edge = round(_within(corners, 0.5, part)[1])
    return picture.crop((0, 0, SIZE[0], edge))


def _flat(chance: random.Random) -> Image.Image:
    tilt = chance.uniform(78, 83)
    return in_room(_screen(chance), chance, side=chance.uniform(600, 900), tilt=tilt)[0]


def _small_on_console(chance: random.Random) -> Image.Image:
    """The whole screen and much of the room: the code is 30 to 55 pixels wide."""
    from PIL import ImageFilter

    picture, _ = on_console(chance, side=chance.uniform(30, 55), away=0.3)
    return picture.filter(ImageFilter.GaussianBlur(0.6))


def _flat_on_console(chance: random.Random) -> Image.Image:
    return on_console(chance, side=chance.uniform(400, 800), tilt=chance.uniform(76, 82))[0]


def on_console(
    chance: random.Random, *, side: float, tilt: float = 10, away: float = 0.1
) -> tuple[Image.Image, Corners]:
    """A console with a code and text beside it, and the code's corners without its quiet zone.

    `side`: pixels of the code if seen straight. `tilt`: degrees. `away`: from the photo's middle,
    in parts of the photo.
    """
    screen, area = _console(chance)
    return in_room(screen, chance, side=side, tilt=tilt, away=away, area=area)


def _foreign(chance: random.Random) -> Image.Image:
    text = f"https://example.org/{chance.randrange(10**9)}"
    return in_room(_screen(chance, text), chance, side=chance.uniform(400, 700))[0]


def _nothing(chance: random.Random) -> Image.Image:
    """A screen full of text."""
    from PIL import Image, ImageDraw

    page = Image.new("L", (640, 480), BLACK)
    pen = ImageDraw.Draw(page)
    for line in range(28):
        words = " ".join(
            "".join(chance.choice("abcdefghijklmno[]:.") for _ in range(chance.randint(2, 11)))
            for _ in range(9)
        )
        pen.text((8, 8 + 16 * line), words, fill=WHITE)
    return in_room(page.resize((1280, 960)), chance, side=chance.uniform(900, 1100))[0]


FAULTS: Mapping[str, Callable[[random.Random], Image.Image]] = MappingProxyType(
    {
        "none": _none,
        "blurred": _blurred,
        "shaken": _shaken,
        "small": _small,
        "glare": _glare,
        "cut": _cut,
        "flat": _flat,
        "small on console": _small_on_console,
        "flat on console": _flat_on_console,
        "foreign": _foreign,
        "nothing": _nothing,
    }
)
"""By name; `none` is a good photo, `nothing` one without a code."""
NAMED: Mapping[str, str] = MappingProxyType(
    {
        "blurred": "photo-blurred",
        "shaken": "photo-blurred",
        "small": "photo-too-small",
        "glare": "photo-glare",
        "cut": "photo-cut-off",
        "flat": "photo-too-flat",
        "small on console": "photo-too-small",
        "flat on console": "photo-too-flat",
        "foreign": "photo-foreign",
        "nothing": "photo-no-code",
    }
)
"""The slug of the error that each fault is to be called."""
