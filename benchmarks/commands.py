"""Commands as whole processes, and the import of libp2p."""

from __future__ import annotations

import io
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.pictures import take_photo
from benchmarks.processes import BIN, Cost, cost, figures
from pairing.qr import render
from pairing.testing.measured import TOP, Figure
from pairing.testing.tokens import random_token

EXAMPLES = TOP / "examples"
RUNS = 15


def measure(quick: bool) -> list[Figure]:
    """`--help`, `validate`, `decode`, imports."""
    with tempfile.TemporaryDirectory() as name:
        return _measure(Path(name), 2 if quick else RUNS)


def _measure(home: Path, runs: int) -> list[Figure]:
    from PIL import Image

    photo, screen = home / "photo.jpg", home / "screen.png"
    code = render.png(render.modules(random_token(random.Random(1))))
    screen.write_bytes(code)
    take_photo(Image.open(io.BytesIO(code)), photo)
    fleet, config = BIN / "kairos-fleet", EXAMPLES / "configs" / "kairos-usual.yaml"
    node = BIN / "kairos-node"
    found: list[Figure] = []
    for title, argv, goal in (
        ("kairos-register --help", (BIN / "kairos-register", "--help"), 0.15),
        ("kairos-fleet --help", (fleet, "--help"), 0.15),
        ("kairos-node --help", (node, "--help"), 0.15),
        ("validate", (fleet, "validate", config), 0.3),
        ("decode, a photo by phone", (fleet, "decode", photo), 0.4),
        ("decode, a screenshot", (fleet, "decode", screen), 0.4),
        ("bare Python", (sys.executable, "-c", "pass"), None),
        ("import of click", (sys.executable, "-c", "import click"), None),
        (
            "import of libp2p",
            (sys.executable, "-c", "import pairing.transport.p2p.transport"),
            None,
        ),
    ):
        found += figures(title, repeated(argv, home, runs), goal)
    return found


def repeated(argv: Sequence[str | Path], home: Path, runs: int) -> list[Cost]:
    """One run that does not count (files come into memory), then `runs` that do."""
    costs = [cost(argv, home) for _ in range(runs + 1)][1:]
    for one in costs:
        if one.status != 0:
            raise RuntimeError(f"{argv} ended with {one.status}")
    return costs
