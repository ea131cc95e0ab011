"""Disks as they were at some power cuts, kept to be started."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pairing import process
from pairing.testing.powercuts import Standing, Verdict

COPY_SECONDS = 300.0


@dataclass(slots=True)
class Samples:
    """Give `keep` to `powercuts.examine`. Of each standing `every`-th cut, `most` at most."""

    image: Path
    folder: Path
    every: int
    most: int
    kept: list[tuple[Verdict, Path]] = field(default_factory=list)
    _seen: dict[Standing, int] = field(default_factory=dict)

    def keep(self, verdict: Verdict) -> None:
        """Copy the image as it is now (holes stay holes), if it is this cut's turn."""
        seen = self._seen[verdict.standing] = self._seen.get(verdict.standing, 0) + 1
        have = sum(other.standing is verdict.standing for other, _ in self.kept)
        if seen % self.every != 1 or have >= self.most:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"{verdict.cut.first}-{len(verdict.cut.more)}.raw"
        copying = ["cp", "--sparse=always", "--reflink=auto", str(self.image), str(target)]
        process.run(copying, seconds=COPY_SECONDS)
        self.kept.append((verdict, target))

    def taken(self) -> Iterator[tuple[Verdict, Path]]:
        """Each with its disk, which is removed afterwards: one of each standing, then the next."""
        turns: dict[Standing, int] = {}
        order = []
        for verdict, disk in self.kept:
            turns[verdict.standing] = turns.get(verdict.standing, 0) + 1
            order.append((turns[verdict.standing], verdict, disk))
        for _, verdict, disk in sorted(order, key=lambda one: one[0]):
            yield verdict, disk
            disk.unlink(missing_ok=True)
