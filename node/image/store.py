"""Finished parts of images, kept under the user's cache folder by the hash of their inputs.

A part is a folder. It is made as a draft beside its place and renamed when complete, so that a
killed build leaves nothing half made. Without the cache everything is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

KEPT = 8
"""Parts of a kind that stay, of some hundred megabytes each."""


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/kairos-register/image`, by default below `~/.cache`."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "kairos-register" / "image"


@dataclass(frozen=True, slots=True)
class Store:
    """The parts in one folder."""

    folder: Path

    def place(self, kind: str, inputs: Sequence[str]) -> Path:
        """Where the part with these inputs is, or would be."""
        digest = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]
        return self.folder / f"{kind}-{digest}"

    def part(
        self,
        kind: str,
        inputs: Sequence[str],
        make: Callable[[Path], None],
        *,
        anew: bool = False,
    ) -> Path:
        """The part with these inputs; `make(draft)` fills its folder if it is not there yet.

        `anew`: it takes the place of one that is there, which is kept if making it fails.
        """
        place = self.place(kind, inputs)
        if place.exists() and not anew:
            os.utime(place)
            return place
        draft = place.with_name(f"{place.name}.{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        try:
            make(draft)
            if anew:
                _put_away(place)
            _take(draft, place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        self._forget(kind)
        return place

    def _forget(self, kind: str) -> None:
        """Drop all but those of a kind that were used last."""
        parts = [entry for entry in self.folder.glob(f"{kind}-*") if "." not in entry.name]
        for old in sorted(parts, key=lambda entry: entry.stat().st_mtime)[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def _put_away(place: Path) -> None:
    """Out of its place first, whole: nobody finds half of it."""
    old = place.with_name(f"{place.name}.old.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        place.rename(old)
    shutil.rmtree(old, ignore_errors=True)


def _take(draft: Path, place: Path) -> None:
    """Another build may have been faster: then its part counts."""
    try:
        draft.rename(place)
    except OSError:
        if not place.exists():
            raise
