"""Photos to measure with."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from pairing import errors
from pairing.qr.read import PhotoReader, token_from
from pairing.testing.photos import photograph

SEVERITY = 2
"""Tilted, slightly out of focus, through a messenger: an ordinary photo."""


def take_photo(screen: Image.Image, photo: Path, severity: int = SEVERITY) -> None:
    """An ordinary, readable photo of a screen."""
    with PhotoReader() as reader:
        for seed in range(20):
            photo.write_bytes(photograph(screen, severity=severity, seed=seed))
            try:
                token_from(reader.read(photo))
            except errors.PhotoError:
                continue
            return
    raise RuntimeError("no photo of this screen can be read")
