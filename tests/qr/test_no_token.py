"""No picture without a valid token of ours gives one; a thousand screenshots give theirs.

The first few here; ten thousand and a thousand are part of `make soak`.
"""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from node.testing.screenshots import screenshot
from pairing import errors, peertoken
from pairing.qr import ladder, photo, zbar
from pairing.qr.read import PhotoReader
from pairing.qr.reading import kind_of
from pairing.testing.engines import ENGINES
from pairing.testing.strangers import acquaintance, flipped, stranger, wrong_check
from pairing.testing.tokens import random_token

PICTURES, BY_ENGINES = 8, 100
CONTROLS = 10
READ_OF_CONTROLS = 9
TOKENS = 30


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_picture_without_a_token_gives_one() -> None:
    """Through the door, with the grid reader: that takes a second for a picture without a code."""
    with PhotoReader() as reader:
        for number in range(PICTURES):
            shown = stranger(number)
            assert reader.read(shown.data).tokens == (), (number, shown.kind)
        read = 0
        for number in range(CONTROLS):
            text, picture = acquaintance(number)
            tokens = reader.read(picture).tokens
            assert set(tokens) <= {text}
            read += tokens == (text,)
    assert read >= READ_OF_CONTROLS


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_no_engine_makes_a_token_of_a_picture_without_one() -> None:
    decoder, read = zbar.load(), 0
    for number in range(BY_ENGINES):
        shown = stranger(number)
        gray = photo.open_gray(shown.data)
        found = ladder.climb(gray, is_token, zbar=decoder)
        assert not any(is_token(code.text) for code in found.codes), (number, shown.kind)
        read += bool(found.codes)
    assert read > BY_ENGINES / 5  # others' codes, and ours with a wrong check


def is_token(text: str) -> bool:
    return kind_of(text) is not None


@pytest.mark.parametrize("damage", [wrong_check, flipped])
def test_damaged_tokens_are_damaged_in_one_thing_only(damage: object) -> None:
    assert callable(damage)
    chance = random.Random(3)
    for _ in range(50):
        text = damage(chance)
        assert text.startswith(peertoken.PREFIX)
        assert kind_of(text) is None
        with pytest.raises(errors.TokenInvalid):
            peertoken.parse(text)
    assert kind_of(random_token(chance)) is not None


def test_strangers_are_reproducible_and_of_every_kind() -> None:
    first = [stranger(number) for number in range(50)]
    assert first[:8] == [stranger(number) for number in range(8)]
    assert len({shown.kind for shown in first}) == 8
    for shown in first:
        with Image.open(io.BytesIO(shown.data)) as image:
            assert min(image.size) > 10


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_reads_every_screenshot(engine: str) -> None:
    if engine == "zbar" and zbar.load() is None:
        pytest.skip("libzbar0 is not installed")
    for number in range(TOKENS):
        token, picture = screenshot(number)
        assert ENGINES[engine](picture) == (token,), number
