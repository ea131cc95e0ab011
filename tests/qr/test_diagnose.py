"""Why a photo gave no token: each fault is named, in photos that have only that one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import explaining
from pairing import errors
from pairing.language import LANGUAGES
from pairing.qr import annotate, diagnose
from pairing.qr.advice import advice
from pairing.qr.read import PhotoReader, token_from
from pairing.qr.reading import Code, Corners, Reading, Seen
from pairing.qr.texts import load
from pairing.testing import spoiled

BOX: Corners = ((400, 300), (800, 300), (800, 700), (400, 700))


def code(**about: object) -> Seen:
    """One that nothing is wrong with."""
    fields: dict[str, object] = {"corners": BOX, "version": 4, "fit": 0.9, "pitch": 400 / 33}
    return Seen(**{**fields, **about})  # type: ignore[arg-type]


def why(*seen: Seen, blur: float = 1.0) -> errors.PhotoError:
    return diagnose.reason(Reading(photo="x", width=1600, height=1200, seen=seen, blur=blur))


@pytest.mark.parametrize(
    ("about", "error"),
    [
        ({}, errors.CodeUnreadable),
        ({"cut": "left"}, errors.CodeCutOff),
        ({"glare": 0.2, "glare_at": (600, 500)}, errors.CodeGlare),
        ({"pitch": 2.5}, errors.CodeTooSmall),
        ({"pitch": 4.5, "blur": 1.0}, errors.CodeTooSmall),
        ({"blur": 9.0}, errors.PhotoBlurred),
        ({"pitch": 4.5, "blur": 4.0}, errors.PhotoBlurred),
        ({"corners": ((400, 300), (800, 300), (800, 450), (400, 450))}, errors.CodeTooFlat),
        ({"corners": ((-60, 300), (340, 300), (340, 700), (-60, 700))}, errors.CodeCutOff),
    ],
)
def test_each_cause(about: dict[str, object], error: type[errors.PhotoError]) -> None:
    assert type(why(code(**about))) is error


@pytest.mark.parametrize(
    ("corners", "side"),
    [
        (((-60, 300), (340, 300), (340, 700), (-60, 700)), "left"),
        (((1300, 300), (1700, 300), (1700, 700), (1300, 700)), "right"),
        (((400, -60), (800, -60), (800, 340), (400, 340)), "top"),
        (((400, 900), (800, 900), (800, 1300), (400, 1300)), "bottom"),
    ],
)
def test_the_side_is_named(corners: Corners, side: str) -> None:
    found = why(code(corners=corners))
    assert isinstance(found, errors.CodeCutOff)
    assert found.where == side
    assert side in advice(found)


def test_every_place_is_named_in_every_language() -> None:
    said = set()
    for row in range(3):
        for column in range(3):
            at = (400 + 70 + 130 * column, 300 + 70 + 130 * row)
            found = why(code(glare=0.2, glare_at=at))
            assert isinstance(found, errors.CodeGlare)
            assert found.where == diagnose.PLACES[3 * row + column]
            said |= {advice(found, language) for language in LANGUAGES}
    assert len(said) == 9 * len(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_all(language: str) -> None:
    texts, first = load(language), load("en")
    assert texts.sentences.keys() == first.sentences.keys()
    assert texts.labels.keys() == first.labels.keys()
    assert texts.places.keys() == set(diagnose.PLACES)
    for slug, sentence in texts.sentences.items():
        assert len(sentence) < 200
        assert ("{where}" in sentence) is (slug in ("photo-glare", "photo-cut-off"))


def test_a_place_that_is_not_known_is_not_made_up() -> None:
    for error in (errors.CodeGlare.at(""), errors.CodeCutOff()):
        assert advice(error) == advice(errors.CodeUnreadable())


def test_the_likeliest_code_decides() -> None:
    noise = Seen(((0, 0), (9, 0), (9, 9), (0, 9)), fit=0.0)
    assert type(why(noise, code(blur=9.0))) is errors.PhotoBlurred
    assert type(why(code(blur=9.0), noise)) is errors.PhotoBlurred


def test_a_code_that_was_read_is_no_reason() -> None:
    assert type(why(code(read=True, blur=9.0))) is errors.NoCodeFound


def test_nothing_in_a_blurred_photo_is_its_blur() -> None:
    assert type(why(blur=1.0)) is errors.NoCodeFound
    assert type(why(blur=12.0)) is errors.PhotoBlurred


def test_a_foreign_code_is_foreign_in_a_blurred_photo_too() -> None:
    read = Reading(photo="x", codes=(Code("hello", BOX),), width=1600, height=1200, blur=12.0)
    assert type(diagnose.reason(read)) is errors.ForeignCode


def guess(**about: object) -> Seen:
    """An area that looks like a code and has nothing wrong with it."""
    return code(**{"version": None, "fit": 0.0, "pitch": 400 / 37, "guessed": True, **about})


def flat(side: int, angle: float) -> Corners:
    high = round(side * math.cos(math.radians(angle)))
    return ((400, 300), (400 + side, 300), (400 + side, 300 + high), (400, 300 + high))


@pytest.mark.parametrize(
    ("about", "error"),
    [
        ({}, errors.NoCodeFound),
        ({"pitch": 2.9, "corners": flat(107, 10)}, errors.CodeTooSmall),
        ({"pitch": 3.1, "corners": flat(115, 10)}, errors.NoCodeFound),
        ({"pitch": 5.0, "corners": flat(400, 75)}, errors.CodeTooFlat),
        ({"pitch": 5.0, "corners": flat(400, 50)}, errors.NoCodeFound),
        ({"blur": 9.0}, errors.PhotoBlurred),
        # Both: from the front it would still be too small; only from there its angle shows.
        ({"pitch": 1.0, "corners": flat(80, 75)}, errors.CodeTooSmall),
        ({"pitch": 2.0, "corners": flat(160, 75)}, errors.CodeTooFlat),
        ({"pitch": 5.0, "corners": flat(400, 75), "blur": 9.0}, errors.CodeTooFlat),
    ],
)
def test_what_only_looks_like_a_code_gives_a_reason_where_it_is_plain(
    about: dict[str, object], error: type[errors.PhotoError]
) -> None:
    assert type(why(guess(**about))) is error


def test_a_guess_comes_after_whatever_was_located_or_read() -> None:
    small = guess(pitch=2.0, corners=flat(74, 10))
    assert type(why(small)) is errors.CodeTooSmall
    assert type(why(small, code(cut="left"))) is errors.CodeCutOff
    read = Reading(photo="x", codes=(Code("hello", BOX),), width=1600, height=1200, seen=(small,))
    assert type(diagnose.reason(read)) is errors.ForeignCode


def test_a_sharp_picture_is_not_blurred_however_small_it_is() -> None:
    tiny = Reading(photo="x", width=160, height=120, blur=1.4)
    assert type(diagnose.reason(tiny)) is errors.NoCodeFound
    assert type(diagnose.reason(replace(tiny, blur=4.0))) is errors.PhotoBlurred


@given(st.floats(0, 75), st.floats(0, 360), st.floats(0, 360), st.floats(50, 500))
def test_tilt_is_measured_from_the_corners(
    tilt: float, towards: float, roll: float, size: float
) -> None:
    """A square turned about itself, then tilted about any axis, seen from far away."""
    axis, turn = math.radians(towards), math.radians(roll)
    corners = []
    for x, y in ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)):
        x, y = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
        u = x * math.cos(axis) + y * math.sin(axis)
        v = (-x * math.sin(axis) + y * math.cos(axis)) * math.cos(math.radians(tilt))
        x, y = u * math.cos(axis) - v * math.sin(axis), u * math.sin(axis) + v * math.cos(axis)
        corners.append((round(1000 + size * 10 * x), round(1000 + size * 10 * y)))
    look = diagnose.look_at(Seen(tuple(corners)))
    assert math.cos(math.radians(look.tilt)) == pytest.approx(
        math.cos(math.radians(tilt)), abs=0.01
    )


@given(
    st.lists(st.tuples(st.integers(-9, 3000), st.integers(-9, 3000)), max_size=6),
    st.floats(0, 1),
    st.floats(0, 50),
    st.one_of(st.none(), st.tuples(st.integers(-9, 3000), st.integers(-9, 3000))),
)
def test_whatever_was_seen_has_a_reason(
    corners: list[tuple[int, int]], glare: float, pitch: float, at: tuple[int, int] | None
) -> None:
    seen = Seen(tuple(corners), fit=0.5, pitch=pitch, glare=glare, glare_at=at, blur=2.0)
    for one in (seen, replace(seen, guessed=True)):
        assert advice(why(one)).endswith(".")


# --- photos -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader() -> Iterator[PhotoReader]:
    with PhotoReader() as reader:
        yield reader


def test_a_good_photo_is_read(reader: PhotoReader) -> None:
    assert token_from(reader.read(spoiled.photo("none"))).text


@pytest.mark.parametrize("fault", spoiled.NAMED)
def test_the_fault_is_named(fault: str, reader: PhotoReader) -> None:
    """One photo of each here, and twenty in `make soak`; none of these is read in spite of it."""
    with pytest.raises(errors.PhotoError) as raised:
        token_from(reader.read(spoiled.photo(fault)))
    assert raised.value.slug == spoiled.NAMED[fault]
    if isinstance(raised.value, errors.CodeGlare):
        assert raised.value.where in ("middle", "bottom", "right", "bottom right")


def test_what_only_looks_like_a_code_is_said_and_drawn_but_not_located(reader: PhotoReader) -> None:
    reading = reader.read(spoiled.photo("small on console"))
    (seen,) = reading.seen
    assert seen.guessed
    assert reading.tried[-1].step == "grid looks like a code"
    assert not reading.unreadable
    (mark,) = annotate.marks(reading, load("en"))
    assert mark.words == "too small"
    assert mark.corners == seen.corners
    assert "looks like a code at" in explaining.lines("x", reading)[-1]
