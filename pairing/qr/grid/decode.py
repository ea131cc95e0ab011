"""From soft bits to the codewords of a code, and from those to its text.

Luck is kept out: a code counts only if every block keeps enough parity beyond what was erased.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pairing.qr.grid import reedsolomon
from pairing.qr.grid.layout import (
    Block,
    Bool,
    Float,
    Format,
    Level,
    blocks,
    codewords_of,
    formats,
    layout,
    mask_bits,
    modules_of,
)
from pairing.qr.grid.softbits import SoftBits, learned_from

LIMIT = 64
"""Results of Reed-Solomon put to the final check, a photo."""
FORMATS_TRIED = 2
CLEAR_FORMAT = 0.4
"""Correlation with a format word, of what a perfect one has."""
FEEDBACK = 3
"""How often solved blocks teach the equaliser."""
SPARE_IN_BLOCK, SPARE_IN_CODE = 4, 12
"""Parity symbols not spent on erasures: in each block, and over all."""

CLEAR_SPARE = 8
"""A block that keeps as much is mended wrongly once in 5,000 times, at 4 once in 30: then the
erased symbols must agree with what was seen of them."""
AGREEMENT = 3.5
"""By how many standard deviations of chance."""

Bytes = NDArray[np.uint8]


@dataclass(slots=True)
class Tries:
    """Counts the codes of one photo that went to the final check (text, token, key)."""

    used: int = 0
    limit: int = LIMIT

    @property
    def left(self) -> bool:
        """Whether another one may be put to it."""
        return self.used < self.limit


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """A code whose every block was mended. `modules` (n, n): True = dark; `mended`: the share of
    codewords that were wrong."""

    version: int
    level: Level
    mask: int
    codewords: tuple[int, ...] = field(repr=False)
    modules: Bool = field(repr=False)
    mended: float


def spare(block_count: int) -> int:
    """Parity symbols that erasing must leave to each block: issue 6's limit against luck."""
    return max(SPARE_IN_BLOCK, math.ceil(SPARE_IN_CODE / block_count))


def decode(soft: SoftBits, tries: Tries) -> Corrected | None:
    """The code, if Reed-Solomon mends all its blocks; None otherwise or when no try is left."""
    if not tries.left:
        return None
    for word in ranked_formats(soft):
        if found := _decode_as(soft, word):
            tries.used += 1
            return found
    return None


def ranked_formats(soft: SoftBits) -> tuple[Format, ...]:
    """The format words that fit both copies best, at most two, none that hardly fits."""
    cells = layout(soft.version).format_cells
    seen = soft.values[cells[..., 0], cells[..., 1]]
    total = seen.sum(axis=0)
    words = formats()
    signs = np.array([word.bits for word in words]) * 2.0 - 1
    scores = signs @ total
    perfect = float(np.abs(seen).sum()) + 1e-6
    best = np.argsort(-scores)[:FORMATS_TRIED]
    return tuple(words[i] for i in best if scores[i] / perfect >= CLEAR_FORMAT)


def _decode_as(soft: SoftBits, word: Format) -> Corrected | None:
    shares = blocks(soft.version, word.level)
    if any(share.parity < spare(len(shares)) for share in shares):
        return None
    solved: dict[int, Bytes] = {}
    wrong = 0
    for _ in range(FEEDBACK + 1):
        before = len(solved)
        received, trust, bits = read_codewords(soft, word.mask)
        for number, share in enumerate(shares):
            if number not in solved:
                at = share.places
                found = _mended(received[at], trust[at], bits[at], share, len(shares))
                if found is not None:
                    solved[number] = found
                    wrong += int((found != received[share.places]).sum())
        if len(solved) == len(shares):
            return _whole(soft, word, shares, solved, wrong)
        if len(solved) == before or not soft.teachable:
            return None
        soft = learned_from(soft, _taught(soft, word, shares, solved))
    return None


def read_codewords(soft: SoftBits, mask: int) -> tuple[Bytes, Float, Float]:
    """The codewords as decided; how far each can be trusted: by its weakest bit and a little by
    the one after; and (k, 8) their soft bits, from -1 for 0 to +1 for 1."""
    rows, columns = layout(soft.version).order.T
    values = soft.values[rows, columns]
    inverted = mask_bits(soft.version, mask)
    received = codewords_of((values > 0) ^ inverted)
    bits = np.where(inverted, -values, values)[: 8 * len(received)].reshape(-1, 8)
    weakest = np.partition(np.abs(bits), 1, axis=1)
    trust: Float = weakest[:, 0] + np.float32(0.25) * weakest[:, 1]
    return received, trust, bits


def _mended(
    received: Bytes, trust: Float, bits: Float, share: Block, block_count: int
) -> Bytes | None:
    """Errors only first, then with ever more of the least trusted symbols erased."""
    signs = reedsolomon.syndromes(received[None], share.parity)[0]
    doubtful = np.argsort(trust, kind="stable").tolist()
    for erased in range(0, share.parity - spare(block_count) + 1, 2):
        found = reedsolomon.mended(received, signs, doubtful[:erased])
        if found is None:
            continue
        lost = doubtful[:erased]
        if share.parity - erased >= CLEAR_SPARE or _agree(found[lost], bits[lost]):
            return found
    return None


def _agree(symbols: Bytes, bits: Float) -> bool:
    """Whether mended symbols fit their soft bits better than chance would."""
    signs = np.unpackbits(symbols).astype(np.float32).reshape(-1, 8) * 2 - 1
    spread = float(np.sqrt(np.square(bits).sum()))
    return float((signs * bits).sum()) >= AGREEMENT * spread > 0


def _taught(
    soft: SoftBits, word: Format, shares: tuple[Block, ...], solved: dict[int, Bytes]
) -> Float:
    """(n, n): the modules of the blocks that are solved, and of the format."""
    table = layout(soft.version)
    codewords = np.zeros(sum(share.total for share in shares), dtype=np.uint8)
    certain = np.zeros(len(codewords), dtype=np.bool_)
    for number, data in solved.items():
        codewords[shares[number].places] = data
        certain[shares[number].places] = True
    drawn = modules_of(soft.version, word.level, word.mask, codewords.tolist())
    truth = np.zeros(drawn.shape, dtype=np.float32)
    rows, columns = table.order[: 8 * len(codewords)].T
    sure = np.repeat(certain, 8)
    truth[rows, columns] = np.where(drawn[rows, columns], 1, -1) * sure
    cells = table.format_cells
    truth[cells[..., 0], cells[..., 1]] = np.where(word.bits, 1, -1)
    return truth


def _whole(
    soft: SoftBits,
    word: Format,
    shares: tuple[Block, ...],
    solved: dict[int, Bytes],
    wrong: int,
) -> Corrected:
    codewords = np.zeros(sum(share.total for share in shares), dtype=np.uint8)
    for number, data in solved.items():
        codewords[shares[number].places] = data
    return Corrected(
        version=soft.version,
        level=word.level,
        mask=word.mask,
        codewords=tuple(codewords.tolist()),
        modules=modules_of(soft.version, word.level, word.mask, codewords.tolist()),
        mended=wrong / len(codewords),
    )


def text_of(corrected: Corrected) -> str | None:
    """What the code says, in zxing-cpp's reading of a clean picture of it; None if it is no text
    to it. So character sets are those of every other step."""
    import zxingcpp

    picture = np.pad(np.where(corrected.modules, 0, 255).astype(np.uint8), 4, constant_values=255)
    picture = np.repeat(np.repeat(picture, 3, axis=0), 3, axis=1)
    # QRCodeModel2, narrower, fails on clean pictures (zxing-cpp 3.1.1).
    found = zxingcpp.read_barcode(
        picture,
        formats=zxingcpp.barcode_formats_from_str("QRCode"),
        text_mode=zxingcpp.TextMode.Plain,
        is_pure=True,
    )
    return found.text if found is not None and found.valid else None
