"""Half blocks by their bitmaps: fonts as they are found, and ours put into them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.consolefont import TILES, VITAL, Font, shows_blocks, with_blocks
from node.testing.virtualconsole import LETTER, font
from pairing.qr.render import HALF_BLOCKS


@pytest.mark.parametrize(
    ("found", "right"),
    [
        (font(), True),
        (font(upper=range(7), lower=range(7, 16)), True),  # default8x16, eurlatgr
        (font(upper=range(7), lower=range(8, 16)), True),  # FullGreek-VGA16: a line apart
        (font(slots=(0x1C6, 0x1C7, 0xDB), count=512), True),  # FullGreek-VGA16
        (font(upper=range(16), lower=range(16)), False),  # LatGrkCyr-8x16: full blocks
        (font(slots=(0xDB, 0xDB, 0xDB), upper=range(16)), False),  # the same by its map
        (font(slots=(0xDF, 0xDC)), False),  # no full block; Lat15-Fixed16 has only that
        (font(slots=(0x80, 0x81, 0xDB)), False),  # gaps in VGA text, which is nine dots wide
        (font(upper=range(4), lower=range(4, 16)), False),
        (font(upper=range(8, 16), lower=range(8)), False),  # upside down
        (font(full=range(1, 16)), False),
        (font(slots=(0xDF, 0xDC, 0x1DB)), False),  # a slot that the font does not have
    ],
)
def test_blocks_are_judged_by_their_pixels(found: tuple[Font, dict[str, int]], right: bool) -> None:
    assert shows_blocks(*found) is right


def test_a_block_with_a_hole_is_none() -> None:
    made, glyph_map = font()
    start = 0xDB * 32
    data = made.data[: start + 5] + b"\xfe" + made.data[start + 6 :]
    assert not shows_blocks(Font(8, 16, 256, 32, data), glyph_map)


def test_only_the_drawn_width_counts() -> None:
    """A font of 12 pixels has four bits of a row that are never shown."""
    wide = Font(12, 24, 256, 32, bytes(64 * 256))
    glyph_map = dict(zip(HALF_BLOCKS, (0xDF, 0xDC, 0xDB), strict=True))
    assert not shows_blocks(wide, glyph_map)
    assert shows_blocks(*with_blocks(wide, glyph_map))
    assert wide.with_glyph(0xDB, range(24)).glyph(0xDB) == (0xFFF,) * 24


fonts = st.builds(
    font,
    upper=st.sampled_from([range(8), range(16), range(1, 3)]),
    slots=st.lists(st.integers(0x20, 0xFF), unique=True, max_size=3),
    count=st.sampled_from([256, 512]),
)


@given(fonts)
def test_ours_are_right_and_the_rest_is_kept(found: tuple[Font, dict[str, int]]) -> None:
    before, glyph_map = found
    after, changed = with_blocks(before, glyph_map)
    assert shows_blocks(after, changed)
    taken = {changed[block] for block in HALF_BLOCKS}
    assert taken <= set(TILES)
    for slot in set(range(before.count)) - taken:
        assert after.glyph(slot) == before.glyph(slot)
    assert len(after.data) == len(before.data)
    lost = set(glyph_map) - set(changed)
    assert not lost & VITAL, "CP437 has box drawing in all of these slots"
    assert all(changed[c] == glyph_map[c] for c in set(changed) - set(HALF_BLOCKS))


def test_what_texts_need_is_taken_last() -> None:
    """Lat15-Fixed16 has letters in most of the slots: they stay, while there are others."""
    made, glyph_map = font(slots=())
    letters = "ÒÓÔÕ×ØÙÚÛÞãðõøýþ"
    lettered = {c: slot for c, slot in glyph_map.items() if slot not in TILES}
    lettered |= dict(zip(letters, range(0xC6, 0xD6), strict=True))
    _, changed = with_blocks(made, lettered)
    assert set(letters) <= set(changed)


def test_a_glyph_is_read_as_it_lies() -> None:
    made, glyph_map = font()
    rows = made.glyph(glyph_map["A"])
    assert [row for row, ink in enumerate(rows) if ink] == list(LETTER)
    assert made.glyph(256) == ()
