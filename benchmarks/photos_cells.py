"""Cells of simulated photos: a kind of code, a severity, so many photos from different places."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

from pairing.qr.read import PhotoReader
from pairing.testing import calibration
from pairing.testing.consolecodes import ConsoleCode, Shown, network_token, show
from pairing.testing.photos import SEVERITIES, photograph
from pairing.testing.tokens import random_token


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """`photos` of one screen each time; `goal` is the least share that is to be read."""

    name: str
    code: ConsoleCode
    severity: int
    goal: float | None
    photos: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a cell went: tries, those with the right token, with a wrong one; CPU ms of a photo.

    `calibration`: zxing-cpp alone, for which the goal is a rate to be met within 10 points.
    """

    name: str
    severity: int
    tries: int
    read: int
    wrong: int
    ms: tuple[float, ...]
    goal: float | None
    calibration: bool = False

    @property
    def rate(self) -> float:
        return self.read / self.tries

    @property
    def kept(self) -> bool | None:
        """Whether the goal is met; None where none was set."""
        if self.goal is None:
            return None
        if self.calibration:
            return abs(self.rate - self.goal) <= calibration.BOUND
        return self.rate >= self.goal


_V4 = ConsoleCode(name="own v4-M", version=4, level="M")
_V5 = ConsoleCode(name="own v5-M", version=5, level="M")
_TEXT = ConsoleCode(
    name="own v4-M, text", version=4, level="M", screen=(80, 25), cell=(9, 8, 8), quiet=2
)
_KAIROS = ConsoleCode(name="Kairos v18-M", version=18, level="M")
_OWN_GOALS = {1: 0.99, 2: 0.99, 3: 0.99, 4: 0.97, 5: 0.85}
_KAIROS_GOALS = {1: 0.99, 2: 0.99, 3: 0.99, 4: 0.75, 5: None}


def cells() -> Iterator[Cell]:
    """All that have a goal, and the same codes where there is none."""
    for code in (_V4, _V5, _TEXT):
        for severity in SEVERITIES:
            own = _OWN_GOALS[severity]
            yield Cell(name=code.name, code=code, severity=severity, goal=own)
    for severity in SEVERITIES:
        goal = _KAIROS_GOALS[severity]
        yield Cell(name=_KAIROS.name, code=_KAIROS, severity=severity, goal=goal)
    yield Cell(name=f"{_V5.name}, 3 photos", code=_V5, severity=5, goal=0.95, photos=3)
    yield Cell(name=f"{_KAIROS.name}, 4 photos", code=_KAIROS, severity=4, goal=0.99, photos=4)


def run(cell: Cell, tries: int, cores: Executor, count: int) -> Outcome:
    """`tries` screens, each photographed and read through the door that commands use.

    Shared out among `count` workers of `cores`; a photo's own CPU time does not depend on that.
    """
    shares = [range(first, tries, count) for first in range(count)]
    parts = list(cores.map(_share, [cell] * count, shares))
    return Outcome(
        name=cell.name,
        severity=cell.severity,
        tries=tries,
        read=sum(part.read for part in parts),
        wrong=sum(part.wrong for part in parts),
        ms=tuple(ms for part in parts for ms in part.ms),
        goal=cell.goal,
    )


@dataclass(frozen=True, slots=True)
class _Share:
    """What one worker read of a cell."""

    read: int
    wrong: int
    ms: list[float]


def _share(cell: Cell, numbers: range) -> _Share:
    read = wrong = 0
    ms: list[float] = []
    with PhotoReader() as reader:
        for number in numbers:
            shown = _screen(cell.code, number)
            tokens = _tokens(reader, cell, shown, number, ms)
            read += tokens == {shown.text}
            wrong += not tokens <= {shown.text}
    return _Share(read, wrong, ms)


def _tokens(
    reader: PhotoReader, cell: Cell, shown: Shown, number: int, ms: list[float]
) -> set[str]:
    """Tokens of one screen: from any of its photos, else from all of them together."""
    tokens: set[str] = set()
    for turn in range(cell.photos):
        seed = number * cell.photos + turn
        photo = photograph(shown.picture, cell.severity, seed, shown.area)
        reading = reader.read(photo, name=f"{number}-{turn}.jpg")
        ms.append(reading.cpu_ms)
        tokens.update(reading.tokens)
    together = reader.together()
    return tokens or {found.text for found in together}


def _screen(code: ConsoleCode, number: int) -> Shown:
    chance = random.Random(f"{code.name}/{number}")
    if code is _KAIROS:
        return show(code, number, network_token(chance))
    return show(code, number, random_token(chance, hint=True))


def calibrated(rounds: int) -> Iterator[Outcome]:
    """zxing-cpp alone on the thirteen codes of the research, `rounds` of each a severity."""
    for severity, expected in calibration.RATES.items():
        results = list(calibration.trials(severity, rounds))
        yield Outcome(
            name="zxing-cpp alone, 13 codes",
            severity=severity,
            tries=len(results),
            read=sum(results),
            wrong=0,
            ms=(),
            goal=expected,
            calibration=True,
        )
