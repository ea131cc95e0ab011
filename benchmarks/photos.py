"""Photos read by us and by others, in one run: how many, with how much CPU, and what was misread.

`make bench-photos` runs `python -m benchmarks.photos` with PHOTOS, a folder with an expected.tsv
(tests/data/photos where it is not given), and CELLS, photos in every cell of simulated ones.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from benchmarks import photos_cells, photos_others, photos_table
from benchmarks.photos_crossed import Crossed, crossed
from benchmarks.photos_table import OURS, Look
from pairing import errors
from pairing.qr import photo as pictures
from pairing.qr import zbar
from pairing.qr.read import PhotoReader
from pairing.testing import measured, photoset
from pairing.testing.engines import Engine, zbar_alone, zxing_alone
from pairing.testing.measured import Figure

HALF_MS = 3.0
"""Goal for the median, of CPU."""
CELL, ROUNDS = 20, 8


def measure(quick: bool) -> list[Figure]:
    """As a subject of `python -m benchmarks`: ours and zxing-cpp alone, a few figures."""
    photos = photoset.load(folder())
    looks = list(look_at(photos[:: 10 if quick else 1], opencv=False))
    found = []
    for engine in dict.fromkeys(look.engine for look in looks):
        own = [look for look in looks if look.engine == engine]
        missed = sum(not look.right for look in own)
        wrong = sum(look.wrong for look in own)
        goal = HALF_MS if engine == OURS else None
        found += [
            Figure(name=f"{engine}: not read of {len(own)}", unit="photos", samples=[missed]),
            Figure(name=f"{engine}: misread", unit="photos", samples=[wrong]),
            Figure(name=f"{engine}: CPU", unit="ms", samples=[o.ms for o in own], goal=goal),
        ]
    return found


def folder() -> Path:
    """The photos to read."""
    return Path(os.environ.get("PHOTOS") or photoset.OURS)


def look_at(photos: Sequence[photoset.Labelled], *, opencv: bool) -> Iterator[Look]:
    """Every photo with every reader."""
    with ThreadPoolExecutor(1) as beside:
        others = beside.submit(lambda: list(photos_others.opencv(photos) if opencv else ()))
        yield from _by_ours_and_engines(photos)
        for photo, said in others.result():
            yield Look(engine=said.engine, photo=photo, texts=said.texts, ms=said.ms)


def _by_ours_and_engines(photos: Sequence[photoset.Labelled]) -> Iterator[Look]:
    engines: dict[str, Engine] = {"zxing-cpp": zxing_alone}
    if zbar.load() is not None:
        engines["pyzbar"] = zbar_alone
    with PhotoReader(any_text=True) as reader:
        for photo in photos:
            yield _ours(reader, photo)
            image = pictures.open_gray(photo.path.read_bytes())
            for name, engine in engines.items():
                begun = time.process_time()
                texts = engine(image)
                spent = (time.process_time() - begun) * 1000
                yield Look(engine=name, photo=photo, texts=texts, ms=spent)


def _ours(reader: PhotoReader, photo: photoset.Labelled) -> Look:
    """Through the door that commands use: opening the picture counts too."""
    try:
        reading = reader.read(photo.path)
    except errors.PhotoError as wrong:
        return Look(engine=OURS, photo=photo, texts=(), ms=0, by=wrong.slug)
    right = (code.step for code in reading.codes if photo.is_right([code.text]))
    return Look(
        engine=OURS,
        photo=photo,
        texts=reading.texts,
        ms=reading.cpu_ms,
        by=next(right, ""),
        grid=any(step.startswith("grid") for step in reading.steps),
    )


def main() -> int:
    """Everything, kept in benchmarks/results and, if it was a whole run, in README."""
    asked = _arguments()
    looks: list[Look] = []
    carried: Crossed | None = None
    if not asked.cells_only:
        photos = photoset.load(folder())[:: asked.every]
        looks += look_at(photos, opencv=not asked.no_opencv)
        print("\n".join(photos_table.of_groups(looks)), flush=True)
        by_grid = [look.photo for look in looks if look.right and look.by.startswith("grid")]
        carried = crossed(photos, by_grid)
        print(photos_table.of_crossed(carried), flush=True)
    outcomes = []
    for outcome in _cells(asked.cells, asked.only):
        outcomes.append(outcome)
        print(photos_table.cell_row(outcome), flush=True)
    body = photos_table.to_json(looks, carried, outcomes)
    kept = measured.keep(
        "cells-" if asked.cells_only else "photos-", {"every": asked.every, **body}, asked.keep
    )
    print(f"kept: {kept}")
    whole = asked.every == 1 and not asked.only
    if whole and asked.keep == measured.RESULTS:
        photos_table.remember(kept, looks, carried, outcomes)
    return 1 if any(look.engine == OURS and look.wrong_token for look in looks) else 0


def _cells(tries: int, only: str) -> Iterator[photos_cells.Outcome]:
    if not tries:
        return
    if not only:
        yield from photos_cells.calibrated(max(1, min(ROUNDS, tries // 5)))
    count = os.cpu_count() or 1
    with ProcessPoolExecutor(count) as cores:
        for cell in photos_cells.cells():
            if only in f"{cell.name} {cell.severity}":
                yield photos_cells.run(cell, tries, cores, count)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.photos", description=__doc__)
    cells = int(os.environ.get("CELLS") or CELL)
    parser.add_argument("--cells", type=int, default=cells, help="photos in each, 0 for none")
    parser.add_argument("--only", default="", help="cells whose name and severity hold this")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each Nth photo only")
    parser.add_argument("--no-opencv", action="store_true", help="without setting it up")
    parser.add_argument("--cells-only", action="store_true", help="simulated photos only")
    parser.add_argument("--keep", type=Path, default=measured.RESULTS, help="folder of results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
