"""Drawing: what a token costs on a screen, and that every way of drawing it shows the same code."""

from __future__ import annotations

import base64
import io
import random

import pytest
import zxingcpp
from PIL import Image

from pairing import errors, peertoken
from pairing.qr import render
from pairing.testing.screens import Terminal, draw
from pairing.testing.tokens import random_token
from pairing.transport.base import Address


def read(image: Image.Image) -> list[str]:
    return [code.text for code in zxingcpp.read_barcodes(image)]


def test_token_sizes() -> None:
    chance = random.Random(1)
    bare, hinted = random_token(chance, hint=False), random_token(chance)
    assert len(hinted) == 90
    assert [render.version(render.modules(text)) for text in (bare, hinted)] == [4, 4]
    assert render.half_block_size(render.modules(hinted)) == (41, 21)
    assert render.background_size(render.modules(hinted)) == (82, 41)


def test_relay_makes_it_version_five() -> None:
    token = peertoken.parse(random_token(random.Random(2)))
    with_relay = peertoken.Token(token.key, token.secret, Address("192.0.2.7", 4917), relay=b"abcd")
    code = render.modules(peertoken.to_text(with_relay))
    assert render.version(code) == 5
    assert render.half_block_size(code) == (45, 23)


def test_kairos_token_is_drawn_too() -> None:
    text = base64.b64encode(random.Random(3).randbytes(411)).decode()
    assert len(text) == 548
    assert render.version(render.modules(text)) == 18


def test_too_long_is_a_named_error() -> None:
    with pytest.raises(errors.TokenInvalid):
        render.modules("A" * 5000)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_half_blocks_show_exactly_the_code(scale: int) -> None:
    code = render.modules(random_token(random.Random(scale)))
    lines = render.half_blocks(code, scale)
    columns, rows = render.half_block_size(code, scale)
    assert {len(line) for line in lines} == {columns}
    assert len(lines) == rows
    dark = {" ": (True, True), "▀": (False, True), "▄": (True, False), "█": (False, False)}
    halves = [[dark[c][part] for c in line] for line in lines for part in (0, 1)]
    shown = tuple(tuple(row) for row in halves[:columns])
    assert shown == render.enlarge(code, scale)
    assert not any(any(row) for row in halves[columns:])  # a last half row is light


def test_quiet_zone_is_four_light_modules() -> None:
    grid = render.enlarge(render.modules("EP1:"), 2)
    edge = render.QUIET * 2
    inside = {(r, c) for r in range(edge, len(grid) - edge) for c in range(edge, len(grid) - edge)}
    dark = {(r, c) for r, row in enumerate(grid) for c, module in enumerate(row) if module}
    assert dark <= inside
    assert (edge, edge) in dark  # the finder pattern touches it


@pytest.mark.parametrize("glyphs", [True, False])
def test_ansi_lines_reset_their_colours_and_can_be_read(glyphs: bool) -> None:
    text = random_token(random.Random(5))
    lines = render.ansi_lines(render.modules(text), glyphs=glyphs)
    assert all(line.endswith("\x1b[0m") for line in lines)
    terminal = Terminal(100, 50)
    terminal.write("\r\n".join(lines))
    assert read(draw(terminal)) == [text]


def test_png_is_small_and_can_be_read() -> None:
    text = random_token(random.Random(6))
    data = render.png(render.modules(text))
    image = Image.open(io.BytesIO(data))
    assert image.size == (328, 328)
    assert len(data) < 3000
    assert read(image.convert("L")) == [text]
