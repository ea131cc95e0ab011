"""A console of the kernel as a display for the code: the best way that it allows, and whether what
was drawn is still there.

Best first: pixels of its framebuffer; half blocks of its font, if they look like it; half blocks
of ours, loaded into its font; blanks with a background colour. What fails is told in the log once,
and the next way is taken.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
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


MOST_FAILURES = 8
"""Of framebuffers. A change of drivers costs one or two."""
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
    """One virtual console, with its framebuffer while it has one.

    That may come late, go, and be another one then: the driver of the graphics card is loaded
    after the code is shown, and takes over from the firmware's picture.
    """

    def __init__(self, vt: Vt, find: Callable[[], Pixelled] | None = None, name: str = "") -> None:
        """`find`: its framebuffer as of now, closed with it; raises OSError if there is none.
        `name`: of its device, for the log."""
        self._vt, self._find, self._name = vt, find, name
        self._framebuffer: Pixelled | None = None
        self._failures = 0
        self._barred = False
        """The pixels have just failed: another way now, again at the next look."""
        self.way: Way | None = None
        self._few_glyphs = True
        self._found: tuple[Font, GlyphMap] | None = None
        """The font that ours took the place of."""
        self._ours: Font | None = None
        self._takes_fonts = True
        self._told: set[str] = set()
        self._drawing: Drawing | None = None
        self._before: Seen | None = None

    def look(self, columns: int, rows: int, *, colour: bool, code: bool = True) -> Abilities:
        """What it can show now. Never fails.

        `code`: one is to be shown: our glyphs are loaded where there is nothing better. Without
        one the console has its own font: others may use it as well.
        """
        if not code:
            self._give_back()
        font, glyph_map = self._font(), self._glyph_map()
        pixels = self._pixels(columns, rows, font) if font else None
        blocks = has_blocks(font, glyph_map)
        needed = code and not blocks and not pixels
        if needed and font and (ours := self._load(font, glyph_map)):
            font, glyph_map = ours
            blocks = True
        self._few_glyphs = font is None or font.count <= FEW_GLYPHS
        if pixels:
            way = Way.PIXELS
        elif blocks:
            way = Way.OWN_GLYPHS if font and font == self._ours else Way.FONT
        else:
            way = Way.BACKGROUNDS
        if code and way is not self.way:
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
                self._drop(wrong)
                self._barred = True
                return False
        self._before = self._seen()
        return True

    @property
    def is_spoiled(self) -> bool:
        """Whether something else has written on it since, or changed its font. Not told of pixels
        that are not in front."""
        if self._before is not None and self._seen() != self._before:
            return True
        if self._framebuffer is None or self._drawing is None:
            return False
        try:
            if not self._vt.is_in_front():
                return False
        except OSError:
            return False
        try:
            return not self._framebuffer.shows(self._drawing)
        except OSError:
            return True

    def close(self) -> str:
        """Give it its font back. What to write to it then."""
        self._give_back()
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
        barred, self._barred = self._barred, False
        mode = None if barred else self._mode() or self._mode()  # another one may be there by now
        if mode is None:
            return None
        if (columns, rows) != (mode.width // font.width, mode.height // font.height):
            return None
        return Pixels(mode.width, mode.height, font.width, font.height)

    def _mode(self) -> Mode | None:
        if self._find is None:
            return None
        try:
            if self._framebuffer is None:
                self._framebuffer = self._find()
        except OSError as wrong:
            self._tell("there is no framebuffer", wrong, logging.INFO)
            return None
        try:
            return self._framebuffer.mode()
        except OSError as wrong:
            self._drop(wrong)
            return None

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

    def _give_back(self) -> None:
        """Its font, unless somebody else has changed it since."""
        found, self._found = self._found, None
        try:
            if found and self._vt.font() == self._ours:
                self._vt.load(*found)
        except OSError as wrong:
            self._tell("its font stays ours", wrong)

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

    def _drop(self, wrong: OSError) -> None:
        """It is looked for again, but not for ever."""
        self._tell("the framebuffer is not used", wrong)
        if self._framebuffer:
            self._framebuffer.close()
        self._framebuffer = None
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            self._find = None

    def _tell(self, what: str, wrong: OSError, level: int = logging.WARNING) -> None:
        if what not in self._told:
            LOG.log(level, "%s: %s: %s", self._name, what, wrong.strerror)
            self._told.add(what)


def has_blocks(font: Font | None, glyph_map: GlyphMap) -> bool:
    """Whether half blocks can be written. A font that cannot be read is trusted for its map."""
    if font is not None:
        return consolefont.shows_blocks(font, glyph_map)
    slots = {glyph_map.get(block) for block in HALF_BLOCKS}
    return None not in slots and len(slots) == len(HALF_BLOCKS)
