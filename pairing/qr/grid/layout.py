"""Which module of a QR code means what (ISO/IEC 18004): pure tables, one set a version.

Arrays are indexed [row, column] from the top left module; a version has 17 + 4 * version modules
a side. The tables of blocks and alignment patterns are those of the `qrcode` package.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from qrcode import base, constants, util

Level = Literal["L", "M", "Q", "H"]
"""Of error correction."""
Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Index = NDArray[np.int64]

LEVELS: tuple[Level, ...] = ("L", "M", "Q", "H")
VERSIONS = range(1, 41)
MASKS = range(8)
_CODES = {
    "L": constants.ERROR_CORRECT_L,
    "M": constants.ERROR_CORRECT_M,
    "Q": constants.ERROR_CORRECT_Q,
    "H": constants.ERROR_CORRECT_H,
}
_FINDER = np.array([[max(abs(r - 3), abs(c - 3)) != 2 for c in range(7)] for r in range(7)])
_ALIGNMENT = np.array([[max(abs(r - 2), abs(c - 2)) != 1 for c in range(5)] for r in range(5)])


@dataclass(frozen=True, slots=True)
class Layout:
    """The tables of one version. `known` as `known()` gives it; `data` tells the modules of the
    codewords, `order` their (row, column) as the bits are placed, remainder bits included;
    `format_cells` the modules (copy, bit from the least, row or column) of the format twice.
    """

    version: int
    known: Float
    data: Bool
    order: Index
    format_cells: Index

    @property
    def size(self) -> int:
        """Modules a side."""
        return size_of(self.version)


@dataclass(frozen=True, slots=True)
class Block:
    """One Reed-Solomon block: how many codewords, how many of them parity, and where its codewords
    stand in the code's interleaved sequence."""

    total: int
    parity: int
    places: Index


@dataclass(frozen=True, slots=True)
class Format:
    """A format word: 15 bits, the least first, and what it says."""

    level: Level
    mask: int
    bits: Bool


def size_of(version: int) -> int:
    """Modules a side, 21 to 177."""
    return 17 + 4 * version


def known(version: int) -> Float:
    """(n, n): +1 where a module is dark in every code of this version, -1 where it is light, 0
    where it depends on the code (data and format)."""
    return layout(version).known


@functools.lru_cache(maxsize=40)
def layout(version: int) -> Layout:
    """The tables of a version, 1 to 40. Raises ValueError for another."""
    if version not in VERSIONS:
        raise ValueError(f"no QR code has version {version}")
    fixed = np.zeros((size_of(version),) * 2, dtype=np.float32)
    _place_finders(fixed)
    _place_alignment(fixed, version)
    _place_timing(fixed)
    if version >= 7:
        _place_version(fixed, version)
    cells = _format_cells(len(fixed))
    data = fixed == 0
    data[cells[..., 0], cells[..., 1]] = False
    order = _order(data)
    for table in (fixed, data, order, cells):
        table.setflags(write=False)
    return Layout(version, fixed, data, order, cells)


def _signs(dark: Bool) -> Float:
    return np.where(dark, np.float32(1), np.float32(-1))


def _place_finders(fixed: Float) -> None:
    """Three finders with their light separators, and the one module that is always dark."""
    n = len(fixed)
    fixed[:8, :8] = fixed[:8, n - 8 :] = fixed[n - 8 :, :8] = -1
    finder = _signs(_FINDER)
    fixed[:7, :7] = fixed[:7, n - 7 :] = fixed[n - 7 :, :7] = finder
    fixed[n - 8, 8] = 1


def _place_alignment(fixed: Float, version: int) -> None:
    """Wherever a finder is not. Before the timing, which passes through two rows of them."""
    middles = util.pattern_position(version)
    for row in middles:
        for column in middles:
            if fixed[row, column] == 0:
                fixed[row - 2 : row + 3, column - 2 : column + 3] = _signs(_ALIGNMENT)


def _place_timing(fixed: Float) -> None:
    along = np.arange(8, len(fixed) - 8)
    fixed[6, along] = fixed[along, 6] = _signs(along % 2 == 0)


def _place_version(fixed: Float, version: int) -> None:
    bits = util.BCH_type_number(version)
    number = np.arange(18)
    near, far = number // 3, number % 3 + len(fixed) - 11
    fixed[near, far] = fixed[far, near] = _signs((bits >> number & 1).astype(bool))


def _format_cells(n: int) -> Index:
    """Round the first finder, and shared by the two others: bit 0 first."""
    first = [*((8, c) for c in range(6)), (8, 7), (8, 8), (7, 8), *((5 - i, 8) for i in range(6))]
    second = [(n - 1 - i, 8) for i in range(7)] + [(8, n - 8 + i) for i in range(8)]
    return np.array([first[::-1], second[::-1]], dtype=np.int64)


def _order(data: Bool) -> Index:
    """Pairs of columns from the right, upwards and down in turn, the timing column left out."""
    n = len(data)
    rights = [column - (column <= 6) for column in range(n - 1, 0, -2)]
    pieces = []
    for number, right in enumerate(rights):
        rows = np.arange(n) if number % 2 else np.arange(n)[::-1]
        cells = np.stack([np.repeat(rows, 2), np.tile([right, right - 1], n)], axis=1)
        pieces.append(cells[data[cells[:, 0], cells[:, 1]]])
    return np.concatenate(pieces).astype(np.int64)


@functools.lru_cache(maxsize=64)
def mask_bits(version: int, mask: int) -> Bool:
    """(k,): which of the data modules, in `Layout.order`, mask 0 to 7 inverts."""
    rows, columns = layout(version).order.T
    inverted = (
        (rows + columns) % 2,
        rows % 2,
        columns % 3,
        (rows + columns) % 3,
        (rows // 2 + columns // 3) % 2,
        rows * columns % 2 + rows * columns % 3,
        (rows * columns % 2 + rows * columns % 3) % 2,
        (rows * columns % 3 + (rows + columns) % 2) % 2,
    )[mask]
    result: Bool = inverted == 0
    result.setflags(write=False)
    return result


@functools.lru_cache(maxsize=160)
def blocks(version: int, level: Level) -> tuple[Block, ...]:
    """The Reed-Solomon blocks of a version at a level, in their order."""
    shapes = base.rs_blocks(version, _CODES[level])
    places: list[list[int]] = [[] for _ in shapes]
    at = 0
    for part in (
        [shape.data_count for shape in shapes],
        [shape.total_count - shape.data_count for shape in shapes],
    ):
        for step in range(max(part)):
            for number, count in enumerate(part):
                if step < count:
                    places[number].append(at)
                    at += 1
    return tuple(
        Block(shape.total_count, shape.total_count - shape.data_count, np.array(place))
        for shape, place in zip(shapes, places, strict=True)
    )


@functools.lru_cache(maxsize=1)
def formats() -> tuple[Format, ...]:
    """The 32 format words."""
    number = np.arange(15)
    return tuple(
        Format(level, mask, (util.BCH_type_info(_CODES[level] << 3 | mask) >> number & 1) == 1)
        for level in LEVELS
        for mask in MASKS
    )


def codewords_of(bits: Bool) -> NDArray[np.uint8]:
    """Whole bytes of the bits in placement order, without mask and without remainder bits."""
    return np.packbits(bits[: len(bits) // 8 * 8])


def modules_of(version: int, level: Level, mask: int, codewords: Sequence[int]) -> Bool:
    """(n, n), True = dark: the code of these interleaved codewords; remainder bits are 0."""
    table = layout(version)
    modules: Bool = table.known > 0
    rows, columns = table.order.T
    bits = np.zeros(len(rows), dtype=np.bool_)
    data = np.unpackbits(np.asarray(codewords, dtype=np.uint8)).astype(np.bool_)
    bits[: len(data)] = data
    modules[rows, columns] = bits ^ mask_bits(version, mask)
    word = next(f for f in formats() if f.level == level and f.mask == mask)
    cells = table.format_cells
    modules[cells[..., 0], cells[..., 1]] = word.bits
    return modules
