"""Why a photo gave no token: each fault is named, in photos that have only that one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import errors
from pairing.language import LANGUAGES
from pairing.qr import diagnose
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
    assert advice(why(seen)).endswith(".")


# --- photos -------------------------------------------------------------------------------------

NAMED = {
    "blurred": {"photo-blurred"},
    "shaken": {"photo-blurred"},
    "small": {"photo-too-small", "photo-no-code"},
    "glare": {"photo-glare"},
    "cut": {"photo-cut-off"},
    "flat": {"photo-too-flat", "photo-no-code"},
    "foreign": {"photo-foreign"},
    "nothing": {"photo-no-code"},
}
"""What each fault may be called. Below two pixels a module and beyond 70 degrees no code is found:
so the sentence for "nothing found" says to go close and to stand before the screen."""


@pytest.fixture(scope="module")
def reader() -> Iterator[PhotoReader]:
    with PhotoReader() as reader:
        yield reader


def reasons(reader: PhotoReader, fault: str, seeds: range) -> Counter[str]:
    """How often each reason is named; photos that are read in spite of the fault left out."""
    found: Counter[str] = Counter()
    for seed in seeds:
        try:
            token_from(reader.read(spoiled.photo(fault, seed), name=fault))
        except errors.PhotoError as wrong:
            found[wrong.slug] += 1
    return found


def test_a_good_photo_is_read(reader: PhotoReader) -> None:
    assert not reasons(reader, "none", range(3))


@pytest.mark.parametrize("fault", NAMED)
def test_the_fault_is_named(fault: str, reader: PhotoReader) -> None:
    found = reasons(reader, fault, range(1))
    assert found.keys() <= NAMED[fault]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_faults_are_not_confused(reader: PhotoReader) -> None:
    """Of the photos that are not read, nine in ten are called what they are."""
    table = {fault: reasons(reader, fault, range(100, 102)) for fault in NAMED}
    rights = sum(found[slug] for fault, found in table.items() for slug in NAMED[fault])
    assert rights >= 0.9 * sum(found.total() for found in table.values()), table
    assert sum(found.total() for found in table.values()) > 8, "the control: few are read"


def test_the_place_of_a_reflection_is_right(reader: PhotoReader) -> None:
    for seed in (0,):
        with pytest.raises(errors.CodeGlare) as raised:
            token_from(reader.read(spoiled.photo("glare", seed)))
        assert raised.value.where in ("middle", "bottom", "right", "bottom right")
