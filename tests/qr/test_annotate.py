"""Marked photos: what was seen shows, in colours and without."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from PIL import Image, ImageChops

from pairing import errors
from pairing.language import LANGUAGES
from pairing.qr import annotate
from pairing.qr.read import PhotoReader, token_from
from pairing.qr.reading import Code, Gray, Reading, Seen
from pairing.qr.texts import load
from pairing.testing import spoiled
from pairing.testing.tokens import random_token

TOKEN = random_token(random.Random(1))
BOX = ((400, 300), (800, 300), (800, 700), (400, 700))


def reading(**about: object) -> Reading:
    gray = Gray(1200, 900, bytes([70]) * (1200 * 900))
    return replace(Reading(photo="x", width=1200, height=900, picture=gray), **about)  # type: ignore[arg-type]


def drawn(
    read: Reading, error: errors.KnownError | None = None, language: str = "en"
) -> Image.Image:
    return Image.open(io.BytesIO(annotate.annotate(read, error, language))).convert("RGB")


def marked(picture: Image.Image) -> tuple[int, int, int, int] | None:
    """The box of everything that was drawn into an even gray photo."""
    photo = picture.crop((0, 0, 1200, 900))
    return ImageChops.difference(photo, Image.new("RGB", photo.size, (70, 70, 70))).getbbox()


def test_nothing_seen_is_nothing_drawn() -> None:
    assert marked(drawn(reading())) is None


@pytest.mark.parametrize("about", [{"codes": (Code(TOKEN, BOX),)}, {"unreadable": (BOX,)}])
def test_a_code_is_outlined_around_not_over(about: dict[str, object]) -> None:
    picture = drawn(reading(**about))
    found = marked(picture)
    assert found is not None
    assert found[0] < 400 < 800 < found[2]
    assert ImageChops.difference(
        picture.crop((405, 305, 795, 695)), Image.new("RGB", (390, 390), (70, 70, 70))
    ).getbbox() is None  # fmt: skip


def test_marks_can_be_told_apart_in_gray() -> None:
    one = drawn(reading(codes=(Code(TOKEN, BOX),))).convert("L")
    other = drawn(reading(unreadable=(BOX,))).convert("L")
    solid, dashed = (
        sum(value > 120 for value in picture.crop((380, 720, 820, 721 + 10)).tobytes())
        for picture in (one, other)
    )
    assert solid == dashed == 0, "the control: nothing is drawn there"
    rows = [picture.crop((400, 700, 800, 716)) for picture in (one, other)]
    bright = [max(sum(v > 120 for v in row.crop((0, y, 400, y + 1)).tobytes()) for y in range(16))
              for row in rows]  # fmt: skip
    assert bright[0] > 390
    assert 100 < bright[1] < 330


def test_a_reflection_is_ringed() -> None:
    seen = Seen(BOX, glare=0.3, glare_at=(600, 500), fit=0.8)
    plain = reading(seen=(replace(seen, glare=0.0, glare_at=None),))
    change = ImageChops.difference(drawn(reading(seen=(seen,))), drawn(plain))
    found = change.crop((405, 305, 795, 695)).getbbox()
    assert found is not None
    assert abs((found[0] + found[2]) / 2 + 405 - 600) < 5


def test_words_stay_in_the_photo() -> None:
    for corner in ((0, 0), (1190, 0), (1190, 890), (0, 890)):
        box = tuple((corner[0] + x, corner[1] + y) for x, y in ((0, 0), (9, 0), (9, 9), (0, 9)))
        found = marked(drawn(reading(unreadable=(box,))))
        assert found is not None
        assert found[2] - found[0] > 60


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_have_letters_that_the_font_has(language: str) -> None:
    texts = load(language)
    for text in (*texts.labels.values(), *texts.sentences.values(), *texts.places.values()):
        assert annotate.plain(text).isascii()
    picture = drawn(reading(), errors.NoCodeFound(), language)
    assert picture.height > 900


@pytest.fixture(scope="module")
def reader() -> Iterator[PhotoReader]:
    with PhotoReader(picture=1600) as reader:
        yield reader


def test_a_real_photo_is_its_own_ground(reader: PhotoReader) -> None:
    data = spoiled.photo("none", 1)
    read = reader.read(data)
    assert token_from(read).text
    picture = drawn(read).convert("L")
    photo = Image.open(io.BytesIO(data)).convert("L")
    assert picture.size == photo.size == (1600, 1200)
    same = ImageChops.difference(picture, photo).histogram()
    assert sum(same[:3]) > 0.95 * 1600 * 1200


def test_pixels_come_only_when_asked_for() -> None:
    with PhotoReader() as reader:
        assert reader.read(spoiled.photo("none", 1)).picture is None
