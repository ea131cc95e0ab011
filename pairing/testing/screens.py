"""A console as pixels, from the bytes that were written to it.

A small Linux console (console_codes(4)): cursor addressing, erasing, colours, wrapping and
scrolling, drawn in cells of 8 x 16 pixels with exact block glyphs. What this module does not know
it ignores, as the console does.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

CELL = (8, 16)
PALETTE = (
    *(0x000000, 0xAA0000, 0x00AA00, 0xAA5500, 0x0000AA, 0xAA00AA, 0x00AAAA, 0xAAAAAA),
    *(0x555555, 0xFF5555, 0x55FF55, 0xFFFF55, 0x5555FF, 0xFF55FF, 0x55FFFF, 0xFFFFFF),
)
"""The kernel's sixteen colours."""
_TOKENS = re.compile(
    r"\x1b\[(?P<args>[?0-9;]*)(?P<final>[A-Za-z])"
    r"|\x1b\]P(?P<colour>[0-9a-fA-F])(?P<rgb>[0-9a-fA-F]{6})"
    r"|\x1b\]R|\x1b%[G@8]"
    r"|(?P<plain>.)",
    re.DOTALL,
)


@dataclass(slots=True)
class Cell:
    """A character with indexes into the palette."""

    character: str = " "
    ink: int = 7
    paper: int = 0


@dataclass(slots=True)
class Terminal:
    """The state of a console of `columns` x `rows`; `write` changes it as the kernel would."""

    columns: int
    rows: int
    cells: list[list[Cell]] = field(init=False)
    palette: list[int] = field(default_factory=lambda: list(PALETTE))
    scrolled: int = 0
    """How often everything moved up a line: never, for a page drawn well."""
    _row: int = 0
    _column: int = 0
    _pen: Cell = field(default_factory=Cell)
    _wraps: bool = True
    _pending: bool = False
    """The last column was written: the next character wraps first."""

    def __post_init__(self) -> None:
        self.cells = [self._blank_row() for _ in range(self.rows)]

    def write(self, text: str) -> None:
        """Take what a program wrote."""
        for token in _TOKENS.finditer(text):
            if token["final"]:
                self._command(token["args"], token["final"])
            elif token["colour"]:
                self.palette[int(token["colour"], 16)] = int(token["rgb"], 16)
            elif token["plain"]:
                self._character(token["plain"])

    def text(self) -> str:
        """What is readable on it, a line per row."""
        return "\n".join("".join(cell.character for cell in row).rstrip() for row in self.cells)

    def _blank(self) -> Cell:
        return Cell(" ", self._pen.ink, self._pen.paper)

    def _blank_row(self) -> list[Cell]:
        return [self._blank() for _ in range(self.columns)]

    def _character(self, character: str) -> None:
        if character == "\r":
            self._column, self._pending = 0, False
        elif character == "\n":
            self._line_feed()
        elif character >= " ":
            if self._pending and self._wraps:
                self._column = 0
                self._line_feed()
            self.cells[self._row][self._column] = Cell(character, self._pen.ink, self._pen.paper)
            self._pending = self._column == self.columns - 1
            self._column = min(self._column + 1, self.columns - 1)

    def _line_feed(self) -> None:
        self._pending = False
        if self._row < self.rows - 1:
            self._row += 1
            return
        self.scrolled += 1
        self.cells = [*self.cells[1:], self._blank_row()]

    def _command(self, args: str, final: str) -> None:
        if args.startswith("?"):
            if args == "?7":
                self._wraps = final == "h"
            return
        numbers = [int(number or 0) for number in args.split(";")]
        if final == "H":
            row, column = (*numbers, 0)[:2]
            self._row = min(max(row - 1, 0), self.rows - 1)
            self._column, self._pending = min(max(column - 1, 0), self.columns - 1), False
        elif final == "C":
            self._column = min(self._column + numbers[0], self.columns - 1)
            self._pending = False
        elif final == "m":
            for number in numbers:
                self._colour(number)
        else:
            self._erase(final, numbers[0])

    def _erase(self, final: str, number: int) -> None:
        row, column = self._row, self._column
        if (final, number) == ("J", 2):
            self.cells = [self._blank_row() for _ in range(self.rows)]
        elif (final, number) == ("K", 0):
            self.cells[row][column:] = self._blank_row()[column:]
        elif final == "X":
            end = min(column + number, self.columns)
            self.cells[row][column:end] = self._blank_row()[column:end]

    def _colour(self, number: int) -> None:
        pen = self._pen
        if number == 0:
            self._pen = Cell()
        elif number == 7:
            pen.ink, pen.paper = pen.paper, pen.ink
        elif 30 <= number <= 37:
            pen.ink = number - 30
        elif 90 <= number <= 97:
            pen.ink = number - 90 + 8
        elif 40 <= number <= 47 or 100 <= number <= 107:
            pen.paper = number % 10  # the kernel has no bright background


def picture(written: str, columns: int, rows: int) -> Image.Image:
    """What a framebuffer console of this size shows after `written`: RGB, 8 x 16 pixels a cell."""
    terminal = Terminal(columns, rows)
    terminal.write(written)
    return draw(terminal)


def draw(terminal: Terminal) -> Image.Image:
    """The terminal's cells as pixels."""
    from PIL import Image

    wide, high = CELL
    image = Image.new("RGB", (terminal.columns * wide, terminal.rows * high))
    for row, cells in enumerate(terminal.cells):
        for column, cell in enumerate(cells):
            ink, paper = _rgb(terminal.palette[cell.ink]), _rgb(terminal.palette[cell.paper])
            left, top = column * wide, row * high
            image.paste(paper, (left, top, left + wide, top + high))
            if mask := _glyph(cell.character):
                image.paste(ink, (left, top), mask)
    return image


@functools.lru_cache(maxsize=256)
def _glyph(character: str) -> Image.Image | None:
    """Where the ink is in a cell; None for a blank. A box for what the font lacks."""
    from PIL import Image

    high = CELL[1]
    half = high // 2
    ink = {"\u2580": (half, 0), "\u2584": (0, half), "\u2588": (half, half)}
    if character == " ":
        return None
    if character in ink:
        rows = b"".join(bytes([255 * (filled > 0)]) * half for filled in ink[character])
    else:
        rows = bytes(2) + _font().get(character, bytes([0x7E]) * 13) + bytes(high)
    return Image.frombytes("1", CELL, rows[:high])


@functools.lru_cache(maxsize=1)
def _font() -> dict[str, bytes]:
    """13 rows of 8 pixels for each character of Latin-1."""
    text = resources.files("pairing.testing").joinpath("fixed8x13.txt").read_text()
    lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {chr(int(code, 16)): bytes.fromhex(rows) for code, rows in lines}


def _rgb(colour: int) -> tuple[int, int, int]:
    return colour >> 16, colour >> 8 & 255, colour & 255
