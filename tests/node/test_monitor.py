"""The doctor reads the machine's own screen: pixels, or cells and font."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from node import monitor, vt
from node.canvas import frame
from node.checkup.look import Look
from node.checkup.screen import code as check
from node.consolefont import Font, with_blocks
from node.framebuffer import Drawing, Framebuffer, Mode
from node.screen import Abilities, Screen, layout
from node.testing.virtualconsole import RecordedFramebuffer, RecordedVt, font
from node.texts import load
from pairing.findings import Finding, Level
from pairing.process import run
from pairing.qr import render
from pairing.testing.screens import Terminal
from pairing.testing.tokens import random_token

TOKEN = random_token(random.Random(11))
XRGB = Mode(640, 480, 2600, 4, b"\xff" * 4, b"\0\0\0\xff", lines=480)
RGB565 = Mode(640, 480, 1280, 2, b"\xff\xff", b"\0\0", lines=480)


def console(made: tuple[Font, dict[str, int]], token: str = TOKEN) -> RecordedVt:
    """What vcs(4) says of a page in this font, with its 256 or 512 glyphs."""
    shown, glyphs = made
    terminal = Terminal(80, 25)
    able = Abilities(glyphs=frozenset(glyphs))
    terminal.write(frame(layout(Screen(token=token), 80, 25, able, load("en")), ()))
    words = []
    for row in terminal.cells:
        for cell in row:
            slot = glyphs[cell.character]
            ink = cell.ink << 8 if shown.count == 256 else (cell.ink & 7) << 9
            words.append(slot | ink | cell.paper << 12)
    return RecordedVt(shown, glyphs, written=bytes([25, 80]) + struct.pack("@2000H", *words))


@pytest.mark.parametrize("mode", [XRGB, RGB565])
def test_pixels_are_read(tmp_path: Path, mode: Mode) -> None:
    framebuffer = RecordedFramebuffer(tmp_path / "fb", mode)
    framebuffer.draw(Drawing(render.modules(TOKEN), 9, 4, 0, 48, 376, 384))
    seen = monitor.picture(console(font()), framebuffer)
    assert (seen.width, seen.height) == (640, 480)
    assert seen.code() == TOKEN
    framebuffer.close()


@pytest.mark.parametrize(
    "made",
    [
        font(),
        font(upper=range(7), lower=range(7, 16)),
        font(slots=(0x1C6, 0x1C7, 0xDB), count=512),
        with_blocks(*font(slots=())),
    ],
)
def test_cells_are_read_with_their_font(made: tuple[Font, dict[str, int]]) -> None:
    seen = monitor.picture(console(made), None)
    assert (seen.width, seen.height) == (640, 400)
    assert seen.code() == TOKEN


def test_a_font_with_wrong_pictures_is_found_out() -> None:
    """What the map alone would not tell: LatGrkCyr-8x16."""
    broken = font(upper=range(16), lower=range(16))
    assert monitor.picture(console(broken), None).code() is None


def findings(
    monkeypatch: pytest.MonkeyPatch, root: Path, shown: RecordedVt, mode: str = "live"
) -> list[Finding]:
    @contextlib.contextmanager
    def opened(devices: Path) -> Iterator[tuple[vt.Vt, Framebuffer | None]]:
        assert devices == root / "dev"
        yield shown, None

    monkeypatch.setattr(monitor, "opened", opened)
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/cmdline").write_text(f"kairos.mode={mode}")
    return list(check(Look(root, run)))


def test_the_doctor_tells_of_its_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (good,) = findings(monkeypatch, tmp_path, console(font()))
    assert (good.what, good.level) == ("screen", Level.OK)
    assert "EP1:" not in good.text, "who reads the answer does not get the code"
    broken = console(font(upper=range(16), lower=range(16)))
    (bad,) = findings(monkeypatch, tmp_path, broken)
    assert bad.level is Level.ADVICE
    assert bad.hint


def test_another_code_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = findings(monkeypatch, tmp_path, console(font(), "HTTPS://EXAMPLE.NET"))
    assert found.level is Level.ADVICE


def test_an_installed_machine_need_not_show_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert findings(monkeypatch, tmp_path, console(font(), ""), "installed") == []


def test_another_console_in_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = console(font())
    shown.front = False
    (found,) = findings(monkeypatch, tmp_path, shown)
    assert "Alt-F1" in found.hint


def test_a_machine_without_a_console(tmp_path: Path) -> None:
    with monitor.opened(tmp_path) as none:
        assert none is None
    (tmp_path / "tty1").write_bytes(b"")
    with monitor.opened(tmp_path) as none:
        assert none is None, "it is no virtual console"
