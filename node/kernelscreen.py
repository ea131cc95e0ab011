"""A console of the kernel as a display for the code: the best way that it allows, and whether what
was drawn is still there.

Best first: pixels of its framebuffer; half blocks of its font, if they look like it; half blocks
of ours, loaded into its font; blanks with a background colour. What fails is told in the log once,
and the next way is taken.
"""

from __future__ import annotations

import enum
import logging
from typing import Protocol

from node import consolefont
from node.canvas import REPERTOIRE
from node.consolefont import Font, GlyphMap
from node.framebuffer import Drawing, Mode
from node.screen import Abilities, Pixels, Placed, placed_top
from node.vt import Vt
from pairing.qr.render import HALF_BLOCKS

LOG = logging.getLogger("kairos.node")
FEW_GLYPHS = 256
"""With more, a console has no bright ink: its bit chooses the glyph (vgacon, fbcon)."""


_UTF8 = "\x1b%G"
_WHITE_IS_BRIGHT, _USUAL_COLOURS = "\x1b]P7ffffff", "\x1b]R"
"""Colour 7 is gray, and there is no brighter background (console_codes(4))."""


class Way(enum.Enum):
    """How a code is drawn, in words for the log."""

    PIXELS = "pixels of the framebuffer"
    FONT = "half blocks of the font"
    OWN_GLYPHS = "half blocks of ours, loaded into the font"
    BACKGROUNDS = "background colours"


Seen = tuple[bytes, Font, GlyphMap]
"""What is in the cells, and what that looks like."""


class Pixelled(Protocol):
    """`framebuffer.Framebuffer`, as far as it is used here. Everything may raise OSError."""

    def mode(self) -> Mode:
        """What it shows now."""

    def draw(self, drawing: Drawing) -> None:
        """Put it there."""

    def shows(self, drawing: Drawing) -> bool:
        """Whether it is still there."""

    def close(self) -> None:
        """Leave everything as it is."""


class KernelScreen:
    """One virtual console, with its framebuffer if it has one."""

    def __init__(self, vt: Vt, framebuffer: Pixelled | None = None, *, name: str = "") -> None:
        """`name`: of its device, for the log. The framebuffer is closed with it."""
        self._vt, self._framebuffer, self._name = vt, framebuffer, name
        self.way: Way | None = None
        self._few_glyphs = True
        self._found: tuple[Font, GlyphMap] | None = None
        """The font that ours took the place of."""
        self._ours: Font | None = None
        self._takes_fonts = True
        self._told: set[str] = set()
        self._drawing: Drawing | None = None
        self._before: Seen | None = None

    def look(self, columns: int, rows: int, *, colour: bool) -> Abilities:
        """What it can show now; loads our glyphs where there is nothing better. Never fails."""
        font, glyph_map = self._font(), self._glyph_map()
        pixels = self._pixels(columns, rows, font) if font else None
        blocks = has_blocks(font, glyph_map)
        if font and not blocks and not pixels and (ours := self._load(font, glyph_map)):
            font, glyph_map = ours
            blocks = True
        self._few_glyphs = font is None or font.count <= FEW_GLYPHS
        if pixels:
            way = Way.PIXELS
        elif blocks:
            way = Way.OWN_GLYPHS if font and font == self._ours else Way.FONT
        else:
            way = Way.BACKGROUNDS
        if way is not self.way:
            LOG.info("%s: the code is drawn with %s", self._name, way.value)
            self.way = way
        glyphs = frozenset(glyph_map) or REPERTOIRE
        return Abilities(half_blocks=blocks, colour=colour, glyphs=glyphs, pixels=pixels)

    @property
    def start(self) -> str:
        """What to write before a page: text is UTF-8, and the brightest white there is."""
        bright = self._few_glyphs and self.way is not Way.BACKGROUNDS
        return _UTF8 + ("" if bright else _WHITE_IS_BRIGHT)

    def drawn(self, placed: Placed | None, rows: int) -> bool:
        """A page was written: draw its code, if that is in pixels, and remember what is there.

        False if there are no pixels any more: then everything is to be drawn anew, in another way.
        """
        self._drawing = None
        if placed and placed.in_pixels and self._framebuffer:
            try:
                self._drawing = self._draw(placed, rows)
            except OSError as wrong:
                self._give_up("framebuffer", wrong)
                return False
        self._before = self._seen()
        return True

    @property
    def is_spoiled(self) -> bool:
        """Whether something else has written on it since, or changed its font. Not told of pixels
        that are not in front."""
        if self._before is not None and self._seen() != self._before:
            return True
        try:
            shown = self._vt.is_in_front()
            if shown and self._framebuffer and self._drawing:
                return not self._framebuffer.shows(self._drawing)
        except OSError:
            pass  # drawing it will tell
        return False

    def close(self) -> str:
        """Give it its font back. What to write to it then."""
        try:
            if self._found and self._vt.font() == self._ours:
                self._vt.load(*self._found)
        except OSError as wrong:
            LOG.info("%s: its font stays ours: %s", self._name, wrong.strerror)
        if self._framebuffer:
            self._framebuffer.close()
        return _USUAL_COLOURS

    def _font(self) -> Font | None:
        try:
            return self._vt.font()
        except OSError as wrong:
            self._tell("font cannot be read", wrong)
            return None

    def _glyph_map(self) -> GlyphMap:
        try:
            return self._vt.glyph_map()
        except OSError as wrong:
            self._tell("glyphs cannot be read", wrong)
            return {}

    def _pixels(self, columns: int, rows: int, font: Font) -> Pixels | None:
        """None as well if this console's cells are not those of that framebuffer."""
        if self._framebuffer is None:
            return None
        try:
            mode = self._framebuffer.mode()
        except OSError as wrong:
            self._give_up("framebuffer", wrong)
            return None
        if (columns, rows) != (mode.width // font.width, mode.height // font.height):
            return None
        return Pixels(mode.width, mode.height, font.width, font.height)

    def _load(self, font: Font, glyph_map: GlyphMap) -> tuple[Font, GlyphMap] | None:
        if not self._takes_fonts:
            return None
        ours = consolefont.with_blocks(font, glyph_map)
        try:
            self._vt.load(*ours)
        except OSError as wrong:
            self._takes_fonts = False
            self._tell("takes no glyphs", wrong)
            return None
        self._found, self._ours = (font, glyph_map), ours[0]
        return ours

    def _draw(self, placed: Placed, rows: int) -> Drawing:
        assert self._framebuffer is not None
        mode, font = self._framebuffer.mode(), self._vt.font()
        width = min(placed.columns * font.width, mode.width)
        height = min(placed.rows * font.height, mode.height)
        top = placed_top(placed, rows) * font.height
        drawing = Drawing(placed.code, placed.scale, placed.quiet, 0, top, width, height)
        if self._vt.is_in_front():
            self._framebuffer.draw(drawing)
        return drawing

    def _seen(self) -> Seen | None:
        try:
            return self._vt.cells(), self._vt.font(), self._vt.glyph_map()
        except OSError:
            return None

    def _give_up(self, what: str, wrong: OSError) -> None:
        self._tell(f"{what} is not used", wrong)
        if self._framebuffer:
            self._framebuffer.close()
        self._framebuffer = None

    def _tell(self, what: str, wrong: OSError) -> None:
        if what not in self._told:
            LOG.warning("%s: %s: %s", self._name, what, wrong.strerror)
            self._told.add(what)


def has_blocks(font: Font | None, glyph_map: GlyphMap) -> bool:
    """Whether half blocks can be written. A font that cannot be read is trusted for its map."""
    if font is not None:
        return consolefont.shows_blocks(font, glyph_map)
    slots = {glyph_map.get(block) for block in HALF_BLOCKS}
    return None not in slots and len(slots) == len(HALF_BLOCKS)
