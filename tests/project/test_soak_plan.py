"""What `make soak` would run can run: every fixture is there. Nothing is run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from pairing import process
from pairing.testing.measured import TOP


def words() -> list[str]:
    """The words after pytest's name in the target's recipe."""
    makefile = (TOP / "Makefile").read_text()
    recipe = makefile.partition("\nsoak:")[2].partition("$(PYTEST) ")[2]
    return shlex.split(recipe.partition("\n")[0])


def planned(said: Sequence[str]) -> process.Result:
    """What pytest makes of these words, without carrying it out."""
    plan = ["--setup-plan", "-q", "-p", "no:cacheprovider"]
    argv = ["env", f"--chdir={TOP}", sys.executable, "-m", "pytest", *said, *plan]
    return process.run(argv, seconds=50, check=False)


def test_every_part_has_what_it_asks_for() -> None:
    said = planned(words())
    assert said.status == 0, said.text()[-2000:]


def test_a_missing_fixture_is_seen() -> None:
    """The control: without xdist there is no id of the run, by which machines are shared."""
    without = shlex.join(words()).replace("-n 0", "-p no:xdist")
    said = planned(shlex.split(without))
    assert "fixture 'testrun_uid' not found" in said.text()
