"""The measuring program itself runs; what it measures is judged by nobody here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pairing import process
from pairing.testing import measured
from pairing.testing.measured import TOP, Figure, figure_from_json


def test_a_subject_is_measured_and_kept(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "benchmarks", "machines", "--quick", "--keep", str(tmp_path)]
    said = process.run(argv, seconds=50, environment={"PYTHONPATH": str(TOP)}).text()
    (path,) = tmp_path.iterdir()
    kept = json.loads(path.read_text())
    assert {"date", "commit", "machine", "subjects"} <= set(kept)
    assert len(kept["machine"]["load"]) == 3
    (subject,) = kept["subjects"]
    for figure in subject["figures"]:
        assert figure["samples"]
        assert figure["min"] <= figure["median"] <= figure["max"]
        assert figure["name"] in said


@pytest.mark.parametrize(
    ("goal", "judgement"), [(None, ""), (2.0, "ok"), (1.9, "over"), (5.0, "ok")]
)
def test_the_median_is_judged(goal: float | None, judgement: str) -> None:
    figure = Figure(name="x", unit="s", samples=[9.0, 2.0, 1.0], goal=goal)
    assert figure.judgement == judgement
    assert figure_from_json(figure.to_json()) == figure


def test_what_this_process_uses() -> None:
    now = measured.used()
    assert 5 < now.resident <= now.peak
    assert now.files >= 3
    with Path("/dev/null").open():
        assert measured.used().files == now.files + 1
