"""Lattices, their fit to a picture, and the search for codes that no engine saw."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from pairing.qr.grid import align, corner, finders, lattice
from pairing.qr.grid.layout import known

SQUARE = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture of a code with random data, and where the code lies in it."""

    image: Image.Image
    truth: lattice.Lattice

    @property
    def gray(self) -> align.Gray:
        return np.asarray(self.image, dtype=np.float32)


def shot(
    version: int,
    corners: list[tuple[float, float]],
    blur: float = 1.0,
    bend: list[list[float]] | None = None,
    ink: tuple[int, int] = (30, 220),
) -> Shot:
    """A code of random data with a wide quiet zone on a gray wall, 640 x 480."""
    chance = np.random.default_rng(version)
    signs = known(version)
    data = chance.choice([-1.0, 1.0], signs.shape)
    modules = np.pad(np.where(signs == 0, data, signs), 4, constant_values=-1)
    flat = lattice.from_corners(version, corners)
    truth = lattice.Lattice(version, flat.homography, None if bend is None else np.array(bend))
    y, x = np.mgrid[0:480, 0:640]
    pixels = (np.stack((x.ravel(), y.ravel()), axis=1) + 0.5).astype(np.float64)
    back = np.linalg.inv(truth.homography).astype(np.float64)
    straight = at = lattice.project(back, pixels)
    if truth.bend is not None:
        for _ in range(6):  # the bend is small: going back by iteration converges
            at = straight - lattice.bend_terms(at, truth.size) @ truth.bend.T
    cells = np.floor(at).astype(int) + 4
    inside = ((cells >= 0) & (cells < len(modules))).all(axis=1)
    cells = np.clip(cells, 0, len(modules) - 1)
    light = np.where(modules[cells[:, 1], cells[:, 0]] > 0, ink[0], ink[1])
    picture = np.where(inside, light, 120).reshape(480, 640).astype(np.uint8)
    return Shot(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(blur)), truth)


UPRIGHT = [(200.0, 120.0), (440.0, 120.0), (440.0, 360.0), (200.0, 360.0)]
TILTED = [(210.0, 110.0), (430.0, 150.0), (400.0, 350.0), (170.0, 330.0)]


def off_by(found: lattice.Lattice, truth: lattice.Lattice) -> float:
    """The largest error of a module's place, in modules."""
    line = np.linspace(0.5, truth.size - 0.5, 9)
    points = np.stack([axis.ravel() for axis in np.meshgrid(line, line)], axis=1)
    error = np.linalg.norm(found.pixels(points) - truth.pixels(points), axis=1)
    return float(error.max()) / truth.pitch


@given(
    corners=st.lists(st.tuples(st.floats(-40, 40), st.floats(-40, 40)), min_size=4, max_size=4).map(
        lambda moves: np.array(UPRIGHT) + moves
    ),
    version=st.integers(1, 40),
)
def test_a_lattice_has_the_corners_that_it_was_made_from(
    corners: lattice.Points, version: int
) -> None:
    made = lattice.from_corners(version, corners)
    assert np.allclose(made.corners, corners, atol=1e-6)
    assert made.pitch == pytest.approx(math.sqrt(lattice.area(corners)) / made.size)


@given(left=st.floats(0, 500), top=st.floats(0, 500), scale=st.floats(0.1, 4))
def test_a_crop_moves_the_lattice_with_the_picture(left: float, top: float, scale: float) -> None:
    made = lattice.from_corners(3, TILTED)
    cropped = made.within(left, top, scale)
    assert np.allclose(cropped.corners, (np.array(TILTED) - (left, top)) * scale, atol=1e-6)
    assert np.allclose(cropped.out_of(left, top, scale).corners, TILTED, atol=1e-6)


def test_three_points_in_a_line_hold_no_lattice() -> None:
    with pytest.raises(ValueError, match="in a line"):
        lattice.from_corners(1, [(0, 0), (1, 0), (2, 0), (0, 0)])


@pytest.mark.parametrize("corners", [UPRIGHT, TILTED])
@pytest.mark.parametrize("version", [1, 7])
def test_a_guess_off_by_a_module_and_a_half_is_pulled_to_the_code(
    version: int, corners: list[tuple[float, float]]
) -> None:
    seen = shot(version, corners)
    moves = np.array([(1.0, -0.8), (0.5, 1.2), (-1.0, 1.0), (0.7, 1.1)]) * seen.truth.pitch
    guess = lattice.from_corners(version, np.array(corners) + moves)
    assert off_by(guess, seen.truth) > 1
    found = align.aligned(seen.gray, guess)
    assert found.fit > 0.85
    assert off_by(found, seen.truth) < 0.15


@pytest.mark.parametrize("other", [4, 6])
def test_another_version_does_not_fit(other: int) -> None:
    seen = shot(5, TILTED)
    assert align.aligned(seen.gray, lattice.from_corners(5, TILTED)).fit > 0.85
    assert align.aligned(seen.gray, lattice.from_corners(other, TILTED)).fit < 0.6


def test_a_curved_surface_is_followed_only_by_a_bent_lattice() -> None:
    bend = [[0.0, 3.0, 0.0, 0.5], [5.0, 0.0, 0.8, 0.0]]
    seen = shot(4, TILTED, bend=bend)
    guess = align.aligned(seen.gray, lattice.from_corners(4, TILTED))
    found = align.aligned(seen.gray, lattice.Lattice(4, guess.homography), bent=True)
    assert off_by(guess, seen.truth) > 0.4
    assert off_by(found, seen.truth) < 0.25


def located(seen: Shot, *, hard: bool = False) -> lattice.Lattice | None:
    """The best lattice that the search finds in a picture."""
    gray = seen.gray
    todo = finders.stages(seen.image.size, hard=hard)
    for _, stage in finders.triples(seen.image, todo):
        for triple in stage:
            for guess in corner.guesses(255 - gray if triple.inverted else gray, triple):
                found = align.aligned(255 - gray if triple.inverted else gray, guess)
                if found.fit > 0.8:
                    return found
    return None


@pytest.mark.parametrize("version", [1, 6])
@pytest.mark.parametrize("turn", [0, 25, 45, 160])
def test_a_code_is_found_by_its_finders(version: int, turn: int) -> None:
    angle = math.radians(turn)
    spin = np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))])
    corners = ((np.array(TILTED) - (300, 235)) @ spin + (320, 240)).tolist()
    seen = shot(version, corners, blur=2)
    found = located(seen)
    assert found is not None
    assert found.version == version
    assert off_by(found, seen.truth) < 0.25


def test_a_code_in_light_on_dark_is_found() -> None:
    found = located(shot(4, TILTED, ink=(220, 30)))
    assert found is not None
    assert found.version == 4


def test_a_code_seen_from_far_aside_is_found() -> None:
    leaning = [(280.0, 90.0), (390.0, 150.0), (390.0, 360.0), (280.0, 320.0)]
    found = located(shot(3, leaning), hard=True)
    assert found is not None
    assert found.version == 3


def test_a_code_too_small_for_the_quick_search_is_found_in_a_large_picture() -> None:
    small = shot(2, [(300.0, 200.0), (366.0, 206.0), (360.0, 272.0), (294.0, 266.0)], blur=0.7)
    large = Image.new("L", (1600, 1200), 120)
    large.paste(small.image, (700, 500))
    assert small.truth.pitch * finders.SIDE / 1600 < 1.3
    found = located(Shot(large, small.truth.out_of(-700, -500, 1)))
    assert found is not None
    assert found.version == 2


def test_noise_holds_no_code() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (480, 640), dtype=np.uint8)
    image = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2))
    assert located(Shot(image, lattice.from_corners(1, UPRIGHT))) is None
