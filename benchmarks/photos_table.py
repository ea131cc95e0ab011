"""What was read in photos, as tables and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.photos_cells import Outcome
from benchmarks.photos_crossed import Crossed
from benchmarks.table import MARK, README
from pairing.qr.reading import kind_of
from pairing.testing import photoset
from pairing.testing.measured import short

OURS = "ours"
TITLE, CELLS_TITLE = "## Photos\n", "## Simulated photos\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one reader made of one photo; `ms` of CPU. Of our own: `by`, the step that read it, and
    `grid`, whether the grid reader looked at it.
    """

    engine: str
    photo: photoset.Labelled
    texts: tuple[str, ...]
    ms: float
    by: str = ""
    grid: bool = False

    @property
    def right(self) -> bool:
        """The photo's text was read."""
        return self.photo.is_right(self.texts)

    @property
    def wrong(self) -> bool:
        """Something was read, but not the photo's text."""
        return self.photo.is_wrong(self.texts)

    @property
    def wrong_token(self) -> bool:
        """A token was read that the photo does not show."""
        return any(kind_of(text) and not self.photo.is_right([text]) for text in self.texts)


def of_groups(looks: Sequence[Look]) -> list[str]:
    """Photos read by each reader in each group, then CPU time and what was misread."""
    engines = list(dict.fromkeys(look.engine for look in looks))
    groups = sorted({look.photo.group for look in looks})
    found = ["| photos of | n | " + " | ".join(engines) + " |", "|---|--:|" + "--:|" * len(engines)]
    for group in (*groups, "all"):
        rows = {e: [k for k in _of(looks, e) if group in (k.photo.group, "all")] for e in engines}
        n = len(rows[engines[0]])
        read = " | ".join(str(sum(look.right for look in rows[engine])) for engine in engines)
        found.append(f"| {group} | {n} | {read} |")
    for name, figure in _FIGURES.items():
        values = " | ".join(figure(_of(looks, engine)) for engine in engines)
        found.append(f"| {name} | | {values} |")
    misread = [f"{k.photo.group}/{k.photo.path.name}" for k in _of(looks, OURS) if k.wrong]
    note = ["", "Misread by us: " + ", ".join(misread) + "."] if misread else []
    return [*found, *_of_grid(looks), *note]


def _of(looks: Sequence[Look], engine: str) -> list[Look]:
    return [look for look in looks if look.engine == engine]


def _of_grid(looks: Sequence[Look]) -> Iterator[str]:
    """Time of the photos that need the grid reader: those that it read."""
    ms = [look.ms for look in looks if look.right and look.by.startswith("grid")]
    missed = [look.ms for look in looks if look.grid and not look.right]
    if ms:
        yield ""
        yield (
            f"The grid reader read {len(ms)} of them: median {statistics.median(ms):.0f} ms, worst"
            f" {max(ms):.0f} ms. It looked at {len(missed)} others in vain, worst"
            f" {max(missed, default=0):.0f} ms."
        )


def _share(looks: Sequence[Look], share: float) -> float:
    ordered = sorted(look.ms for look in looks)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


_FIGURES: Mapping[str, Callable[[Sequence[Look]], str]] = {
    "misread": lambda looks: str(sum(look.wrong for look in looks)),
    "wrong tokens": lambda looks: str(sum(look.wrong_token for look in looks)),
    "CPU, half (ms)": lambda looks: f"{_share(looks, 0.5):.1f}",
    "CPU, nine of ten": lambda looks: f"{_share(looks, 0.9):.0f}",
    "CPU, worst": lambda looks: f"{_share(looks, 1.0):.0f}",
}


def of_crossed(carried: Crossed) -> str:
    """The cross-validated figure in a sentence."""
    return (
        f"Cross-validated over groups: {carried.read} of {carried.of}, each group read with the"
        " steps that all other groups would have chosen (by photos gained for their time, none that"
        " gains nothing), and with the grid reader, of which no setting belongs to a group."
    )


CELL_HEAD = (
    "| simulated photos of | severity | tries | read | % | goal | wrong | CPU half, worst (ms) |",
    "|---|--:|--:|--:|--:|---|--:|--:|",
)


def cell_row(outcome: Outcome) -> str:
    """One cell."""
    goal = ""
    if outcome.goal is not None:
        sign = "about " if outcome.calibration else ">= "
        goal = f"{sign}{outcome.goal:.0%}: {'ok' if outcome.kept else 'missed'}"
    ms = f"{statistics.median(outcome.ms):.0f}, {max(outcome.ms):.0f}" if outcome.ms else ""
    return (
        f"| {outcome.name} | {outcome.severity} | {outcome.tries} | {outcome.read} |"
        f" {outcome.rate:.1%} | {goal} | {outcome.wrong} | {ms} |"
    )


def to_json(
    looks: Sequence[Look], carried: Crossed | None, outcomes: Sequence[Outcome]
) -> Mapping[str, Any]:
    """Everything that was measured; texts are left out, they may be long and foreign."""
    return {
        "photos": [
            {
                "photo": f"{look.photo.path.parent.name}/{look.photo.path.name}",
                "group": look.photo.group,
                "engine": look.engine,
                "right": look.right,
                "wrong": look.wrong,
                "ms": short(look.ms),
                "by": look.by,
            }
            for look in looks
        ],
        "crossed": carried
        and {"read": carried.read, "of": carried.of, "chosen": dict(carried.chosen)},
        "cells": [
            {
                "name": cell.name,
                "severity": cell.severity,
                "tries": cell.tries,
                "read": cell.read,
                "wrong": cell.wrong,
                "goal": cell.goal,
                "kept": cell.kept,
                "ms": list(cell.ms),
            }
            for cell in outcomes
        ],
    }


def remember(
    result: Path, looks: Sequence[Look], carried: Crossed | None, outcomes: Sequence[Outcome]
) -> None:
    """Put what this run measured into README.md, in place of what was measured before."""
    link = [f"[{result.name}](results/{result.name}).", ""]
    if looks and carried:
        _section(TITLE, [*link, *of_groups(looks), "", of_crossed(carried), ""])
    if outcomes:
        _section(CELLS_TITLE, [*link, *CELL_HEAD, *map(cell_row, outcomes), ""])


def _section(title: str, lines: Sequence[str]) -> None:
    """Write one section before the last whole run's."""
    before, mark, after = README.read_text("utf-8").partition(MARK)
    head, found, rest = before.partition(title)
    rest = rest[rest.find("\n## ") + 1 :] if found and "\n## " in rest else ""
    README.write_text(head + title + "\n" + "\n".join(lines) + "\n" + rest + mark + after, "utf-8")
