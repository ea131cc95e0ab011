"""R2 and R3, short: node or operator killed (SIGKILL) at random moments of a real pairing.

Half of the moments lie anywhere in the run, half after the two have met. What must hold: the right
exit code, no step twice, no record lost, and the next run succeeds.
"""

from __future__ import annotations

import random
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cli.testing.programs import Heard, Line, Stage, kill_after, state_of
from pairing.errors import ExitCode
from pairing.testing.measured import TOP

Part = Any
KILLS = 50
MACHINE = TOP / "examples" / "machines" / "fanless-emmc.json"
CONFIG = TOP / "examples" / "configs" / "minimal.yaml"


@dataclass
class Clock:
    """How long a pairing takes here: seconds to `connected`, and from there to its end."""

    began: float = 0
    met: float = 0
    ended: float = 0

    def watch(self, pid: int, line: Line) -> None:
        if not line:
            self.began = time.monotonic()
        if line.get("about") == "connected":
            self.met = time.monotonic()
        self.ended = time.monotonic()


@dataclass
class Killer:
    """Kills one process once. `pid` 0: the operator itself."""

    chance: random.Random
    clock: Clock
    pid: int = 0
    after_meeting: bool = field(init=False)
    moment: float = field(init=False)

    def __post_init__(self) -> None:
        clock = self.clock
        self.after_meeting = self.chance.random() < 0.5
        span = clock.ended - (clock.met if self.after_meeting else clock.began)
        self.moment = self.chance.uniform(0, span)

    def watch(self, pid: int, line: Line) -> None:
        here = line.get("about") == "connected" if self.after_meeting else not line
        if here:
            kill_after(self.moment, self.pid or pid)


def calm(pid: int, line: Line) -> None:
    """Nobody is killed."""


def measured_clock(folder: Path) -> Clock:
    folder.mkdir()
    stage, clock = Stage(folder, MACHINE, CONFIG), Clock()
    with stage.node():
        heard = stage.register(clock.watch)
    assert heard.exit == 0
    assert_complete(stage)
    return clock


@pytest.mark.soak(share=0.4)
def test_the_node_is_killed(tmp_path: Path, part: Part) -> None:
    def once(stage: Stage, killer: Killer) -> Heard:
        with stage.node() as node:
            killer.pid = node.pid
            heard = stage.register(killer.watch, timeout=5)
        assert heard.exit == expected_exit(heard), heard.lines[-3:]
        assert_nothing_double(stage)
        with stage.node():
            again = stage.register(calm)
        assert again.exit == 0, again.lines[-3:]
        assert again.about("written")
        return heard

    many(tmp_path, part, once)


@pytest.mark.soak(share=0.15)
def test_the_operator_is_killed(tmp_path: Path, part: Part) -> None:
    def once(stage: Stage, killer: Killer) -> Heard:
        with stage.node():
            heard = stage.register(killer.watch)
            again = stage.register(calm)
        assert again.exit == 0, (heard.lines[-3:], again.lines[-3:])
        assert_complete(stage)
        return heard

    many(tmp_path, part, once)


def many(folder: Path, part: Part, once: Callable[[Stage, Killer], Heard]) -> None:
    """Up to KILLS pairings with a killer each; the seed is kept, to see a failure again."""
    clock = measured_clock(folder / "calm")
    seed = secrets.randbelow(2**32)
    chance, ends = random.Random(seed), Counter[str]()
    part.kept.update(asked=KILLS, seed=seed, pairing_seconds=round(clock.ended - clock.began, 2))
    for count in range(1, KILLS + 1):
        place = folder / str(count)
        place.mkdir()
        killer = Killer(chance, clock)
        part.kept["last"] = {"after_meeting": killer.after_meeting, "moment": killer.moment}
        heard = once(Stage(place, MACHINE, CONFIG), killer)
        ends[f"exit {heard.exit}, last heard {last_heard(heard)}"] += 1
        part.kept.update(kills=count, ends=dict(ends))
        if part.over:
            break


def last_heard(heard: Heard) -> str:
    states = [state for line in heard.lines if (state := state_of(line))]
    notices = [str(line["about"]) for line in heard.lines if line.get("type") == "notice"]
    return (states or notices or ["nothing"])[-1]


def expected_exit(heard: Heard) -> int:
    """0 when written; without a verdict it matters whether the config had left."""
    if heard.about("written"):
        return ExitCode.DONE
    return ExitCode.NO_VERDICT if heard.about("released") else ExitCode.UNREACHABLE


def assert_nothing_double(stage: Stage) -> None:
    """Of every boot: each event once, each state once, each step begun once."""
    seen = Counter((line["boot"], line["seq"], line["up_ms"]) for line in stage.journal())
    assert all(count == 1 for count in seen.values())
    begun = Counter(
        (line["boot"], line["state"], line.get("step", ""))
        for line in stage.journal()
        if not line.get("done")
    )
    assert all(count == 1 for count in begun.values()), begun
    boots = {line["boot"] for line in stage.journal()}
    assert len(stage.escrow()) <= len(boots)


def assert_complete(stage: Stage) -> None:
    """Planned, written and escrowed once, with the node's proof of the key."""
    assert_nothing_double(stage)
    states = Counter(state_of(line) for line in stage.journal())
    assert states["planned"] == 1
    assert states["written"] == 1
    (record,) = stage.escrow()
    assert "proof" in record
