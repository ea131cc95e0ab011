"""The grid reader's door: what is read, what is only seen, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import qrcode
from PIL import Image, ImageDraw, ImageFilter

from pairing.qr.grid import lattice, reader
from pairing.qr.ladder import with_zxing
from pairing.qr.reading import Place

TEXT = "EP1:" + "KAIROS-2026-" * 5
TILTED = [(210.0, 110.0), (430.0, 150.0), (400.0, 350.0), (170.0, 330.0)]


def photo(
    text: str = TEXT, blur: float = 4.0, corners: list[tuple[float, float]] = TILTED
) -> Image.Image:
    """A tilted code on a gray wall, too blurred for zxing-cpp."""
    code = qrcode.QRCode(border=4, box_size=8)
    code.add_data(text)
    clean = code.make_image().get_image().convert("L")
    n = code.modules_count
    flat = lattice.from_corners((n - 17) // 4, corners)
    back = np.linalg.inv(flat.homography)
    pixels = np.array([[8, 0, 32], [0, 8, 32], [0, 0, 1]]) @ back
    pixels = (pixels / pixels[2, 2]).ravel()[:8]
    seen = clean.transform(
        (640, 480),
        Image.Transform.PERSPECTIVE,
        list(pixels),
        Image.Resampling.BICUBIC,
        fillcolor=90,
    )
    return seen.filter(ImageFilter.GaussianBlur(blur))


def corners_off(code: tuple[tuple[int, int], ...]) -> float:
    return float(np.abs(np.array(code) - TILTED).max())


def test_a_code_that_the_engine_does_not_read_is_read() -> None:
    picture = photo()
    assert not any(symbol.text for symbol in with_zxing(picture))  # control
    found = reader.read(picture, (), lambda text: text == TEXT)
    assert [code.text for code in found.codes] == [TEXT]
    assert found.codes[0].step.startswith("grid finders")
    assert corners_off(found.codes[0].corners) < 4
    assert found.seen[0].read
    assert found.seen[0].version == 4
    assert found.seen[0].fit > 0.6
    assert found.seen[0].cut == ""
    assert not found.soft


def test_an_engines_place_saves_the_search() -> None:
    rough = tuple((round(x) + 3, round(y) - 3) for x, y in TILTED)
    found = reader.read(photo(), [Place(rough, 4)], lambda text: text == TEXT)
    assert [code.text for code in found.codes] == [TEXT]
    assert [step.step for step in found.steps] == ["grid"]


def test_a_place_where_nothing_is_harms_nothing() -> None:
    places = [Place(((1, 1), (60, 1), (60, 60), (1, 60)), 3), Place(((5, 5),) * 4, 2), Place((), 1)]
    found = reader.read(photo(), places, lambda text: text == TEXT)
    assert [code.text for code in found.codes] == [TEXT]


def test_a_text_that_is_not_accepted_does_not_end_the_search() -> None:
    found = reader.read(photo(), (), lambda text: False)
    assert {code.text for code in found.codes} == {TEXT}
    assert len(found.steps) > 1


def test_only_versions_asked_for_are_looked_for() -> None:
    assert not reader.read(photo(), (), lambda text: True, versions=[3], budget_ms=400).codes
    assert reader.read(photo(), (), lambda text: True, versions=[3, 4]).codes


def test_what_is_too_damaged_is_seen_and_kept_for_summing() -> None:
    picture = photo(blur=1)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((230, 200, 420, 300), fill=120)
    found = reader.read(picture, (), lambda text: True, budget_ms=1200)
    assert not found.codes
    assert not found.seen[0].read
    assert found.seen[0].version == 4
    assert found.soft[0].version == 4


def test_glare_is_told_with_its_place() -> None:
    picture = photo(blur=1)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((250, 180, 380, 310), fill=255)
    found = reader.read(picture, (), lambda text: True, budget_ms=1200)
    assert found.seen[0].glare > 0.1
    assert found.seen[0].glare_at is not None
    x, y = found.seen[0].glare_at
    assert abs(x - 315) < 25
    assert abs(y - 245) < 25


@pytest.mark.parametrize(
    ("side", "shift"), [("left", (-200, 0)), ("top", (0, -135)), ("", (0, 0)), ("right", (225, 0))]
)
def test_the_side_where_a_code_leaves_the_picture(side: str, shift: tuple[int, int]) -> None:
    moved = lattice.from_corners(3, np.array(TILTED) + shift)
    assert reader.cut_side(moved, (640, 480)) == side


def test_a_curved_code_is_read() -> None:
    picture = np.asarray(photo(blur=1))
    y, x = np.mgrid[0:480, 0:640].astype(np.float64)
    down = y + 12 * (((x - 300) / 115) ** 2 - 1) * (np.abs(x - 300) < 160)
    rows = np.clip(down.round().astype(int), 0, 479)
    bent = Image.fromarray(picture[rows, x.astype(int)])
    found = reader.read(bent, (), lambda text: text == TEXT)
    assert [code.text for code in found.codes] == [TEXT]
    assert found.codes[0].step.endswith(" bend")


def test_texture_holds_no_code() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (120, 160), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC)
    found = reader.read(picture, (), lambda text: True)
    assert not found.codes


def test_no_time_means_no_search() -> None:
    assert not reader.read(photo(), (), lambda text: True, budget_ms=0).codes
