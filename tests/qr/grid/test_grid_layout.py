"""The tables of every version, held against codes that the `qrcode` package draws."""

from __future__ import annotations

import numpy as np
import pytest
import qrcode
from qrcode import base, constants, util

from pairing.qr.grid import layout

LEVELS: dict[layout.Level, int] = {
    "L": constants.ERROR_CORRECT_L,
    "M": constants.ERROR_CORRECT_M,
    "Q": constants.ERROR_CORRECT_Q,
    "H": constants.ERROR_CORRECT_H,
}


def drawn(version: int, level: layout.Level, mask: int, text: str) -> layout.Bool:
    code = qrcode.QRCode(version, LEVELS[level], border=0, mask_pattern=mask)
    code.add_data(text, optimize=0)
    code.make(fit=False)
    return np.array(code.modules, dtype=np.bool_)


@pytest.mark.parametrize("version", layout.VERSIONS)
def test_a_drawn_code_is_built_again_from_its_codewords(version: int) -> None:
    level = layout.LEVELS[version % 4]
    mask = version % 8
    code = drawn(version, level, mask, f"version {version}")
    table = layout.layout(version)
    assert code.shape == table.known.shape
    assert (code[table.known > 0]).all()
    assert not (code[table.known < 0]).any()
    rows, columns = table.order.T
    words = layout.codewords_of(code[rows, columns] ^ layout.mask_bits(version, mask))
    expected = util.create_data(version, LEVELS[level], [util.QRData(f"version {version}")])
    assert words.tolist() == list(expected)
    assert (layout.modules_of(version, level, mask, words.tolist()) == code).all()


@pytest.mark.parametrize("mask", layout.MASKS)
@pytest.mark.parametrize("level", layout.LEVELS)
def test_both_copies_of_the_format_say_level_and_mask(level: layout.Level, mask: int) -> None:
    code = drawn(2, level, mask, "?")
    word = next(f for f in layout.formats() if (f.level, f.mask) == (level, mask))
    for cells in layout.layout(2).format_cells:
        assert (code[cells[:, 0], cells[:, 1]] == word.bits).all()


@pytest.mark.parametrize("level", layout.LEVELS)
@pytest.mark.parametrize("version", layout.VERSIONS)
def test_the_blocks_share_out_every_codeword_once(version: int, level: layout.Level) -> None:
    shares = layout.blocks(version, level)
    everywhere = np.concatenate([share.places for share in shares])
    words = len(layout.layout(version).order) // 8
    assert sorted(everywhere.tolist()) == list(range(words))
    assert [share.total for share in shares] == [len(share.places) for share in shares]
    assert sum(share.parity for share in shares) == words - sum(
        shape.data_count for shape in base.rs_blocks(version, LEVELS[level])
    )


def test_format_words_differ_in_at_least_seven_bits() -> None:
    words = [word.bits for word in layout.formats()]
    apart = [(a != b).sum() for i, a in enumerate(words) for b in words[:i]]
    assert min(apart) == 7


@pytest.mark.parametrize("version", [0, 41, -1])
def test_no_other_version_has_a_layout(version: int) -> None:
    with pytest.raises(ValueError, match="no QR code has version"):
        layout.layout(version)


def test_tables_cannot_be_changed_by_a_reader() -> None:
    with pytest.raises(ValueError, match="read-only"):
        layout.known(3)[0, 0] = 0
