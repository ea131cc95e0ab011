"""Codes in pixels: every layout of a framebuffer's memory, read back by another program."""

from __future__ import annotations

import errno
import os
import random
import struct
from pathlib import Path

import pytest
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from node.framebuffer import Drawing, Framebuffer, Mode, mode_of
from node.screen import LEAST_MODULE, Pixels, place_pixels
from node.testing.virtualconsole import RecordedFramebuffer
from pairing.qr import render
from pairing.testing.tokens import random_token

TOKEN = random_token(random.Random(7))
CODE = render.modules(TOKEN)
RGB = ((16, 8), (8, 8), (0, 8))
LAYOUTS = {
    "xrgb": (32, RGB, (24, 8)),
    "xbgr": (32, RGB[::-1], (0, 0)),
    "rgb": (24, RGB, (0, 0)),
    "rgb565": (16, ((11, 5), (5, 6), (0, 5)), (0, 0)),
    "xrgb1555": (16, ((10, 5), (5, 5), (0, 5)), (15, 1)),
}


def answers(
    bits: int = 32,
    colours: tuple[tuple[int, int], ...] = RGB,
    alpha: tuple[int, int] = (0, 0),
    *,
    size: tuple[int, int] = (640, 480),
    stride: int = 0,
    start: tuple[int, int] = (0, 0),
    kind: int = 0,
    visual: int = 2,
    vmode: int = 0,
) -> tuple[bytes, bytes]:
    """fb_var_screeninfo and fb_fix_screeninfo."""
    fields = [word for field in (*colours, alpha) for word in (*field, 0)]
    head = [*size, size[0], size[1] + 100, *start, bits, 0]
    var = struct.pack("@40I", *head, *fields, *(0,) * 13, vmode, *(0,) * 6)
    stride = stride or size[0] * bits // 8
    fix = struct.pack(
        "@16sLIIIIHHHILIIH2H", b"test", 0, stride, kind, 0, visual, 0, 0, 0, stride, *(0,) * 6
    )
    return var, fix


def seen(path: Path, mode: Mode) -> Image.Image:
    """What a monitor shows of that memory."""
    memory = path.read_bytes()
    image = Image.new("1", (mode.width, mode.height))
    for y in range(mode.height):
        for x in range(mode.width):
            at = mode.place(x, y)
            image.putpixel((x, y), memory[at : at + mode.depth] == mode.white)
    return image


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_code_is_read_from_the_pixels(tmp_path: Path, layout: str) -> None:
    mode = mode_of(*answers(*LAYOUTS[layout], size=(400, 300), stride=2048))
    screen = RecordedFramebuffer(tmp_path / "fb", mode)
    drawing = Drawing(CODE, 5, 4, 16, 32, 230, 240)
    screen.draw(drawing)
    image = seen(tmp_path / "fb", mode)
    assert [found.text for found in zxingcpp.read_barcodes(image.convert("L"))] == [TOKEN]
    assert image.getbbox() == (28, 49, 28 + 41 * 5, 49 + 41 * 5), "centred in its box"
    assert screen.shows(drawing)
    screen.close()


@pytest.mark.parametrize(("start", "vmode"), [((0, 40), 0), ((8, 0), 0), ((0, 500), 256)])
def test_a_panned_screen_is_drawn_where_the_monitor_looks(
    tmp_path: Path, start: tuple[int, int], vmode: int
) -> None:
    """By YWRAP the last line is followed by the first: a console that scrolls by moving."""
    mode = mode_of(*answers(size=(256, 240), stride=1100, start=start, vmode=vmode))
    screen = RecordedFramebuffer(tmp_path / "fb", mode)
    screen.draw(Drawing(CODE, 5, 4, 0, 0, 205, 205))
    image = seen(tmp_path / "fb", mode)
    assert [found.text for found in zxingcpp.read_barcodes(image.convert("L"))] == [TOKEN]
    screen.close()


def test_what_others_write_on_it_is_seen(tmp_path: Path) -> None:
    mode = mode_of(*answers())
    screen = RecordedFramebuffer(tmp_path / "fb", mode)
    drawing = Drawing(CODE, 5, 4, 0, 0, 205, 205)
    screen.draw(drawing)
    assert screen.shows(drawing)
    with (tmp_path / "fb").open("r+b") as memory:  # a line of text, 16 pixels high
        memory.seek(mode.place(0, 96))
        memory.write(bytes(mode.stride * 16))
    assert not screen.shows(drawing)
    screen.close()


def test_black_and_white_have_every_colour() -> None:
    mode = mode_of(*answers(*LAYOUTS["rgb565"]))
    assert (mode.white, mode.black) == (b"\xff\xff", b"\0\0")
    mode = mode_of(*answers(*LAYOUTS["xrgb"]))
    assert (mode.white, mode.black) == (b"\xff\xff\xff\xff", b"\0\0\0\xff"), "opaque"


def test_the_answers_of_a_real_framebuffer() -> None:
    """Recorded: efifb of Linux 6.12 under OVMF in QEMU, 1280 x 800."""
    var = struct.pack(
        "@40I",
        *(1280, 800, 1280, 800, 0, 0, 32, 0, 16, 8, 0, 8, 8, 0, 0, 8, 0, 24, 8, 0),
        *(0, 0, 2**32 - 1, 2**32 - 1, 0, 0x2625, 160, 32, 16, 4, 160, 4, 0, 0, 0, 0, 0, 0, 0, 0),
    )
    fix = b"EFI VGA".ljust(16, b"\0") + struct.pack(
        "@LIIIIHHHILIIH2H", 0xC0000000, 0x3E8000, 0, 0, 2, 0, 0, 0, 0x1400, *(0,) * 6
    )
    assert mode_of(var, fix) == Mode(1280, 800, 5120, 4, b"\xff" * 4, b"\0\0\0\xff", lines=800)


@pytest.mark.parametrize(
    "strange",
    [
        answers(8, ((0, 8), (0, 8), (0, 8)), visual=3),  # a palette
        answers(30, RGB),
        answers(kind=4),  # planes, as of VGA
        answers(visual=0),
        answers(colours=((16, 8), (8, 8), (0, 0))),
        answers(stride=100),
        answers(size=(0, 0)),
    ],
)
def test_other_pixels_are_not_used(strange: tuple[bytes, bytes]) -> None:
    with pytest.raises(OSError, match="pixels"):
        mode_of(*strange)


def test_what_is_no_framebuffer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Framebuffer.of_console(1, tmp_path)
    (tmp_path / "fb0").write_bytes(b"")
    with pytest.raises(OSError, match=os.strerror(errno.ENOTTY)):
        Framebuffer.of_console(1, tmp_path)


# --- where it goes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pixels", "module"),
    [
        (Pixels(640, 480, 8, 16), 9),
        (Pixels(1024, 768, 8, 16), 18),
        (Pixels(1280, 800, 8, 16), 19),
        (Pixels(1280, 800, 16, 32), 19),
        (Pixels(1920, 1080, 8, 16), 26),
        (Pixels(3840, 2160, 16, 32), 52),
        (Pixels(240, 200, 8, 16), 4),  # the words go
        (Pixels(120, 120, 8, 8), 3),  # and half of the white
    ],
)
def test_the_largest_whole_module_is_taken(pixels: Pixels, module: int) -> None:
    placed = place_pixels(TOKEN, pixels.height // pixels.cell_height, pixels)
    assert placed is not None
    assert placed.scale == module


@given(
    st.integers(64, 4096),
    st.integers(64, 2400),
    st.sampled_from([(8, 8), (8, 16), (12, 24), (16, 32), (32, 64)]),
)
def test_it_lies_within_whole_cells(width: int, height: int, cell: tuple[int, int]) -> None:
    pixels = Pixels(width, height, *cell)
    rows = height // cell[1]
    placed = place_pixels(TOKEN, rows, pixels)
    if placed is None:
        assert min(width, rows * cell[1]) < LEAST_MODULE * (len(CODE) + 4)
        return
    side = placed.scale * (len(CODE) + 2 * placed.quiet)
    assert side <= placed.columns * cell[0] < side + cell[0]
    assert side <= placed.rows * cell[1] < side + cell[1]
    assert placed.rows <= rows
    assert side <= width
    assert placed.quiet == render.QUIET or placed.scale < 2 * LEAST_MODULE
