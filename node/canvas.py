"""A page of character cells and its way to a terminal: positions, colours, clipping, no surprises.

Pure. Everything that is put on it is made harmless first: a serial number is a stranger's text.
"""

from __future__ import annotations

import itertools
import textwrap
import unicodedata
from collections.abc import Sequence, Set

CP437 = frozenset(bytes(range(32, 127)).decode() + bytes(range(128, 255)).decode("cp437"))
"""What the Linux kernel's own console font shows."""
REPERTOIRE = CP437 | {chr(code) for code in range(0xA1, 0x100) if code != 0xAD}
"""What is ever written: CP437 and Latin-1, all one column wide."""

START = "\x1b[?25l\x1b[?7l\x1b[0m"
"""Cursor off, no wrapping at the right edge (so that the last cell scrolls nothing).

Nothing is cleared: every row is written to its end, and a clearing would flicker.
"""
END = "\x1b[0m\x1b[2J\x1b[H\x1b[?7h\x1b[?25h"
"""As it was."""

LEFT = ("", "")
"""A cell on which nothing is written."""
_LETTERS = {
    "0": (" ### ", "#   #", "#  ##", "# # #", "##  #", "#   #", " ### "),
    "1": ("  #  ", " ##  ", "  #  ", "  #  ", "  #  ", "  #  ", " ### "),
    "2": (" ### ", "#   #", "    #", "   # ", "  #  ", " #   ", "#####"),
    "3": (" ### ", "#   #", "    #", "  ## ", "    #", "#   #", " ### "),
    "4": ("   # ", "  ## ", " # # ", "#  # ", "#####", "   # ", "   # "),
    "5": ("#####", "#    ", "#### ", "    #", "    #", "#   #", " ### "),
    "6": (" ### ", "#    ", "#    ", "#### ", "#   #", "#   #", " ### "),
    "7": ("#####", "    #", "   # ", "  #  ", " #   ", " #   ", " #   "),
    "8": (" ### ", "#   #", "#   #", " ### ", "#   #", "#   #", " ### "),
    "9": (" ### ", "#   #", "#   #", " ####", "    #", "    #", " ### "),
    "E": ("#####", "#    ", "#    ", "#### ", "#    ", "#    ", "#####"),
    "K": ("#   #", "#  # ", "# #  ", "##   ", "# #  ", "#  # ", "#   #"),
    "O": (" ### ", "#   #", "#   #", "#   #", "#   #", "#   #", " ### "),
}


def printable(text: str, glyphs: Set[str] = REPERTOIRE) -> str:
    """`text` in the glyphs there are: accents dropped where needed, anything else as `?`."""
    return "".join(_glyph(character, glyphs) for character in text)


def _glyph(character: str, glyphs: Set[str]) -> str:
    for candidate in (character, unicodedata.normalize("NFKD", character)[:1]):
        if candidate in REPERTOIRE and candidate in glyphs:
            return candidate
    return "?" if character.isprintable() or not character.isspace() else " "


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, at least one."""
    return textwrap.wrap(text, max(1, width), break_on_hyphens=False) or [""]


def big(text: str) -> tuple[str, ...]:
    """Digits, E, K and O, 7 rows high and 10 columns wide with 2 between; `#` is ink."""
    rows = ("  ".join(_double(_LETTERS[letter][row]) for letter in text) for row in range(7))
    return tuple(rows)


def _double(row: str) -> str:
    return "".join(dot * 2 for dot in row)


class Canvas:
    """`rows` x `columns` cells with a base style; styles are SGR parameters such as `97;41`."""

    def __init__(self, columns: int, rows: int, style: str, glyphs: Set[str]) -> None:
        self.columns, self.rows = columns, rows
        self._base = style
        self._glyphs = glyphs
        self._cells = [[(" ", style)] * columns for _ in range(rows)]

    def put(self, row: int, column: int, text: str, style: str | None = None) -> None:
        """Write, clipped at the edges."""
        self.put_raw(row, column, printable(text, self._glyphs), style)

    def put_raw(self, row: int, column: int, text: str, style: str | None = None) -> None:
        """Like `put`, for block glyphs that the caller knows to exist."""
        if not 0 <= row < self.rows:
            return
        kept = self._base if style is None else style
        for place, character in enumerate(text[: max(0, self.columns - column)], column):
            self._cells[row][place] = (character, kept)

    def leave(self, row: int, column: int, columns: int) -> None:
        """Write nothing on these cells: something else is drawn there."""
        if 0 <= row < self.rows:
            end = min(column + columns, self.columns)
            self._cells[row][column:end] = [LEFT] * (end - column)

    def lines(self) -> tuple[str, ...]:
        """A line per row: text with colours, reset at its end, the rest of the row blank."""
        return tuple(self._line(row) for row in self._cells)

    def _line(self, cells: Sequence[tuple[str, str]]) -> str:
        end = len(cells)
        # Not every terminal erases in the colour of the page: a coloured one is written out.
        while end and not self._base and cells[end - 1] == (" ", ""):
            end -= 1
        out, before = [], ""
        for (character, style), run in itertools.groupby(cells[:end]):
            count = len(list(run))
            if not character:
                out.append(f"\x1b[{count}C")
                continue
            if style != before:
                out.append(_sgr(style))
                before = style
            out.append(character * count)
        if before:
            out.append("\x1b[0m")
        if end < len(cells):
            out.append("\x1b[K")
        return "".join(out)


def _sgr(style: str) -> str:
    return f"\x1b[0;{style}m" if style else "\x1b[0m"


def frame(lines: Sequence[str], before: Sequence[str]) -> str:
    """What to send so that a screen showing `before` shows `lines`; empty `before` = anything.

    Each row is addressed; there is no newline, so nothing scrolls.
    """
    fresh = len(before) != len(lines)
    changed = (
        f"\x1b[{row};1H{line}"
        for row, line in enumerate(lines, 1)
        if fresh or before[row - 1] != line
    )
    return (START if fresh else "") + "".join(changed)
