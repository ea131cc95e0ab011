"""The reader of perfect pictures, against zxing-cpp on the same ones, and on damaged ones."""

from __future__ import annotations

import random

import pytest
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from node import exactcode
from node.canvas import frame
from node.screen import Abilities, Screen, layout
from node.texts import load
from pairing.base45 import ALPHABET
from pairing.qr import render
from pairing.testing.screens import Terminal, draw
from pairing.testing.tokens import random_token

TOKEN = random_token(random.Random(5))
CODE = render.modules(TOKEN)


def drawn(code: render.Modules, module: int, place: tuple[int, int] = (0, 0)) -> Image.Image:
    """On black, with its quiet zone."""
    grid = render.enlarge(code, module)
    side = len(grid)
    image = Image.new("L", (side + place[0] + 9, side + place[1] + 5))
    pixels = bytes(0 if dark else 255 for row in grid for dark in row)
    image.paste(Image.frombytes("L", (side, side), pixels), place)
    return image


def read(image: Image.Image) -> str | None:
    return exactcode.read(*image.size, image.tobytes())


texts = st.one_of(
    st.text(ALPHABET, min_size=1, max_size=150),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=150),
)


@given(texts, st.sampled_from(["M", "L"]), st.integers(1, 3), st.integers(0, 40))
def test_every_code_that_is_drawn_is_read(text: str, level: str, module: int, x: int) -> None:
    code = render.modules(text, "M" if level == "M" else "L")
    assert read(drawn(code, module, (x, 2 * x))) == text


@pytest.mark.parametrize("size", [(80, 24), (100, 37), (160, 50)])
def test_a_whole_page_is_read_as_zxing_reads_it(size: tuple[int, int]) -> None:
    terminal = Terminal(*size)
    page = layout(Screen(token=TOKEN, serial="SN-1"), *size, Abilities(), load("de"))
    terminal.write(frame(page, ()))
    image = draw(terminal).convert("L")
    assert read(image) == TOKEN
    assert [found.text for found in zxingcpp.read_barcodes(image)] == [TOKEN]


@given(st.integers(0, len(CODE) - 1), st.integers(0, len(CODE) - 1))
def test_one_wrong_module_is_noticed(row: int, column: int) -> None:
    """zxing-cpp corrects it; on the machine's own screen it says that something is wrong."""
    wrong = [list(line) for line in CODE]
    wrong[row][column] = not wrong[row][column]
    image = drawn(tuple(map(tuple, wrong)), 3)
    assert read(image) is None


def test_a_message_over_it_is_noticed() -> None:
    image = drawn(CODE, 8)
    assert read(image) == TOKEN
    image.paste(0, (0, 160, image.width, 176))
    assert read(image) is None


@given(st.binary(min_size=600, max_size=600), st.sampled_from([(20, 30), (30, 20), (600, 1)]))
def test_noise_is_no_code(noise: bytes, size: tuple[int, int]) -> None:
    assert exactcode.read(*size, noise) is None
    assert exactcode.read(*size, bytes(255 * (byte & 1) for byte in noise)) is None


def test_an_empty_picture_is_no_code() -> None:
    assert exactcode.read(0, 0, b"") is None
