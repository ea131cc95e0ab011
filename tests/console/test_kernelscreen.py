"""Which way a code is drawn on the kernel's consoles, and what happens when a way is barred."""

from __future__ import annotations

import errno
import logging
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
import trio.testing
import zxingcpp
from PIL import Image

from node.console import REPAIR_SECONDS, Console
from node.consolefont import Font
from node.framebuffer import Drawing, Mode
from node.kernelscreen import MOST_FAILURES, KernelScreen, Way
from node.screen import Screen
from node.testing.virtualconsole import RecordedFramebuffer, RecordedVt, font
from pairing.events import State
from pairing.testing.screens import Terminal, draw
from pairing.testing.tokens import random_token
from tests.console.test_console_drawing import Line, line, show

__all__ = ["line"]

TOKEN = random_token(random.Random(3))
WAITING = Screen(token=TOKEN, serial="SN-1")
COLUMNS, ROWS = 80, 30
MODE = Mode(640, 480, 2560, 4, b"\xff" * 4, b"\0" * 4, lines=480)
BAD = font(slots=(0xDF, 0xDC))


@dataclass
class Desk:
    """A console of 80x30 on a framebuffer of 640x480, its far end and its monitor."""

    line: Line
    vt: RecordedVt
    framebuffer: RecordedFramebuffer | None
    kernel: KernelScreen
    console: Console
    terminal: Terminal

    async def show(self, screen: Screen) -> str:
        written = await show(self.console, screen, self.line)
        self.terminal.write(written)
        return written

    def picture(self) -> Image.Image:
        """The text, and over it whatever pixels are white."""
        image = draw(self.terminal).convert("L")
        if self.framebuffer:
            memory = self.framebuffer.path.read_bytes()
            pixels = Image.frombytes("RGBX", (640, 480), memory).convert("L")
            image.paste(255, (0, 0), pixels)
        return image

    def codes(self) -> list[str]:
        return [found.text for found in zxingcpp.read_barcodes(self.picture())]


def found_again(framebuffer: RecordedFramebuffer | None) -> RecordedFramebuffer:
    if framebuffer is None or framebuffer.recorded is None:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    return framebuffer


def desk(line: Line, found: tuple[Font, dict[str, int]], pixels: Path | None = None) -> Desk:
    line.resize(COLUMNS, ROWS)
    vt = RecordedVt(*found)
    framebuffer = RecordedFramebuffer(pixels / "fb", MODE) if pixels else None
    kernel = KernelScreen(vt, (lambda: found_again(framebuffer)) if pixels else None, "tty1")
    console = Console(os.dup(line.far), kernel=kernel)
    return Desk(line, vt, framebuffer, kernel, console, Terminal(COLUMNS, ROWS))


@pytest.fixture
def with_pixels(line: Line, tmp_path: Path) -> Iterator[Desk]:
    made = desk(line, BAD, tmp_path)
    yield made
    made.console.close()


async def test_pixels_come_first(with_pixels: Desk) -> None:
    await with_pixels.show(WAITING)
    assert with_pixels.kernel.way is Way.PIXELS
    assert with_pixels.vt.loads == 0, "nobody's font is changed for nothing"
    assert with_pixels.codes() == [TOKEN]
    text = with_pixels.terminal.text()
    assert not set("▀▄█") & set(text)
    assert "SN-1" in text


@pytest.mark.parametrize(
    ("found", "way"),
    [
        (font(), Way.FONT),
        (font(upper=range(7), lower=range(7, 16)), Way.FONT),
        (BAD, Way.OWN_GLYPHS),
        (font(upper=range(16), lower=range(16)), Way.OWN_GLYPHS),
    ],
)
async def test_without_pixels_the_font_decides(
    line: Line, found: tuple[Font, dict[str, int]], way: Way
) -> None:
    here = desk(line, found)
    await here.show(WAITING)
    assert here.kernel.way is way
    assert here.vt.loads == (way is Way.OWN_GLYPHS)
    assert here.codes() == [TOKEN]
    here.console.close()
    assert (here.vt.shown, here.vt.glyphs) == found, "it is given back as it was"


async def test_without_a_code_nobodys_font_is_changed(line: Line) -> None:
    """An installed machine shows its state for years, and others use its consoles."""
    here = desk(line, BAD)
    await here.show(Screen(state=State.READY))
    assert here.vt.loads == 0
    await here.show(WAITING)
    assert here.kernel.way is Way.OWN_GLYPHS
    assert here.codes() == [TOKEN]
    await here.show(Screen(state=State.INSTALLING))
    assert (here.vt.shown, here.vt.glyphs) == BAD
    await here.console.refresh()
    line.read()
    assert (here.vt.shown, here.vt.glyphs) == BAD
    here.console.close()


async def test_a_font_of_somebody_else_is_left_at_the_end(line: Line) -> None:
    here = desk(line, BAD)
    await here.show(WAITING)
    here.vt.shown, here.vt.glyphs = font()
    here.console.close()
    assert (here.vt.shown, here.vt.glyphs) == font()


@pytest.mark.parametrize("refused", ["load", "font"])
async def test_a_console_that_takes_no_glyphs_has_its_backgrounds(
    line: Line, refused: str, caplog: pytest.LogCaptureFixture
) -> None:
    here = desk(line, BAD)
    here.vt.refuses = {refused}
    line.resize(128, 48)
    here.terminal = Terminal(128, 48)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await here.console.refresh()
            line.read()
        await here.console.refresh()
        here.terminal.write(await here.show(WAITING))
    assert here.kernel.way is Way.BACKGROUNDS
    assert here.codes() == [TOKEN]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1, "once, not every five seconds"
    assert told[0].startswith("tty1: ")
    here.console.close()


async def test_a_font_that_cannot_be_read_is_trusted_for_its_map(line: Line) -> None:
    here = desk(line, font())
    here.vt.refuses = {"font"}
    await here.show(WAITING)
    assert here.kernel.way is Way.FONT
    assert here.codes() == [TOKEN]
    here.console.close()


@pytest.mark.parametrize("glyphs", [256, 512])
async def test_white_is_white(line: Line, glyphs: int) -> None:
    """With 512 glyphs the console has no bright ink: gray is made white."""
    here = desk(line, font(count=glyphs))
    written = await here.show(WAITING)
    assert ("\x1b]P7ffffff" in written) is (glyphs > 256)
    here.console.close()


async def test_a_framebuffer_that_goes_away_is_replaced_by_text(
    with_pixels: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await with_pixels.show(WAITING)
    before = with_pixels.framebuffer
    assert before is not None
    before.recorded = None
    assert with_pixels.kernel.is_spoiled
    with_pixels.framebuffer = None
    with caplog.at_level(logging.WARNING):
        await with_pixels.show(replace(WAITING, serial="SN-2"))
    assert with_pixels.kernel.way is Way.OWN_GLYPHS
    assert with_pixels.codes() == [TOKEN]
    assert any("framebuffer is not used" in record.getMessage() for record in caplog.records)
    assert before.drawn == 1


async def test_a_framebuffer_that_comes_late_is_used(line: Line, tmp_path: Path) -> None:
    """The driver of the graphics card is loaded after the code is shown."""
    line.resize(COLUMNS, ROWS)
    coming: list[RecordedFramebuffer] = []

    def find() -> RecordedFramebuffer:
        return found_again(coming[-1] if coming else None)

    kernel = KernelScreen(RecordedVt(*font()), find, "tty1")
    async with Console(os.dup(line.far), kernel=kernel) as screen:
        await show(screen, WAITING, line)
        ways = [kernel.way]
        for name in ("first", "second"):
            coming.append(RecordedFramebuffer(tmp_path / name, MODE))
            await screen.refresh()
            ways.append(kernel.way)
            coming[-1].recorded = None  # and another driver takes over
            await screen.refresh()
            ways.append(kernel.way)
            line.read()
        assert ways == [Way.FONT, Way.PIXELS, Way.FONT, Way.PIXELS, Way.FONT]
        assert [framebuffer.drawn for framebuffer in coming] == [1, 1]
        coming.append(RecordedFramebuffer(tmp_path / "third", MODE))
        await screen.refresh()
        coming[-1].recorded = None
        coming.append(RecordedFramebuffer(tmp_path / "fourth", MODE))
        await screen.refresh()
        assert coming[-1].drawn == 1, "the next one is taken at once"


async def test_pixels_that_fail_each_time_are_given_up(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = desk(line, font(), tmp_path)
    tries = 0

    def draw(self: RecordedFramebuffer, drawing: Drawing) -> None:
        nonlocal tries
        tries += 1
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(RecordedFramebuffer, "draw", draw)
    monkeypatch.setattr(RecordedFramebuffer, "close", lambda self: None)
    for _ in range(2 * MOST_FAILURES):
        await here.show(WAITING)
        await here.console.refresh()
        here.terminal.write(line.read())
        assert here.kernel.way is Way.FONT
    assert tries == MOST_FAILURES
    here.framebuffer = None
    assert here.codes() == [TOKEN]
    here.console.close()


async def test_pixels_of_another_screen_are_not_used(line: Line, tmp_path: Path) -> None:
    """A console that is rotated, or on another card: its cells are not those of these pixels."""
    here = desk(line, font(), tmp_path)
    line.resize(60, 40)
    here.terminal = Terminal(60, 40)
    await here.show(WAITING)
    assert here.kernel.way is Way.FONT
    assert here.framebuffer is not None
    assert here.framebuffer.drawn == 0
    here.console.close()


async def test_what_is_not_in_front_is_not_drawn_over(with_pixels: Desk) -> None:
    framebuffer = with_pixels.framebuffer
    assert framebuffer is not None
    with_pixels.vt.front = False
    await with_pixels.show(WAITING)
    assert framebuffer.drawn == 0
    assert not with_pixels.kernel.is_spoiled
    with_pixels.vt.front = True
    assert with_pixels.kernel.is_spoiled, "it came to the front: now it is drawn"


@pytest.mark.parametrize("what", ["text", "pixels", "font"])
async def test_what_is_written_over_it_is_mended_within_a_second(
    with_pixels: Desk, patient_clock: trio.testing.MockClock, what: str
) -> None:
    framebuffer = with_pixels.framebuffer
    assert framebuffer is not None
    await with_pixels.show(WAITING)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(with_pixels.console.follow_size)
        await trio.sleep(1.5)
        assert framebuffer.drawn == 1, "what is whole is left alone"
        if what == "text":
            with_pixels.vt.written += b"x"
        elif what == "font":
            with_pixels.vt.shown, with_pixels.vt.glyphs = font()
        else:
            os.truncate(framebuffer.path, 0)
            os.truncate(framebuffer.path, 2560 * 480)
        await trio.sleep(1)
        assert framebuffer.drawn == 2
        with_pixels.terminal.write(with_pixels.line.read())
        assert with_pixels.codes() == [TOKEN]
        await trio.sleep(REPAIR_SECONDS)
        assert framebuffer.drawn == 3, "and now and then, whatever is seen"
        nursery.cancel_scope.cancel()


async def test_the_cells_under_the_code_are_blanked_once(with_pixels: Desk) -> None:
    """Blanking them at each repair would make the code flicker under the photographer's eyes."""
    with_pixels.terminal.write("\x1b[97m" + "boot message " * 180)
    first = await with_pixels.show(WAITING)
    assert "\x1b[" in first
    assert "boot" not in with_pixels.terminal.text()
    marked = Terminal(COLUMNS, ROWS)
    marked.write("\x1b[15;3Hunder the code")
    marked.write(await with_pixels.show(replace(WAITING, addresses=("10.0.0.1",))))
    await with_pixels.console.refresh()
    marked.write(with_pixels.line.read())
    assert "under the code" in marked.text()
    await with_pixels.console.refresh(cleared=True)
    marked.write(with_pixels.line.read())
    assert "under the code" not in marked.text()


async def test_the_place_of_the_code_is_given_back(with_pixels: Desk) -> None:
    await with_pixels.show(WAITING)
    with_pixels.terminal.write("\x1b[15;3Hunder the code")
    await with_pixels.show(Screen(state=State.INSTALLING))
    assert "under the code" not in with_pixels.terminal.text()
    assert not with_pixels.kernel.is_spoiled, "nobody repairs what is not there any more"
