"""The font of a Linux console: whether its half blocks are what they say, and one where they are.

A character that is mapped may still have the wrong picture: LatGrkCyr-8x16 of kbd shows a full
block for all three. So the bitmaps are looked at. Pure; the ioctls are in `node.vt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pairing.qr.render import HALF_BLOCKS

TILES = range(0xC0, 0xE0)
"""Slots (low byte) whose eighth column VGA text repeats in the ninth, so that blocks touch."""
VITAL = frozenset(map(chr, (*range(0x20, 0x7F), *range(0xA1, 0x100))))
"""ASCII and Latin-1: what texts are written with."""
SLACK = 8
"""The blocks may meet an eighth of the height off the middle: default8x16 has them at 7 of 16."""

GlyphMap = Mapping[str, int]
"""Which character is drawn with the glyph in which slot."""


@dataclass(frozen=True, slots=True)
class Font:
    """`count` glyphs of `width` x `height` pixels; each takes `pitch` rows of whole bytes in
    `data` (console_font_op in linux/kd.h)."""

    width: int
    height: int
    count: int
    pitch: int
    data: bytes

    @property
    def row_bytes(self) -> int:
        return (self.width + 7) // 8

    def glyph(self, slot: int) -> tuple[int, ...]:
        """Its rows from the top, each `width` bits, leftmost highest. Empty for no such slot."""
        if not 0 <= slot < self.count:
            return ()
        start, wide = slot * self.pitch * self.row_bytes, self.row_bytes
        ends = (start + row * wide for row in range(self.height))
        spare = 8 * wide - self.width
        return tuple(int.from_bytes(self.data[end : end + wide], "big") >> spare for end in ends)

    def with_glyph(self, slot: int, ink: range) -> Font:
        """The same font with a glyph that is ink in these rows and blank elsewhere."""
        size = self.pitch * self.row_bytes
        solid = ((1 << self.width) - 1 << 8 * self.row_bytes - self.width).to_bytes(self.row_bytes)
        rows = (solid if row in ink else bytes(self.row_bytes) for row in range(self.pitch))
        data = self.data[: slot * size] + b"".join(rows) + self.data[(slot + 1) * size :]
        return replace(self, data=data)


def shows_blocks(font: Font, glyph_map: GlyphMap) -> bool:
    """Whether the three block characters are mapped, look as they should, and tile."""
    try:
        slots = [glyph_map[block] for block in HALF_BLOCKS]
    except KeyError:
        return False
    if any(slot & 0xFF not in TILES for slot in slots):
        return False
    upper, lower, full = (_ink(font, slot) for slot in slots)
    if upper is None or lower is None or full is None:
        return False
    slack, middle, whole = font.height // SLACK, font.height / 2, range(font.height)
    return (
        full == whole
        and (upper.start, lower.stop) == (whole.start, whole.stop)
        and all(abs(row - middle) <= slack for row in (upper.stop, lower.start))
    )


def with_blocks(font: Font, glyph_map: GlyphMap) -> tuple[Font, dict[str, int]]:
    """The font with our own three blocks in the slots that are missed least, and its map."""
    kept = {
        character: slot for character, slot in glyph_map.items() if character not in HALF_BLOCKS
    }
    slots = _least_missed(font, kept)
    half = font.height // 2
    inks = (range(half), range(half, font.height), range(font.height))
    for slot, ink in zip(slots, inks, strict=True):
        font = font.with_glyph(slot, ink)
    kept = {shown: slot for shown, slot in kept.items() if slot not in slots}
    return font, kept | dict(zip(HALF_BLOCKS, slots, strict=True))


def _least_missed(font: Font, glyph_map: GlyphMap) -> tuple[int, ...]:
    shown: dict[int, list[str]] = {}
    for character, slot in glyph_map.items():
        shown.setdefault(slot, []).append(character)

    def worth(slot: int) -> tuple[bool, bool, int]:
        characters = shown.get(slot, [])
        ascii_there = any(character.isascii() for character in characters)
        return ascii_there, not VITAL.isdisjoint(characters), -slot

    candidates = (slot for slot in TILES if slot < font.count)
    return tuple(sorted(candidates, key=worth)[: len(HALF_BLOCKS)])


def _ink(font: Font, slot: int) -> range | None:
    """The rows that are ink from edge to edge, if that is all there is, and in one piece."""
    solid = (1 << font.width) - 1
    rows = font.glyph(slot)
    if not rows or not set(rows) <= {0, solid} or solid not in rows:
        return None
    first = rows.index(solid)
    ink = range(first, first + rows.count(solid))
    return ink if all(rows[row] for row in ink) else None


def picture(cells: bytes, font: Font) -> tuple[int, int, bytes]:
    """Width, height and one byte of gray a pixel of a console: `cells` are lines, columns, then
    glyph and colours of each cell (vcs(4), without the cursor). White is white, all else black.
    """
    lines, columns = cells[0], cells[1]
    words = memoryview(cells[2:]).cast("H")[: lines * columns]
    many = font.count > _FEW
    dots = [_dots(font, slot) for slot in range(font.count)]
    blank = {light: bytes([light]) * font.width for light in (0, 0xFF)}
    rows = []
    for line in range(lines):
        shown = []
        for word in words[line * columns : (line + 1) * columns]:
            # With 512 glyphs the bit of bright ink is the ninth of the glyph (fbcon, vgacon).
            slot, ink = (word & 0x1FF, word >> 9 & 7) if many else (word & 0xFF, word >> 8 & 15)
            paper = word >> 12 & 7
            if (ink in _WHITE) == (paper in _WHITE):
                shown.append([blank[0xFF if paper in _WHITE else 0]] * font.height)
            else:
                shown.append(dots[slot][ink in _WHITE])
        rows += [b"".join(parts) for parts in zip(*shown, strict=True)]
    return columns * font.width, lines * font.height, b"".join(rows)


_FEW = 256
_WHITE = frozenset({7, 15})


def _dots(font: Font, slot: int) -> tuple[list[bytes], list[bytes]]:
    """A glyph in black on white, and in white on black."""
    rows = [f"{row:0{font.width}b}".encode() for row in font.glyph(slot)]
    black, white = bytes.maketrans(b"01", b"\xff\0"), bytes.maketrans(b"01", b"\0\xff")
    return [row.translate(black) for row in rows], [row.translate(white) for row in rows]
