"""A virtual console and its framebuffer as recorded data: for tests of what is drawn on them.

Fonts are made here with the faults that were found in real ones; the pixels lie in a file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node.consolefont import Font, GlyphMap
from node.framebuffer import Drawing, Framebuffer, Mode
from pairing.qr.render import HALF_BLOCKS

SOLID = range(16)
LETTER = range(3, 12)
"""Rows of ink of every glyph that is no block."""


@dataclass(slots=True)
class RecordedVt:
    """See `node.vt.Vt`. `refuses`: names of methods that fail as a kernel without them would."""

    shown: Font
    glyphs: GlyphMap
    number: int = 1
    front: bool = True
    written: bytes = b"\x19\x50"
    refuses: set[str] = field(default_factory=set)
    loads: int = 0

    def glyph_map(self) -> GlyphMap:
        self._ask("glyph_map")
        return self.glyphs

    def font(self) -> Font:
        self._ask("font")
        return self.shown

    def load(self, font: Font, glyph_map: GlyphMap) -> None:
        self._ask("load")
        self.shown, self.glyphs = font, dict(glyph_map)
        self.loads += 1

    def is_in_front(self) -> bool:
        self._ask("is_in_front")
        return self.front

    def cells(self) -> bytes:
        self._ask("cells")
        return self.written

    def _ask(self, name: str) -> None:
        if name in self.refuses:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


class RecordedFramebuffer(Framebuffer):
    """Pixels in a file, of a mode that is given."""

    def __init__(self, path: Path, mode: Mode) -> None:
        path.write_bytes(bytes(mode.stride * max(mode.lines, mode.top + mode.height)))
        super().__init__(path)
        self.recorded: Mode | None = mode
        self.drawn = 0

    def mode(self) -> Mode:
        """As recorded; gone once that is None."""
        if self.recorded is None:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return self.recorded

    def draw(self, drawing: Drawing) -> None:
        """Counted."""
        super().draw(drawing)
        self.drawn += 1


def font(
    *,
    upper: range = range(8),
    lower: range = range(8, 16),
    full: range = SOLID,
    slots: Sequence[int] = (0xDF, 0xDC, 0xDB),
    count: int = 256,
) -> tuple[Font, dict[str, int]]:
    """A font of 8 x 16 with these rows of ink in its blocks, and its map: CP437 below the blocks.

    Fewer slots: the last blocks are not mapped.
    """
    made = Font(8, 16, count, 32, bytes(32 * count))
    glyph_map = {bytes([slot]).decode("cp437"): slot for slot in range(32, 256)}
    glyph_map = {c: slot for c, slot in glyph_map.items() if c not in HALF_BLOCKS}
    for slot in range(33, 256):
        made = made.with_glyph(slot, LETTER)
    blocks = ((upper, "\u2580"), (lower, "\u2584"), (full, "\u2588"))
    for (ink, block), slot in zip(blocks, slots, strict=False):
        made = made.with_glyph(slot, ink)
        glyph_map = {c: old for c, old in glyph_map.items() if old != slot} | {block: slot}
    return made, glyph_map
