"""OpenCV beside the others, in an environment of its own: it is no dependency of the project."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pairing import errors, process
from pairing.testing import photoset
from pairing.testing.measured import TOP

PLACE = TOP / "build" / "opencv"
PACKAGE = "opencv-python-headless==5.0.0.93"
SETUP_SECONDS = 600.0
SECONDS_A_PHOTO = 30.0


@dataclass(frozen=True, slots=True)
class Said:
    """What one detector made of one photo; `ms` of CPU."""

    engine: str
    texts: tuple[str, ...]
    ms: float


def opencv(
    photos: Sequence[photoset.Labelled],
) -> Iterator[tuple[photoset.Labelled, Said]]:
    """Both detectors on every photo; nothing where OpenCV cannot be installed."""
    script = str(TOP / "benchmarks" / "photos_opencv.py")
    paths = json.dumps([str(photo.path) for photo in photos]).encode()
    seconds = 60 + SECONDS_A_PHOTO * len(photos)
    try:
        python = _environment()
        done = process.run([python, "-S", script, str(PLACE)], stdin=paths, seconds=seconds)
    except errors.KnownError as wrong:
        print(f"  without OpenCV: {wrong}", file=sys.stderr)
        return
    lines = [json.loads(line) for line in done.text().splitlines()]
    every = len(lines) // len(photos)
    for number, line in enumerate(lines):
        said = Said(str(line["engine"]), tuple(line["texts"]), float(line["ms"]))
        yield photos[number // every], said


def _environment() -> str:
    """The Python that can import OpenCV, set up if need be. Raises errors.KnownError."""
    if not (PLACE / "cv2").is_dir():
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(PLACE), PACKAGE]
        home = {"HOME": str(TOP / "build")}
        process.run(argv, seconds=SETUP_SECONDS, environment=home)
    return sys.executable
