"""Which pictures in a folder are complete: looked at again and again, no help of the kernel needed.

A program that drops a picture writes it in pieces, or under another name first. So a picture counts
once its size and times have stayed the same for `settle` seconds, or are older than a minute.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cli.sources import PICTURES
from pairing import errors
from pairing.qr.unpack import ENDINGS

SETTLE_SECONDS = 2.0
OLD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file is written: size in bytes, time in nanoseconds, file number."""

    size: int
    changed: int
    number: int


@dataclass(frozen=True, slots=True)
class Found:
    """A complete picture. `taken`: seconds since 1970, as far as the file's time tells it."""

    path: Path
    taken: float


@dataclass(slots=True, kw_only=True)
class Arrivals:
    """The pictures in `folder` and below, each once, again if it changes.

    `clock` counts seconds for waiting, `now` are those since 1970.
    """

    folder: Path
    settle: float = SETTLE_SECONDS
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    _since: dict[Path, tuple[Stamp, float]] = field(default_factory=dict)
    _given: dict[Path, Stamp] = field(default_factory=dict)

    def look(self) -> list[Found]:
        """Those that have become complete, the newest first: of two photos of one machine the newer
        one counts, and its code has the better chance to be valid. Raises errors.NoSuchSource."""
        found, here = [], dict(self._pictures())
        for path, stamp in here.items():
            if self._given.get(path) != stamp and self._complete(path, stamp):
                self._given[path] = stamp
                found.append(Found(path, stamp.changed / 1e9))
        for known in (self._since, self._given):
            for path in known.keys() - here.keys():
                del known[path]
        return sorted(found, key=lambda one: (-one.taken, one.path))

    @property
    def unfinished(self) -> tuple[Path, ...]:
        """Pictures that were still being written at the last look."""
        return tuple(sorted(path for path in self._since if path not in self._given))

    def _complete(self, path: Path, stamp: Stamp) -> bool:
        seen, since = self._since.get(path, (stamp, self.clock()))
        if seen != stamp:
            since = self.clock()
        self._since[path] = (stamp, since)
        self._given.pop(path, None)
        old = self.now() - stamp.changed / 1e9 > OLD_SECONDS
        return stamp.size > 0 and (old or self.clock() - since >= self.settle)

    def _pictures(self) -> Iterator[tuple[Path, Stamp]]:
        for folder, below, names in os.walk(self.folder, onerror=self._unreadable):
            below[:] = sorted(name for name in below if not name.startswith("."))
            for name in names:
                path = Path(folder, name)
                if name.startswith(".") or path.suffix.lower() not in PICTURES | ENDINGS:
                    continue
                try:
                    status = path.lstat()
                except OSError:
                    continue  # gone since
                yield path, Stamp(status.st_size, status.st_mtime_ns, status.st_ino)

    def _unreadable(self, wrong: OSError) -> None:
        if wrong.filename is None or Path(wrong.filename) == self.folder:
            raise errors.NoSuchSource(f"({wrong.strerror})", element=str(self.folder)) from None
