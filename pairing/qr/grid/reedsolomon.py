"""Reed-Solomon over GF(256) as QR codes use it: errors, and erasures where symbols are known lost.

Field polynomial 0x11d, generator roots 2^0 .. 2^(parity - 1) (ISO/IEC 18004, 7.5). A word is the
block's data and parity, data first. Every pattern with 2 * errors + erasures <= parity is mended.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
_POLYNOMIAL = 0x11D
_NOUGHT = 512
"""Stands for the logarithm of 0: every sum with it lies beyond the powers in `_POWER`."""


def _powers() -> tuple[list[int], list[int]]:
    power, value = [0] * (2 * _NOUGHT + 1), 1
    logarithm = [_NOUGHT] * 256
    for exponent in range(255):
        power[exponent] = power[exponent + 255] = value
        logarithm[value] = exponent
        value = value << 1 ^ (_POLYNOMIAL if value & 0x80 else 0)
    return power, logarithm


_POWER, _LOG = _powers()
_POWERS, _LOGS = np.array(_POWER, dtype=np.uint8), np.array(_LOG, dtype=np.int64)


def _times(a: int, b: int) -> int:
    return _POWER[_LOG[a] + _LOG[b]]


@functools.lru_cache(maxsize=64)
def _exponents(length: int, parity: int) -> NDArray[np.int64]:
    """(parity, length): logarithm of root j to the power of a symbol's place."""
    return np.outer(np.arange(parity), np.arange(length - 1, -1, -1)) % 255


def syndromes(words: Bytes, parity: int) -> Bytes:
    """(k, parity) for (k, length) words: all 0 where a word is right."""
    logs = _LOGS[words][:, None, :] + _exponents(words.shape[1], parity)
    result: Bytes = np.bitwise_xor.reduce(_POWERS[logs], axis=2)
    return result


def mended(word: Bytes, signs: Bytes, erasures: Sequence[int] = ()) -> Bytes | None:
    """The word without its errors; None if there are more than can be mended.

    `signs`: its row of `syndromes`; `erasures`: indexes of symbols that may hold anything.
    """
    if not signs.any():
        return word
    length, parity = len(word), len(signs)
    if len(erasures) > parity:
        return None
    checks = signs.tolist()
    locator = _locator(checks, [length - 1 - index for index in erasures])
    if locator is None:
        return None
    places = _roots(locator, length)
    if len(places) != len(locator) - 1:
        return None
    result = word.copy()
    for place, change in zip(places, _changes(checks, locator, places), strict=True):
        result[length - 1 - place] ^= change
    return None if syndromes(result[None], parity).any() else result


def _locator(checks: list[int], lost: list[int]) -> list[int] | None:
    """Berlekamp and Massey's polynomial whose roots tell the wrong places, from the erasures' own.

    None if it needs more errors than the parity that the erasures leave can tell.
    """
    here = [1]
    for place in lost:
        here = _plus_shifted(here, here, _POWER[place])
    before, length = here, len(lost)
    for step in range(len(lost), len(checks)):
        gap = 0
        for index, factor in enumerate(here[: step + 1]):
            gap ^= _POWER[_LOG[factor] + _LOG[checks[step - index]]]
        if gap == 0:
            before = [0, *before]
        elif 2 * length <= step + len(lost):
            longer = _plus_shifted(here, before, gap)
            inverse = _POWER[255 - _LOG[gap]]
            before, here = [_times(inverse, factor) for factor in here], longer
            length = step + 1 + len(lost) - length
        else:
            here = _plus_shifted(here, before, gap)
            before = [0, *before]
    while here[-1] == 0:
        here.pop()
    enough = len(here) - 1 == length and 2 * length - len(lost) <= len(checks)
    return here if enough else None


def _plus_shifted(polynomial: list[int], other: list[int], factor: int) -> list[int]:
    """polynomial + factor * x * other, lowest power first."""
    result = polynomial + [0] * (len(other) + 1 - len(polynomial))
    logarithm = _LOG[factor]
    for index, value in enumerate(other, start=1):
        result[index] ^= _POWER[_LOG[value] + logarithm]
    return result


def _roots(locator: list[int], length: int) -> list[int]:
    """The places (0 = the last symbol) whose inverse root solves the locator."""
    logs = _LOGS[np.array(locator)][:, None] + _inverses(len(locator), length)
    sums = np.bitwise_xor.reduce(_POWERS[logs], axis=0)
    return [int(place) for place in np.flatnonzero(sums == 0)]


@functools.lru_cache(maxsize=256)
def _inverses(terms: int, length: int) -> NDArray[np.int64]:
    return np.outer(np.arange(terms), -np.arange(length)) % 255


def _changes(checks: list[int], locator: list[int], places: list[int]) -> list[int]:
    """Forney's: what was added to the symbol at each place."""
    terms = len(locator) - 1
    evaluator = [0] * terms
    for i, factor in enumerate(locator[:terms]):
        for j in range(terms - i):
            evaluator[i + j] ^= _times(factor, checks[j])
    changes = []
    for place in places:
        inverse = 255 - place
        above = below = 0
        for index, value in enumerate(evaluator):
            above ^= _POWER[_LOG[value] + index * inverse % 255]
        for index in range(1, terms + 1, 2):
            below ^= _POWER[_LOG[locator[index]] + (index - 1) * inverse % 255]
        changes.append(_times(_times(above, _POWER[255 - _LOG[below]]), _POWER[place]))
    return changes
