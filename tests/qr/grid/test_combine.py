"""Photos of one screen: found among others, sent through a pipe, read together."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairing.qr import render
from pairing.qr.grid import combine, layout
from pairing.qr.grid.combine import from_bytes, groups, same_screen, summed, to_bytes
from pairing.qr.grid.decode import Tries, decode, text_of
from pairing.qr.grid.softbits import SoftBits, soft_bits
from pairing.testing.tilted import View, tilted
from pairing.testing.tokens import random_token

VERSIONS = st.integers(1, 20)


def code_of(text: str) -> layout.Bool:
    return np.array(render.modules(text), dtype=np.bool_)


def token(seed: int) -> str:
    return random_token(random.Random(seed))


def seen(text: str, view: View, seed: int) -> SoftBits:
    photo = tilted(code_of(text), view, seed)
    return soft_bits(photo.gray, photo)


def noisy(code: layout.Bool, wrong: float, seed: int) -> SoftBits:
    """Bits flipped with this chance, and surer where they are right."""
    chance = np.random.default_rng(seed)
    sign = np.where(code, 1, -1) * np.where(chance.random(code.shape) < wrong, -1, 1)
    strength = chance.uniform(0.1, 1, code.shape) * np.where(sign == np.where(code, 1, -1), 1, 0.5)
    return SoftBits((len(code) - 17) // 4, (sign * strength).astype(np.float32))


# --- the same screen ----------------------------------------------------------------------------


@given(st.integers(0, 1000), st.integers(1, 1000), st.floats(0, 0.15))
@settings(max_examples=40, deadline=None)
def test_photos_of_one_screen_are_alike_and_of_two_are_not(
    seed: int, apart: int, wrong: float
) -> None:
    one, other = code_of(token(seed)), code_of(token(seed + apart))
    a, b, c = noisy(one, wrong, 1), noisy(one, wrong, 2), noisy(other, wrong, 3)
    assert same_screen(a, b)
    assert same_screen(b, a)
    assert not same_screen(a, c)


def test_codes_of_two_versions_are_never_alike() -> None:
    assert not same_screen(noisy(code_of("A"), 0, 1), noisy(code_of("A" * 80), 0, 2))


def test_blind_photos_are_like_nothing() -> None:
    blind = SoftBits(4, np.zeros((33, 33), dtype=np.float32))
    assert not same_screen(blind, blind)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_each_photo_is_in_the_group_of_its_screen(screens: list[int], seed: int) -> None:
    photos = [
        noisy(code_of(token(screen)), 0.12, seed + number) for number, screen in enumerate(screens)
    ]
    found = groups(photos)
    assert sorted(index for group in found for index in group) == list(range(len(screens)))
    assert {frozenset(group) for group in found} == {
        frozenset(index for index, screen in enumerate(screens) if screen == one)
        for one in set(screens)
    }
    assert [len(group) for group in found] == sorted((len(g) for g in found), reverse=True)


def test_tokens_with_half_their_text_in_common_are_told_apart() -> None:
    """As two tokens of Kairos are."""
    chance = random.Random(3)
    letters = "abcdefghijklmnopqrstuvwxyz"
    texts = [
        "key: ".join("".join(chance.choices(letters, k=5)) for _ in range(6)) for _ in range(8)
    ]
    photos = [noisy(code_of(text), 0.1, number) for number, text in enumerate(texts)]
    assert len(groups(photos)) == len(texts)


# --- together -----------------------------------------------------------------------------------

HARD = View(pitch=4, tilt=30, blur=0.4, shake=0.5, noise=60, glare=0.25)


@pytest.mark.parametrize("first", [0, 40])
def test_three_unreadable_photos_of_one_screen_are_read_together(first: int) -> None:
    text = token(first)
    photos = [seen(text, HARD, first + number) for number in range(12)]
    unread = [photo for photo in photos if decode(photo, Tries()) is None][:3]
    assert len(unread) == 3
    assert groups([*unread, seen(token(99), HARD, 5)])[0] == (0, 1, 2)
    found = decode(summed(unread), Tries())
    assert found is not None
    assert text_of(found) == text


def test_a_sum_is_surer_than_its_parts() -> None:
    text = token(7)
    code = code_of(text)
    photos = [seen(text, HARD, number) for number in range(4)]
    together = summed(photos)
    data = layout.layout(together.version).data

    def wrong(soft: SoftBits) -> float:
        return float(((soft.values > 0) != code)[data].mean())

    assert wrong(together) < min(wrong(photo) for photo in photos)


def test_two_screens_are_not_mixed_into_a_text() -> None:
    photos = [seen(token(number), HARD, number) for number in range(4)]
    assert decode(summed(photos), Tries()) is None


@pytest.mark.parametrize("versions", [(), (3, 4)])
def test_only_photos_of_one_version_can_be_summed(versions: tuple[int, ...]) -> None:
    photos = [SoftBits(v, np.zeros((17 + 4 * v,) * 2, dtype=np.float32)) for v in versions]
    with pytest.raises(ValueError, match="only photos of one code"):
        summed(photos)


# --- through the pipe ---------------------------------------------------------------------------


def test_a_photo_comes_out_of_the_pipe_as_it_went_in() -> None:
    photo = seen(token(1), HARD, 1)
    again = from_bytes(to_bytes(photo))
    assert again.version == photo.version
    assert again.glare == pytest.approx(photo.glare, abs=1e-6)
    assert again.glare_at == pytest.approx(photo.glare_at, abs=1e-3)
    assert np.abs(again.values - photo.values).max() < 1 / 200
    assert again.samples is not None
    assert photo.samples is not None
    assert np.abs(again.samples.light - photo.samples.light).max() <= 0.5
    assert np.abs(again.samples.confidence - photo.samples.confidence).max() < 1 / 200
    assert len(to_bytes(photo)) < 10_000


@given(VERSIONS, st.integers(0, 1000))
def test_bits_without_samples_too(version: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    values = chance.uniform(-1, 1, (17 + 4 * version,) * 2).astype(np.float32)
    again = from_bytes(to_bytes(SoftBits(version, values)))
    assert (again.version, again.samples, again.glare_at) == (version, None, None)
    assert np.abs(again.values - values).max() < 1 / 200


@given(st.binary(max_size=2000))
def test_other_bytes_are_refused_or_are_soft_bits(data: bytes) -> None:
    try:
        found = from_bytes(data)
    except ValueError:
        return
    assert found.values.shape == (17 + 4 * found.version,) * 2
    assert (np.abs(found.values) <= 1).all()


def test_a_cut_or_lengthened_photo_is_refused() -> None:
    data = to_bytes(noisy(code_of("A"), 0, 1))
    for wrong in (b"", data[:-1], data + b"\0", b"\x29" + data[1:]):
        with pytest.raises(ValueError, match="soft bits"):
            from_bytes(wrong)
    assert combine.from_bytes(data).version == 1
