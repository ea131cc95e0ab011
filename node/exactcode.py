"""Read a QR code out of a perfect picture: the machine's own screen, not a photo.

Every edge is where it belongs, so nothing is corrected: what is read is drawn again, and must be
the same module by module. Finding, format and placement: ISO/IEC 18004; its tables are those of
the `qrcode` package, which drew the code too. (zxing-cpp and the libraries that it needs are not
on a node.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pairing.qr import render

_EDGE = re.compile(rb"(?<=\xff)\x00{7,}(?=\xff)")
_BLACK_OR_WHITE = bytes(255) + b"\xff"
_FORMAT_MASK, _FORMAT_BITS = 0x5412, 15
_LEVELS: dict[int, Literal["M", "L"]] = {0: "M", 1: "L"}
"""The two that `render` draws, by their bits in the format."""
_ALPHANUMERIC: Literal[2] = 2
_BYTES: Literal[4] = 4
_VERSIONS = range(1, 41)
FINDER = ("#######", "#     #", "# ### #", "# ### #", "# ### #", "#     #", "#######")


@dataclass(frozen=True, slots=True)
class Grid:
    """Modules of `wide` x `high` pixels with the upper left corner at (x, y)."""

    width: int
    height: int
    gray: bytes
    x: int
    y: int
    wide: int
    high: float

    def dark(self, row: int, column: int) -> bool | None:
        """The middle of a module; None outside the picture."""
        x, y = self.x + int((column + 0.5) * self.wide), self.y + int((row + 0.5) * self.high)
        return not self.gray[y * self.width + x] if x < self.width and y < self.height else None

    def is_finder(self, row: int, column: int) -> bool:
        """Whether one of the three marks begins there."""
        return all(
            self.dark(row + down, column + right) is (mark == "#")
            for down, line in enumerate(FINDER)
            for right, mark in enumerate(line)
        )

    def modules(self, side: int) -> render.Modules:
        """As many rows and columns."""
        return tuple(tuple(bool(self.dark(r, c)) for c in range(side)) for r in range(side))


def read(width: int, height: int, gray: bytes) -> str | None:
    """The text of the first code, one byte of gray a pixel, white is 255; None if there is none."""
    plain = gray.translate(_BLACK_OR_WHITE)
    for grid in _finders(width, height, plain):
        for version in _VERSIONS:
            side = 17 + 4 * version
            if grid.is_finder(0, side - 7) and grid.is_finder(side - 7, 0):
                text = _text(grid.modules(side), version)
                if text is not None:
                    return text
    return None


def _finders(width: int, height: int, gray: bytes) -> Iterator[Grid]:
    for y in range(height):
        row = gray[y * width : (y + 1) * width]
        for edge in _EDGE.finditer(row):
            wide, rest = divmod(edge.end() - edge.start(), 7)
            if rest:
                continue
            x = edge.start()
            column = gray[y * width + x :: width]
            long = len(column) - len(column.lstrip(b"\0"))
            high = round(2 * long / 7) / 2  # halves of a cell may be unequal, by a line or two
            grid = Grid(width, height, gray, x, y, wide, high)
            if high and grid.is_finder(0, 0):
                yield grid


def _text(modules: render.Modules, version: int) -> str | None:
    form = 0
    for bit in range(_FORMAT_BITS):  # down the eighth column, from the upper edge
        row = bit if bit < 6 else bit + 1 if bit < 8 else len(modules) - 15 + bit
        form |= modules[row][8] << bit
    form ^= _FORMAT_MASK
    level = _LEVELS.get(form >> 13)
    if level is None:
        return None
    try:
        text = _decoded(_data(modules, version, form >> 10 & 7, level), version)
        return text if text and render.modules(text, level) == modules else None
    except (ValueError, IndexError):
        return None


def _data(modules: render.Modules, version: int, mask: int, level: str) -> bytes:
    """The words of data, unmasked and put together from their blocks."""
    from qrcode import base, constants, util

    covered = util.mask_func(mask)
    bits = [
        modules[row][column] ^ covered(row, column) for row, column in _free(len(modules), version)
    ]
    eights = (bits[at : at + 8] for at in range(0, len(bits) - 7, 8))
    words = [sum(bit << 7 - place for place, bit in enumerate(eight)) for eight in eights]
    correction = {"M": constants.ERROR_CORRECT_M, "L": constants.ERROR_CORRECT_L}[level]
    counts = [block.data_count for block in base.rs_blocks(version, correction)]
    blocks: list[list[int]] = [[] for _ in counts]
    source = iter(words)
    for turn in range(max(counts)):
        for block, count in zip(blocks, counts, strict=True):
            if turn < count:
                block.append(next(source))
    return bytes(word for block in blocks for word in block)


def _free(side: int, version: int) -> Iterator[tuple[int, int]]:
    """The modules that hold data, in their order."""
    import qrcode

    code: Any = qrcode.QRCode(version=version)
    code.modules_count, code.modules = side, [[None] * side for _ in range(side)]
    for corner in ((0, 0), (side - 7, 0), (0, side - 7)):
        code.setup_position_probe_pattern(*corner)
    code.setup_position_adjust_pattern()
    code.setup_timing_pattern()
    code.setup_type_info(test=True, mask_pattern=0)
    if version >= 7:
        code.setup_type_number(test=True)
    upwards = True
    for right in [*range(side - 1, 6, -2), 5, 3, 1]:
        for row in range(side - 1, -1, -1) if upwards else range(side):
            for column in (right, right - 1):
                if code.modules[row][column] is None:
                    yield row, column
        upwards = not upwards


def _decoded(data: bytes, version: int) -> str:
    from qrcode import util

    bits = "".join(f"{word:08b}" for word in data)
    mode = int(bits[:4], 2)
    if mode not in (_ALPHANUMERIC, _BYTES):
        return ""
    length = util.length_in_bits(_BYTES if mode == _BYTES else _ALPHANUMERIC, version)
    count, bits = int(bits[4 : 4 + length], 2), bits[4 + length :]
    if mode == _BYTES:
        return bytes(int(bits[i : i + 8], 2) for i in range(0, 8 * count, 8)).decode("ascii")
    letters = util.ALPHA_NUM.decode()
    pairs = (divmod(int(bits[at : at + 11], 2), 45) for at in range(0, 11 * (count // 2), 11))
    text = "".join(letters[first] + letters[second] for first, second in pairs)
    last = bits[11 * (count // 2) :][:6]
    return text + (letters[int(last, 2)] if count % 2 else "")
