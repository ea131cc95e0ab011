"""The photo simulator is as hard as it says: an engine that is not ours reads what it should."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from pairing.testing import calibration
from pairing.testing.consolecodes import CODES, network_token, show
from pairing.testing.photos import PHOTO, SEVERITIES, photograph

ROUNDS = 1
WIDE = 0.36
"""13 photos say little: `make bench-photos` takes 104 a severity and a bound of 0.1."""


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_plain_zxing_reads_as_much_as_it_should(severity: int) -> None:
    rate = calibration.rate(severity, ROUNDS)
    assert rate == pytest.approx(calibration.RATES[severity], abs=WIDE)


def test_every_code_can_be_read_from_its_clean_screen() -> None:
    for code in CODES:
        shown = show(code, 1)
        out = io.BytesIO()
        shown.picture.save(out, "PNG")
        assert calibration.plain(out.getvalue()) == (shown.text,), code.name
        left, top, right, bottom = shown.area
        assert 0 <= left < right <= shown.picture.width
        assert 0 <= top < bottom <= shown.picture.height


def test_photographs_are_reproducible() -> None:
    shown = show(CODES[0], 5)
    photo = photograph(shown.picture, 3, 5, shown.area)
    assert photo == photograph(shown.picture, 3, 5, shown.area)
    assert photo != photograph(shown.picture, 3, 6, shown.area)
    with Image.open(io.BytesIO(photo)) as image:
        assert (image.format, image.size) == ("JPEG", PHOTO)


def test_a_code_is_found_where_nobody_says_where_it_is() -> None:
    shown = show(CODES[2], 5)
    assert calibration.plain(photograph(shown.picture, 3, 5)) == (shown.text,)


def test_severities_get_worse() -> None:
    for field in ("tilt", "roll", "focus", "shake", "glare", "flicker", "noise"):
        values = [getattr(severity, field) for severity in SEVERITIES.values()]
        assert values == sorted(values), field
    for field in ("side", "jpeg"):
        values = [getattr(severity, field) for severity in SEVERITIES.values()]
        assert values == sorted(values, reverse=True), field


def test_kairos_tokens_have_their_true_size() -> None:
    assert len(network_token(random.Random(1))) == 548
