"""Photos of other people, and of machines: what they show is read, and nothing else."""

from __future__ import annotations

import re

import pytest

from pairing.qr.read import PhotoReader
from pairing.testing import photoset
from pairing.testing.measured import TOP

PHOTOS = photoset.load()
READ = {"jsqr": 8, "qemu-console": 10, "simulated": 11, "zxing-1": 3, "zxing-2": 24, "zxing-3": 20}
"""At least so many of each group."""
MEGABYTES = 8


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("group", READ)
def test_photos_are_read(group: str) -> None:
    of_group = [photo for photo in PHOTOS if photo.group == group]
    missed = []
    with PhotoReader(any_text=True) as reader:
        for photo in of_group:
            texts = reader.read(photo.path).texts
            if not photo.is_right(texts):
                missed.append(f"{photo.path.name}: {texts}")
    assert len(of_group) - len(missed) >= READ[group], missed


def test_every_photo_is_labelled_and_its_owner_named() -> None:
    files = {path for path in photoset.OURS.rglob("*.*") if path.suffix != ".tsv"}
    assert {photo.path for photo in PHOTOS} == files
    assert sum(path.stat().st_size for path in files) < MEGABYTES * 1_000_000
    notice = (TOP / "NOTICE").read_text("utf-8")
    for folder in {path.parent.name for path in files}:
        assert re.search(rf"\b{folder}\b", notice), folder


def test_texts_are_compared_as_engines_can_read_them() -> None:
    photo = photoset.Labelled(PHOTOS[0].path, ("a b\nc", "xyz \u65e5"), "zxing-1")
    assert photo.is_right(["a b c"])
    assert photo.is_right(["other", "xyz"])
    assert not photo.is_right(["ab c"])
    assert photo.is_wrong(["something else"])
    assert not photo.is_wrong([])
    assert not photo.is_wrong(["something else", "xyz"])
