"""Several photos of one machine in one call: once, the newest photo, the others are told."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import zipfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.duplicates import machines
from cli.sources import Source, sources
from pairing import errors, peertoken
from pairing.errors import ExitCode
from pairing.qr import render
from pairing.testing.tokens import random_token
from tests.cli.conftest import Station


@cache
def token(machine: int, secret: int = 0) -> str:
    """The code that a machine shows after its secret has changed so many times."""
    first = peertoken.parse(random_token(random.Random(machine)))
    return peertoken.to_text(dataclasses.replace(first, secret=bytes([secret]) * 16))


def used(given: list[Source]) -> list[tuple[str, list[str]]]:
    found = machines(given, loopback=False)
    return [(one.source.name, [other.name for other in one.others]) for one in found]


def test_the_newest_photo_of_each_machine() -> None:
    given = [
        Source("a", text=token(1), taken=10),
        Source("b", text=token(2), taken=11),
        Source("c", text=token(1, secret=1), taken=30),
        Source("d", wrong=errors.NotAPicture()),
        Source("e", text=token(1), taken=20),
        Source("f", wrong=errors.NotAPicture()),
    ]
    assert used(given) == [("c", ["a", "e"]), ("b", []), ("d", []), ("f", [])]


def test_of_two_equally_old_the_later_one() -> None:
    """Of a messenger's export, whose names count up."""
    given = [Source(name, text=token(1), taken=10) for name in ("IMG-1", "IMG-2")]
    assert used(given) == [("IMG-2", ["IMG-1"])]


def test_codes_that_are_wrong_are_told_apart_by_their_text() -> None:
    wrong = token(1)[:-1] + ("A" if token(1)[-1] != "A" else "B")
    given = [Source(name, text=text) for name, text in (("a", wrong), ("b", wrong), ("c", "x"))]
    assert used(given) == [("b", ["a"]), ("c", [])]


def test_an_interruption_while_reading_is_all_that_comes() -> None:
    given = [
        Source("a", text=token(1)),
        Source("b", wrong=errors.Interrupted()),
        Source("c", text=token(2)),
    ]
    assert used(given) == [("b", [])]


@settings(max_examples=30, deadline=None)
@given(
    drawn=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 9)), max_size=12)
)
def test_each_source_is_told_once_and_none_is_newer_than_the_one_used(
    drawn: list[tuple[int, int, int]],
) -> None:
    given = [
        Source(f"{place}", text=token(machine, secret), taken=taken)
        for place, (machine, secret, taken) in enumerate(drawn)
    ]
    found = list(machines(given, loopback=False))
    assert len(found) == len({machine for machine, *_ in drawn})
    told = [source.name for one in found for source in (one.source, *one.others)]
    assert sorted(told) == sorted(source.name for source in given)
    for one in found:
        assert one.source.taken == max(o.taken for o in (one.source, *one.others))


def test_what_a_source_knows_of_its_time(tmp_path: Path) -> None:
    picture = render.png(render.modules(token(1)))
    (tmp_path / "a.png").write_bytes(picture)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("x.png", picture)
    for name, time in (("a.png", 1_000), ("b.zip", 2_000)):
        os.utime(tmp_path / name, (time, time))
    assert [source.taken for source in sources([str(tmp_path)])] == [1_000, 2_000]
    assert [source.taken for source in sources([str(tmp_path / "a.png")])] == [1_000]
    assert [source.taken for source in sources([token(1)])] == [math.inf]


@pytest.mark.parametrize("output", ["jsonl", "human"])
def test_a_folder_with_two_photos_of_one_machine(station: Station, output: str) -> None:
    """The machine is not there, so that the one attempt ends; the other photo has its verdict."""
    folder = station.home / "photos"
    folder.mkdir()
    for name, text, time in (("a.png", token(1), 2_000), ("b.png", token(1, secret=1), 1_000)):
        (folder / name).write_bytes(render.png(render.modules(text)))
        os.utime(folder / name, (time, time))
    run = station.run("--timeout", "1", "--output", output)
    run.sources = sources([str(folder)])
    with run:
        assert run.all() == [ExitCode.UNREACHABLE]
    said = station.out.getvalue()
    if output == "human":
        assert f"b.png: shows the machine of {folder / 'a.png'}, which was used" in said
        assert station.err.getvalue().count("error E") == 1
        return
    lines = [json.loads(line) for line in said.splitlines()]
    verdicts = [line for line in lines if line["type"] == "verdict"]
    assert [(Path(one["source"]).name, one["exit"]) for one in verdicts] == [
        ("a.png", 5), ("b.png", 5),
    ]  # fmt: skip
    assert "duplicate_of" not in verdicts[0]
    assert verdicts[1]["duplicate_of"] == str(folder / "a.png")
