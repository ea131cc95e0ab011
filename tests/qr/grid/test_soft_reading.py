"""From a located code to its text: what blur and glare leave is read, garbage never."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pairing.qr import render
from pairing.qr.grid import decode as decoding
from pairing.qr.grid import layout
from pairing.qr.grid.decode import Corrected, Tries, decode, spare, text_of
from pairing.qr.grid.lattice import convex, from_corners
from pairing.qr.grid.softbits import SoftBits, learned_from, soft_bits
from pairing.testing.tilted import Tilted, View, tilted
from pairing.testing.tokens import random_token

TOKEN = random_token(random.Random(6))
NOISE = np.random.default_rng(2).uniform(0, 255, (300, 400)).astype(np.float32)
KAIROS_SIZE = "b3RwOgogIGRodDoKICAgIGludGVydmFsOiA5" * 15


def code_of(text: str) -> layout.Bool:
    return np.array(render.modules(text), dtype=np.bool_)


def read(photo: Tilted) -> Corrected | None:
    return decode(soft_bits(photo.gray, photo), Tries())


def exact(modules: layout.Bool) -> SoftBits:
    values = np.where(modules, np.float32(1), np.float32(-1))
    return SoftBits((len(modules) - 17) // 4, values)


@pytest.mark.parametrize("text", [TOKEN, KAIROS_SIZE, "Grüße, été, 日本"])
@pytest.mark.parametrize("pitch", [3.0, 5.5, 14.0])
def test_a_clear_view_has_no_wrong_bit(text: str, pitch: float) -> None:
    code = code_of(text)
    photo = tilted(code, View(pitch=pitch, tilt=35, noise=5))
    soft = soft_bits(photo.gray, photo)
    assert ((soft.values > 0) == code)[layout.layout(soft.version).data].all()
    assert soft.glare == 0
    found = decode(soft, Tries())
    assert found is not None
    assert text_of(found) == text
    assert (found.modules == code).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("text", [TOKEN, KAIROS_SIZE])
def test_blur_that_hides_single_modules_is_undone(text: str, seed: int) -> None:
    code = code_of(text)
    photo = tilted(code, View(pitch=6, blur=0.6, noise=2), seed)
    soft = soft_bits(photo.gray, photo)
    found = decode(soft, Tries())
    assert found is not None
    assert text_of(found) == text
    # The middle of a module alone would not do.
    middles = np.stack(np.meshgrid(*[np.arange(len(code)) + 0.5] * 2), axis=2).reshape(-1, 2)
    columns, rows = photo.pixels(middles).astype(int).T
    plain = (photo.gray[rows, columns] < 125).reshape(code.shape)
    wrong = (plain != code)[layout.layout(soft.version).data].mean()
    assert wrong > 0.05
    assert decode(exact(plain), Tries()) is None


@pytest.mark.parametrize("seed", range(4))
def test_glare_is_told_where_it_is_and_what_it_hides_is_mended(seed: int) -> None:
    photo = tilted(code_of(TOKEN), View(pitch=7, glare=0.25, noise=4), seed)
    soft = soft_bits(photo.gray, photo)
    assert 0.01 < soft.glare < 0.25
    assert soft.glare_at is not None
    x, y = (int(place) for place in soft.glare_at)
    assert photo.gray[y, x] > 230
    found = decode(soft, Tries())
    assert found is not None
    assert text_of(found) == TOKEN


def test_a_code_that_runs_out_of_the_picture_is_doubtful_there() -> None:
    photo = tilted(code_of(TOKEN), View(pitch=6, tilt=0))
    cut = photo.gray[:, : int(photo.gray.shape[1] * 0.8)]
    soft = soft_bits(cut, photo)
    data = layout.layout(soft.version).data[:, -3:]
    assert (soft.values[:, -3:][data] == 0).all()
    assert (np.abs(soft.values[:, :20]) > 0.3).mean() > 0.9


@pytest.mark.parametrize("picture", [np.zeros((40, 50)), np.full((3, 2), 255.0), np.ones((9, 300))])
def test_nothing_in_the_picture_is_no_code(picture: layout.Float) -> None:
    gray = picture.astype(np.float32)
    photo = tilted(code_of(TOKEN), View())
    assert decode(soft_bits(gray, photo), Tries()) is None


@pytest.mark.parametrize("seed", range(3))
def test_solved_blocks_teach_the_equaliser(seed: int) -> None:
    code = code_of(KAIROS_SIZE)
    photo = tilted(code, View(pitch=4, blur=0.65, noise=3), seed)
    soft = soft_bits(photo.gray, photo)
    truth = np.where(code, np.float32(1), np.float32(-1))
    learned = learned_from(soft, truth)
    data = layout.layout(soft.version).data

    def wrong(bits: SoftBits) -> float:
        return float(((bits.values > 0) != code)[data].mean())

    assert wrong(learned) < wrong(soft)


@given(
    st.lists(st.tuples(*[st.floats(-900, 1500)] * 2), min_size=4, max_size=4),
    st.sampled_from([1, 4, 12]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_wherever_a_code_is_guessed_the_answer_is_no_code(
    corners: list[tuple[float, float]], version: int
) -> None:
    """Beyond the picture, its margin behind the camera: no exception, no warning."""
    edges = np.roll(np.array(corners), -1, axis=0) - corners
    assume(
        convex(np.array(corners))
        and (np.linalg.det(np.stack([edges, np.roll(edges, -1, axis=0)], axis=1)) > 50).all()
    )
    guess = from_corners(version, corners)
    assert decode(soft_bits(NOISE, guess), Tries()) is None


# --- luck ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "level", "expected"),
    [(4, "M", 6), (5, "M", 6), (18, "M", 4), (2, "M", 12), (7, "M", 4), (5, "Q", 4)],
)
def test_the_parity_that_is_kept(version: int, level: layout.Level, expected: int) -> None:
    count = len(layout.blocks(version, level))
    assert spare(count) == expected
    assert spare(count) * count >= 12


def garbage(chance: np.random.Generator, version: int) -> SoftBits:
    """A grid that looks like a code, format and all, with data by chance."""
    table = layout.layout(version)
    word = layout.formats()[int(chance.integers(32))]
    values = chance.uniform(-1, 1, table.known.shape).astype(np.float32)
    values = np.where(table.known != 0, table.known, values)
    cells = table.format_cells
    values[cells[..., 0], cells[..., 1]] = np.where(word.bits, 1, -1)
    return SoftBits(version, values)


def accepted(count: int, seed: int) -> int:
    chance = np.random.default_rng(seed)
    tries = Tries(limit=count)
    return sum(decode(garbage(chance, n % 7 + 1), tries) is not None for n in range(count))


def test_garbage_under_right_patterns_is_never_accepted() -> None:
    assert accepted(350, seed=7) == 0


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_garbage_of_twenty_thousand_is_accepted() -> None:
    assert accepted(20_000, seed=8) == 0


def test_without_the_limit_garbage_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: with all parity spent on erasures, chance becomes a code."""
    monkeypatch.setattr(decoding, "SPARE_IN_BLOCK", 0)
    monkeypatch.setattr(decoding, "SPARE_IN_CODE", 0)
    monkeypatch.setattr(decoding, "CLEAR_SPARE", 0)
    assert accepted(20, seed=7) > 10


def misread(count: int) -> int:
    """How often a large code is accepted of which one block is chance and all others are right."""
    code = code_of(KAIROS_SIZE)
    sure = exact(code)
    table = layout.layout(sure.version)
    places = layout.blocks(sure.version, "M")[2].places
    rows, columns = table.order[(places[:, None] * 8 + np.arange(8)).ravel()].T
    found = 0
    for seed in range(count):
        values = sure.values.copy()
        values[rows, columns] = np.random.default_rng(seed).uniform(-1, 1, len(rows))
        found += decode(SoftBits(sure.version, values), Tries()) is not None
    return found


def test_a_block_of_chance_among_right_ones_is_not_mended() -> None:
    assert misread(60) == 0


def test_without_a_look_at_what_was_seen_such_a_block_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the parity that is kept lets one such block in 30 pass."""
    monkeypatch.setattr(decoding, "CLEAR_SPARE", 0)
    assert misread(120) > 0


def test_codes_without_parity_to_spare_are_not_read_here() -> None:
    """Version 1 at level L has 7 parity symbols: a lucky grid in ten thousand."""
    code = layout.modules_of(1, "L", 0, [0x40, *range(25)])
    assert decode(exact(code), Tries()) is None


def test_only_so_many_results_go_to_the_final_check() -> None:
    soft, tries = exact(code_of(TOKEN)), Tries()
    found = [decode(soft, tries) for _ in range(70)]
    assert sum(one is not None for one in found) == 64
    assert not tries.left


def test_a_grid_without_a_format_is_no_code() -> None:
    soft = exact(code_of(TOKEN))
    values = soft.values.copy()
    cells = layout.layout(soft.version).format_cells
    # Half of each copy says the contrary of the other.
    values[cells[0, :, 0], cells[0, :, 1]] = 1
    values[cells[1, :, 0], cells[1, :, 1]] = -1
    assert decode(SoftBits(soft.version, values), Tries()) is None
