"""What looks like a code where none was located, and what does not."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from pairing.qr.diagnose import look_at
from pairing.qr.grid import codelike
from pairing.qr.grid.codelike import code_like
from pairing.qr.reading import Corners, Seen
from pairing.testing import spoiled
from pairing.testing.strangers import stranger


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("L")


def shot(seed: int, side: float, tilt: float) -> tuple[Image.Image, Corners]:
    """A photo of a console, and where the code's corners are in it."""
    chance = random.Random(f"code-like/{seed}")
    picture, corners = spoiled.on_console(chance, side=side, tilt=tilt)
    return opened(spoiled.sent(picture.filter(ImageFilter.GaussianBlur(0.6)), chance)), corners


def far(seen: Seen, corners: Corners) -> float:
    """The largest distance of a corner from the nearest true one, in pixels."""
    return max(min(math.dist(one, other) for other in corners) for one in seen.corners)


@pytest.mark.parametrize("side", [38, 50, 70, 110])
@pytest.mark.parametrize("seed", range(2))
def test_a_small_code_is_outlined(seed: int, side: int) -> None:
    image, corners = shot(seed, side, 10)
    seen = code_like(image)
    assert seen is not None
    assert seen.guessed
    assert not seen.read
    assert far(seen, corners) < 3 + 0.08 * side
    assert seen.pitch == pytest.approx(side / 37, rel=0.12)
    assert look_at(seen).tilt < 30


@pytest.mark.parametrize("tilt", [60, 68, 76, 81])
@pytest.mark.parametrize("seed", range(2))
def test_the_angle_of_a_flat_code_is_measured(seed: int, tilt: int) -> None:
    image, corners = shot(seed, 600, tilt)
    seen = code_like(image)
    assert seen is not None
    assert far(seen, corners) < 40
    assert look_at(seen).tilt == pytest.approx(tilt, abs=4)


def test_a_larger_photo_gives_the_same_place() -> None:
    """Twelve megapixels: what is measured are pixels of the photo, not of the picture searched."""
    image, corners = shot(3, 80, 10)
    larger = image.resize((4000, 3000), Image.Resampling.BICUBIC)
    seen = code_like(larger)
    assert seen is not None
    assert far(seen, tuple((round(2.5 * x), round(2.5 * y)) for x, y in corners)) < 24


def test_a_light_code_on_dark_is_none() -> None:
    """It has no light frame; engines read it, so a limit, not a wish."""
    image, _ = shot(0, 70, 10)
    assert code_like(image) is not None
    assert code_like(ImageOps.invert(image)) is None


# --- what is none ------------------------------------------------------------------------------


def keys(chance: random.Random) -> Image.Image:
    """A keyboard."""
    dark = chance.random() < 0.5
    image = Image.new("L", (900, 360), 40 if dark else 160)
    pen = ImageDraw.Draw(image)
    for row in range(6):
        x, y = 10 + row * 8, 10 + 56 * row
        while x < 840:
            wide = chance.choice((48, 48, 48, 70, 100))
            cap = chance.randint(15, 40) if dark else chance.randint(215, 245)
            pen.rounded_rectangle((x, y, x + wide, y + 48), 6, fill=cap)
            pen.text((x + 10, y + 8), chance.choice("QWERTY123"), fill=235 - cap, font_size=24)
            x += wide + 8
    return image


def tiles(chance: random.Random) -> Image.Image:
    """Squares, dark and light in turn, or of any light, with a light edge."""
    count, even = chance.randint(6, 40), chance.random() < 0.5
    image = Image.new("L", (count, count))
    for row in range(count):
        for column in range(count):
            light = 40 + 170 * ((row + column) % 2) if even else chance.randint(10, 250)
            image.putpixel((column, row), light)
    return ImageOps.expand(image.resize((800, 800), Image.Resampling.NEAREST), 90, 220)


def windows(chance: random.Random) -> Image.Image:
    """A front of a house, lit."""
    count = chance.randint(6, 25)
    image = Image.new("L", (800, 800), 220)
    pen, step = ImageDraw.Draw(image), 800 / count
    for row in range(count):
        for column in range(count):
            x, y = column * step, row * step
            dark = chance.randint(20, 90)
            pen.rectangle((x + step / 5, y + step / 6, x + step * 4 / 5, y + step * 5 / 6), dark)
    return image


def page(chance: random.Random) -> Image.Image:
    """A printed page of large or small type."""
    size = chance.randint(10, 40)
    image = Image.new("L", (800, 800), 230)
    pen = ImageDraw.Draw(image)
    for y in range(60, 740, size + 4):
        words = "".join(chance.choices("abcdefgh mnorst  ", k=1400 // size))
        pen.text((60, y), words, fill=20, font_size=size)
    return image


@pytest.mark.parametrize("draw", [keys, tiles, windows, page])
@pytest.mark.parametrize("seed", range(6))
def test_other_things_are_no_code(draw: Callable[[random.Random], Image.Image], seed: int) -> None:
    chance = random.Random(f"{draw.__name__}/{seed}")
    image = draw(chance)
    side, tilt = chance.uniform(60, 900), chance.uniform(0, 75)
    seen, _ = spoiled.in_room(image, chance, side=side, tilt=tilt)
    found = code_like(opened(spoiled.sent(seen, chance)))
    if found is not None:  # a board of squares of any light may pass, but says nothing
        assert draw is tiles


def test_text_beside_a_code_is_no_code() -> None:
    for seed in range(3):
        assert code_like(opened(spoiled.photo("nothing", seed))) is None


def test_textures_are_no_code() -> None:
    shown = (stranger(number) for number in range(60))
    pictures = [picture for picture in shown if picture.kind == "texture"]
    assert len(pictures) > 9
    for picture in pictures:
        assert code_like(opened(picture.data)) is None


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1), st.integers(0, 3))
@settings(max_examples=60)
def test_any_picture_has_an_answer(wide: int, high: int, seed: int, soft: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (high, wide), dtype=np.uint8)
    image = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(soft))
    assert code_like(image.resize((wide * 3, high * 3))) is None


@given(
    st.floats(0, 80),
    st.floats(0, 180),
    st.floats(0, 90),
    st.floats(60, 400),
    st.sampled_from([4, 8]),
)
@example(21.0, 0.0, 1.0, 60.0, 8)
def test_a_square_is_told_from_its_cells(
    tilt: float, towards: float, roll: float, size: float, side: int
) -> None:
    """Turned and tilted, and cut into cells: the angle is that of the square, to within a cell."""
    squeeze = math.cos(math.radians(tilt))
    if size * squeeze < 6 * side:
        return
    along = codelike._turn(math.radians(towards))
    matrix = along @ np.diag([1, squeeze]) @ along.T @ codelike._turn(math.radians(roll)) * size
    steps = np.arange(-size, size, side)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    cells = grid[np.abs(grid @ np.linalg.inv(matrix).T).max(axis=1) < 0.5]
    corners = codelike._outline(cells, side)
    assert corners is not None
    found = look_at(Seen(tuple((round(x * 16), round(y * 16)) for x, y in corners)))
    assert math.cos(math.radians(found.tilt)) == pytest.approx(squeeze, abs=2 * side / size)
