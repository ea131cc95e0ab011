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
    """Three bad photos of one screen, a good one of another, a bad one of a third, no photo."""
    for seed in range(3):
        (tmp_path / f"bad{seed}.png").write_bytes(noisy_photo(ONE, seed))
    (tmp_path / "good.png").write_bytes(noisy_photo(TWO, 3, noise=10))
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
        assert [source.name for source in found] == [
            "token", "good.png", "text.png", "bad0.png + bad1.png + bad2.png", "lone.png",
        ]  # fmt: skip
        assert [found[place].code(reader).text for place in (0, 1, 3)] == [TWO, TWO, ONE]
        for place, kind in ((2, errors.NotAPicture), (4, errors.PhotoError)):
            with pytest.raises(kind):
                found[place].code(reader)


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
