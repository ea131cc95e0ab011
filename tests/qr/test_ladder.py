"""The decoders in order: tokens survive a screenshot, a phone and a messenger."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from node.canvas import frame
from node.screen import Abilities, Screen, layout
from node.texts import load
from pairing.qr import ladder, photo, render, zbar
from pairing.qr.read import PhotoReader, token_from
from pairing.qr.reading import Code, kind_of
from pairing.testing.photos import SEVERITIES, photograph, picture
from pairing.testing.tokens import random_token

ZBAR = zbar.load()
has_zbar = pytest.mark.skipif(ZBAR is None, reason="libzbar0 is not installed")


def is_token(text: str) -> bool:
    return kind_of(text) is not None


def screenshot(code: render.Modules, scale: int = 4) -> Image.Image:
    grid = render.enlarge(code, scale)
    pixels = bytes(0 if module else 255 for row in grid for module in row)
    return Image.frombytes("L", (len(grid), len(grid)), pixels)


def console(token: str, columns: int, rows: int, **able: Any) -> Image.Image:
    lines = layout(Screen(token=token), columns, rows, Abilities(**able), load("en"))
    return picture(frame(lines, ()), columns, rows)


@pytest.fixture(scope="module")
def reader() -> Iterator[PhotoReader]:
    with PhotoReader() as reader:
        yield reader


# --- round trips --------------------------------------------------------------------------------


@pytest.mark.slow
def test_tokens_survive_a_screenshot_in_both_decoders() -> None:
    chance = random.Random(4917)
    for number in range(100):
        token = random_token(chance, hint=number % 2 == 0)
        image = screenshot(render.modules(token), 3)
        assert [s.text for s in ladder.with_zxing(image)] == [token]
        if ZBAR:
            assert [s.text for s in ladder.with_zbar(image, ZBAR)] == [token]


@pytest.mark.parametrize("half_blocks", [True, False])
def test_tokens_survive_a_console_in_both_decoders(half_blocks: bool) -> None:
    chance = random.Random(7)
    for _ in range(10):
        token = random_token(chance)
        image = console(token, 128, 48, half_blocks=half_blocks).convert("L")
        assert [s.text for s in ladder.with_zxing(image)] == [token]
        if ZBAR:
            assert [s.text for s in ladder.with_zbar(image, ZBAR)] == [token]


@pytest.mark.parametrize(("severity", "size"), [(1, (128, 48)), (2, (80, 24)), (3, (80, 25))])
def test_photos_of_consoles_are_read(
    severity: int, size: tuple[int, int], reader: PhotoReader
) -> None:
    token = random_token(random.Random(severity))
    assert token_from(reader.read(photograph(console(token, *size), severity, 1))).text == token


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_bad_photos_are_mostly_read_and_never_misread(reader: PhotoReader) -> None:
    read = 0
    for seed in range(6):
        token = random_token(random.Random(seed))
        reading = reader.read(photograph(console(token, 80, 25), 4, seed))
        assert set(reading.texts) <= {token}
        read += reading.tokens == (token,)
    assert read >= 5


def test_photographs_are_reproducible_and_get_worse() -> None:
    page = console(random_token(random.Random(1)), 80, 24)
    assert photograph(page, 3, 5) == photograph(page, 3, 5)
    for field in ("tilt", "roll", "focus", "shake", "noise"):
        values = [getattr(severity, field) for severity in SEVERITIES.values()]
        assert values == sorted(values)


# --- the steps ----------------------------------------------------------------------------------


def test_names_are_unique_and_raw_is_first() -> None:
    names = [step.name for step in ladder.STEPS]
    assert len(set(names)) == len(names)
    assert names[0] == "raw"


@given(st.integers(1, 80), st.integers(1, 80))
def test_every_preparation_takes_every_size(width: int, height: int) -> None:
    image = Image.new("L", (width, height), 77)
    for step in ladder.STEPS:
        ready = step.prepare(image)
        assert ready is None or (ready.mode == "L" and min(ready.size) >= 1)


def test_it_stops_at_the_first_step_that_finds_a_token() -> None:
    token = random_token(random.Random(3))
    found = ladder.climb(screenshot(render.modules(token)), is_token, zbar=ZBAR)
    assert found.steps == ("raw",)
    assert found.codes[0].step == "raw"


def test_it_goes_on_for_foreign_codes_unless_any_will_do() -> None:
    image = screenshot(render.modules("https://example.org"))
    whole = ladder.climb(image, is_token, zbar=None)
    assert [code.text for code in whole.codes] == ["https://example.org"]
    assert whole.steps == tuple(
        step.name
        for step in ladder.STEPS
        if step.engine == "zxing" and not step.hard and step.name != "700 px"
    )
    short = ladder.climb(image, is_token, zbar=None, any_text=True)
    assert short.steps == ("raw",)


def test_hard_tries_more() -> None:
    blank = Image.new("L", (300, 300), 128)
    usual = ladder.climb(blank, is_token, zbar=None)
    hard = ladder.climb(blank, is_token, zbar=None, hard=True)
    assert set(usual.steps) < set(hard.steps)


def test_the_budget_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    blank = Image.new("L", (300, 300), 128)
    monkeypatch.setattr(ladder, "BUDGET_MS", -1)
    assert ladder.climb(blank, is_token, zbar=None).steps == ("raw",)
    assert len(ladder.climb(blank, is_token, zbar=None, hard=True).steps) > 5


def test_positions_are_those_of_the_photo_in_every_step() -> None:
    """A code found in a shrunk or enlarged copy is reported where it is in the original."""
    page = Image.new("L", (1200, 900), 255)
    token = random_token(random.Random(3))
    page.paste(screenshot(render.modules(token), 6), (600, 300))
    wanted = (624, 324, 624 + 33 * 6, 324 + 33 * 6)
    seen = set()
    for step in ladder.STEPS:
        ready = step.prepare(page)
        if ready is None or (step.engine == "zbar" and ZBAR is None) or step.name == "turned 20":
            continue
        codes = [c for c in ladder.look(step, ready, page, ZBAR) if isinstance(c, Code)]
        for code in codes:
            across, down = [x for x, _ in code.corners], [y for _, y in code.corners]
            box = (min(across), min(down), max(across), max(down))
            assert max(abs(a - b) for a, b in zip(box, wanted, strict=True)) <= 10, step.name
            first = code.corners[0]
            assert abs(first[0] - wanted[0]) + abs(first[1] - wanted[1]) <= 20, step.name
            seen.add(step.name)
    assert len(seen) > 8


def test_a_place_read_later_is_no_longer_unreadable() -> None:
    """Two codes, one damaged beyond repair: it alone remains as unreadable."""
    token = random_token(random.Random(3))
    page = Image.new("L", (800, 400), 255)
    page.paste(screenshot(render.modules(token), 6), (20, 50))
    damaged = screenshot(render.modules("https://example.org/menu"), 6)
    ImageDraw.Draw(damaged).rectangle((80, 76, 200, 170), fill=255)
    page.paste(damaged, (450, 50))
    found = ladder.climb(page, is_token, zbar=ZBAR)
    assert [code.text for code in found.codes] == [token]
    assert len(found.unread) == 1
    assert all(x > 400 for x, _ in found.unread[0].corners)
    assert found.tried[0].located == 1


# --- zbar ---------------------------------------------------------------------------------------


@has_zbar
def test_zbar_reads_qr_codes_only() -> None:
    import zxingcpp

    assert ZBAR is not None
    code = zxingcpp.create_barcode("4006381333931", zxingcpp.BarcodeFormat.EAN13)
    bars = Image.fromarray(zxingcpp.write_barcode_to_image(code, scale=4))
    page = Image.new("L", (bars.width + 400, 500), 255)
    page.paste(bars, (40, 40))
    page.paste(screenshot(render.modules("HELLO")), (bars.width + 60, 60))
    found = ZBAR.read(page.width, page.height, page.tobytes())
    assert [data for data, _ in found] == [b"HELLO"]


class FakeLibrary(SimpleNamespace):
    """Says it is of a version; has no other function."""

    def zbar_version(self, *numbers: Any) -> int:
        for number, value in zip(numbers, self.says, strict=True):
            number._obj.value = value
        return 0


@pytest.mark.parametrize("says", [(0, 20, 1), (0, 23, 90), (0, 23, 91)])
def test_an_old_zbar_is_refused(says: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeLibrary(says=says)
    monkeypatch.setattr("ctypes.CDLL", lambda name: library)
    assert zbar.library_version(library) == says
    assert zbar.load() is None


def test_a_missing_zbar_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert zbar.load() is None


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    """`--help` pays for neither Pillow nor the decoders nor numpy."""
    import subprocess
    import sys

    script = (
        "import sys, pairing.qr.read, pairing.qr.render, pairing.qr.advice, node.console;"
        "print([m for m in ('PIL', 'zxingcpp', 'numpy', 'qrcode', 'pyzbar') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert photo.FILE_LIMIT == 25_000_000
