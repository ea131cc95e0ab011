"""How hard the simulated photos are, measured with an engine that is not ours.

zxing-cpp alone, without any preparation, reads this share of the photos of `consolecodes.CODES` at
each severity. A change of the simulator that moves a rate by more than ten points makes other
photos of it: figures measured before and after cannot be compared.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from pairing.qr import ladder
from pairing.testing.consolecodes import CODES, show
from pairing.testing.photos import photograph

RATES = {1: 0.62, 2: 0.91, 3: 0.94, 4: 0.70, 5: 0.18}
"""What the first simulator, which the decoders were chosen with, had at each severity. This one has
0.65, 0.87, 0.97, 0.75 and 0.21 (104 photos each, 2026-11-30).
"""
BOUND = 0.10


def plain(photo: bytes) -> tuple[str, ...]:
    """What zxing-cpp reads in a photo as it comes."""
    from PIL import Image

    with Image.open(io.BytesIO(photo)) as image:
        found = ladder.with_zxing(image.convert("L"))
    return tuple(symbol.text for symbol in found if symbol.text is not None)


def trials(severity: int, rounds: int = 8, first: int = 0) -> Iterator[bool]:
    """Whether each photo was read: `rounds` of every code, each from another place."""
    for number in range(first * len(CODES), (first + rounds) * len(CODES)):
        shown = show(CODES[number % len(CODES)], number)
        photo = photograph(shown.picture, severity, number, shown.area)
        yield shown.text in plain(photo)


def rate(severity: int, rounds: int = 8, first: int = 0) -> float:
    """The share that was read, 0 to 1."""
    results = list(trials(severity, rounds, first))
    return sum(results) / len(results)
