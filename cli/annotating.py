"""`decode --annotate`: where the marked photos go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pairing import errors

if TYPE_CHECKING:
    from pairing.qr.reading import Reading

SIDE = 1600
"""Pixels of the longer side of the photo that is drawn on; see `pairing.qr.annotate`."""


@dataclass(frozen=True, slots=True)
class Annotated:
    """`out` is a new file for one photo, a folder for several; `language` that of the words."""

    out: Path
    language: str

    def check(self, photos: int) -> None:
        """Raises errors.UsageError, before anything is read."""
        if photos > 1 and not self.out.is_dir():
            raise errors.UsageError(
                "For several photos name a folder that is there.", element=str(self.out)
            )
        if photos == 1 and not self.out.is_dir() and self.out.exists():
            raise errors.UsageError("It is there already.", element=str(self.out))

    def write(self, reading: Reading, wrong: errors.KnownError | None) -> None:
        """The marked photo, for its owner alone: it may show a token.

        Raises errors.UsageError, errors.StoreUnwritable.
        """
        from cli import folders
        from pairing.qr.annotate import annotate
        from pairing.report import safe

        if reading.picture is None:
            return  # no picture: its error has been said
        data = annotate(reading, wrong, self.language or "en")
        for path in self._paths(reading.photo):
            try:
                folders.write_private(path, data, replace=False)
            except FileExistsError:
                if not self.out.is_dir():
                    raise errors.UsageError("It is there already.", element=str(path)) from None
                continue
            shows = ": it shows the code as the photo does, so keep it to yourself"
            said = f"wrote {path}{shows if reading.tokens or reading.unreadable else ''}"
            click.echo(safe(said), err=True)
            return

    def _paths(self, photo: str) -> list[Path]:
        """In a folder: the photo's name, and others if that is taken."""
        if not self.out.is_dir():
            return [self.out]
        stem = Path(photo).stem if photo != "-" else "photo"
        return [self.out / f"{stem}{f'-{number}' if number else ''}.png" for number in range(1000)]
