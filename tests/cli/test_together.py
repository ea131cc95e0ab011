"""Several bad photos of one screen among others, as commands take them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.fleet import fleet
from cli.sources import Source
from cli.together import read_together
from pairing import errors
from pairing.qr.read import PhotoReader
from pairing.testing.noisy import noisy_photo
from pairing.testing.tokens import random_token

ONE, TWO = (random_token(random.Random(seed)) for seed in (1, 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three bad photos of one screen, a good and a bad one of another, a bad one of a third, no
    photo.
    """
    for seed in range(3):
        (tmp_path / f"bad{seed}.png").write_bytes(noisy_photo(ONE, seed))
    (tmp_path / "good.png").write_bytes(noisy_photo(TWO, 3, noise=10))
    (tmp_path / "copy.png").write_bytes(noisy_photo(TWO, 12))
    (tmp_path / "lone.png").write_bytes(noisy_photo(random_token(random.Random(3)), 4))
    (tmp_path / "text.png").write_bytes(b"no picture")
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_what_can_be_read_comes_first_and_what_cannot_says_why(folder: Path) -> None:
    photos = sorted(folder.iterdir())
    given = [Source("token", text=TWO), *(Source(path.name, photo=path) for path in photos)]
    with PhotoReader() as reader:
        found = list(read_together(given, reader))
        named = {source.name: source for source in found}
        together = "bad0.png + bad1.png + bad2.png"
        assert [source.name for source in found][:2] == ["token", "good.png"]
        assert set(named) == {"token", "good.png", "text.png", "lone.png", together}
        texts = [named[name].code(reader).text for name in ("token", "good.png", together)]
        assert texts == [TWO, TWO, ONE]
        for name, kind in (("text.png", errors.NotAPicture), ("lone.png", errors.PhotoError)):
            with pytest.raises(kind):
                named[name].code(reader)


def test_a_single_source_is_left_to_its_reader() -> None:
    alone = [Source("a.png", photo=b"never opened")]
    with PhotoReader() as reader:
        assert list(read_together(alone, reader)) == alone


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_decode_reads_them_together(folder: Path) -> None:
    photos = [str(folder / f"bad{seed}.png") for seed in range(3)]

    def decode(*given: str) -> Result:
        return CliRunner().invoke(
            fleet, ["decode", "--output", "jsonl", *given], standalone_mode=False
        )

    result = decode(*photos)
    assert result.return_value == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["tokens"] for line in lines] == [[], [], [], [ONE]]
    assert lines[-1]["photos"] == photos
    assert decode(photos[0]).return_value == errors.ExitCode.PHOTO  # the control
