"""Mending words: whatever the parity allows, and nothing beyond."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qrcode.base import Polynomial, gexp

from pairing.qr.grid import reedsolomon
from pairing.qr.grid.reedsolomon import Bytes, syndromes

SHAPES = ((26, 7), (44, 18), (67, 24), (43, 26), (153, 30), (26, 17))


def word_of(chance: random.Random, length: int, parity: int) -> Bytes:
    """Random data and its parity, reckoned by the `qrcode` package."""
    generator = Polynomial([1], 0)
    for root in range(parity):
        generator = generator * Polynomial([1, gexp(root)], 0)
    data = [chance.randrange(256) for _ in range(length - parity)]
    rest = list(Polynomial([1, *data], parity) % generator)
    # The leading 1 keeps the package from dropping leading zeros; its share is taken out again.
    first = list(Polynomial([1, *[0] * len(data)], parity) % generator)
    right = [0] * (parity - len(rest)) + rest
    ones = [0] * (parity - len(first)) + first
    return np.array(data + [a ^ b for a, b in zip(right, ones, strict=True)], dtype=np.uint8)


def mended(word: Bytes, parity: int, erasures: list[int]) -> Bytes | None:
    return reedsolomon.mended(word, syndromes(word[None], parity)[0], erasures)


def spoiled(chance: random.Random, word: Bytes, places: list[int]) -> Bytes:
    worse = word.copy()
    for place in places:
        worse[place] ^= chance.randrange(1, 256)
    return worse


@given(st.sampled_from(SHAPES), st.integers(0, 2**32), st.data())
def test_all_errors_and_erasures_within_the_parity_are_mended(
    shape: tuple[int, int], seed: int, data: st.DataObject
) -> None:
    length, parity = shape
    chance = random.Random(seed)
    word = word_of(chance, length, parity)
    erased = data.draw(st.integers(0, parity))
    errors = data.draw(st.integers(0, (parity - erased) // 2))
    places = chance.sample(range(length), erased + errors)
    # An erased symbol may by chance be right.
    wrong = places[: chance.randrange(erased + 1)] + places[erased:]
    found = mended(spoiled(chance, word, wrong), parity, places[:erased])
    assert found is not None
    assert found.tolist() == word.tolist()


@given(st.sampled_from(SHAPES), st.integers(0, 2**32))
def test_what_is_mended_is_a_word_and_near(shape: tuple[int, int], seed: int) -> None:
    length, parity = shape
    chance = random.Random(seed)
    places = chance.sample(range(length), min(length, parity))
    worse = spoiled(chance, word_of(chance, length, parity), places)
    found = mended(worse, parity, [])
    if found is not None:
        assert not syndromes(found[None], parity).any()
        assert (found != worse).sum() <= parity // 2


@pytest.mark.parametrize(("length", "parity"), [(44, 18), (67, 24), (43, 26), (153, 30)])
def test_garbage_is_refused(length: int, parity: int) -> None:
    chance = np.random.default_rng(length)
    words = chance.integers(0, 256, (300, length), dtype=np.uint8)
    lost = parity - 12
    for word in words:
        assert mended(word, parity, []) is None
        assert mended(word, parity, chance.permutation(length)[:lost].tolist()) is None


def test_garbage_passes_once_all_parity_is_spent_on_erasures() -> None:
    """Why there is a limit: with every check spent, any bytes are mended to some word."""
    word = np.arange(44, dtype=np.uint8)
    assert mended(word, 18, list(range(18))) is not None
    assert mended(word, 18, list(range(6))) is None


def test_more_erasures_than_parity_are_refused() -> None:
    assert mended(np.arange(44, dtype=np.uint8), 18, list(range(19))) is None


def test_a_right_word_stays() -> None:
    word = word_of(random.Random(1), 44, 18)
    assert mended(word, 18, [0, 1]) is word
