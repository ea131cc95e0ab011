"""The quick child and the one with the grid reader: who is asked, and how they are locked."""

from __future__ import annotations

import io
import os
import random

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pairing import errors, sandbox
from pairing.qr import render
from pairing.qr.read import GRID, PhotoReader, token_from
from pairing.testing.noisy import noisy_photo
from pairing.testing.tokens import random_token
from pairing.worker import Worker

TOKEN = random_token(random.Random(1))


def photo(blur: float) -> bytes:
    """A code of six pixels a module, a little turned; `blur` is a Gaussian's sigma in pixels."""
    code = Image.open(io.BytesIO(render.png(render.modules(TOKEN), 6))).convert("L")
    page = Image.new("L", (500, 400), 90)
    page.paste(code, (100, 60))
    page = page.rotate(7, Image.Resampling.BICUBIC, fillcolor=90)
    out = io.BytesIO()
    page.filter(ImageFilter.GaussianBlur(blur)).save(out, "PNG")
    return out.getvalue()


def test_only_what_the_engines_cannot_read_goes_to_the_grid() -> None:
    with PhotoReader() as reader:
        sharp = reader.read(photo(1))
        assert token_from(sharp).text == TOKEN
        assert not any(step.startswith("grid") for step in sharp.steps)
        assert not reader.grid_started
        blurred = reader.read(photo(4))
        assert token_from(blurred).text == TOKEN
        assert blurred.codes[-1].step.startswith("grid")
        assert reader.grid_started


def test_the_places_are_those_of_the_photo() -> None:
    with PhotoReader() as reader:
        (sharp,), (blurred,) = (reader.read(photo(blur)).codes for blur in (1, 4))
    for one, other in zip(sharp.corners, blurred.corners, strict=True):
        assert max(abs(one[0] - other[0]), abs(one[1] - other[1])) <= 4


def test_the_second_child_is_locked_too() -> None:
    worker = Worker(module=GRID)
    try:
        held = set(worker.protection().held)
    finally:
        worker.stop()
    assert {"limits", "no-new-privileges"} <= held
    if os.uname().machine in sandbox.ARCHITECTURES:
        assert "system-calls" in held


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_largest_photo_fits_into_its_memory() -> None:
    chance = np.random.default_rng(1)
    noise = chance.integers(0, 255, (500, 800), dtype=np.uint8)
    page = Image.fromarray(noise).resize((8000, 5000), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    page.save(out, "JPEG")
    with PhotoReader() as reader:
        reading = reader.read(out.getvalue())
    assert any(step.startswith("grid") for step in reading.steps)
    assert not any(step.startswith("grid:") for step in reading.steps), "it did not end early"
    with pytest.raises(errors.PhotoError):
        token_from(reading)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_photos_that_nobody_reads_alone_are_read_together() -> None:
    """Of two screens, mixed: which photos belong together is found out."""
    other = random_token(random.Random(2))
    with PhotoReader() as reader:
        assert reader.read(noisy_photo(TOKEN, 0, noise=10)).tokens == (TOKEN,)  # the control
        for seed in range(3):
            for name, token, first in (("a", TOKEN, 0), ("b", other, 11)):
                reading = reader.read(noisy_photo(token, first + seed), name=f"{name}{seed}")
                assert reading.tokens == ()
                assert reader.keeps(f"{name}{seed}")
        found = {joint.text: joint.photos for joint in reader.together()}
    assert found == {TOKEN: ("a0", "a1", "a2"), other: ("b0", "b1", "b2")}
