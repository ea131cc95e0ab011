"""The screen with Kairos' own, larger code: what fits where, and what is said of its photo."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import zxingcpp

from node.canvas import frame
from node.screen import Abilities, Screen, layout, place
from node.texts import Texts, load
from pairing.events import State
from pairing.language import LANGUAGES
from pairing.testing.screens import Terminal, draw
from pairing.testing.tokens import random_token

TOKEN = random_token(random.Random(1))
LARGE = {212: "k" * 212, 252: "k" * 252, 328: "k" * 328}
"""The short form, the longest that stock nodes' users know of it, and the form that is both."""
KAIROS = Screen(
    token=LARGE[212],
    weak=True,
    machine=("tiger", "lemon", "boat"),
    serial="SN-4711",
    addresses=("192.168.1.23",),
)


def shown(screen: Screen, columns: int, rows: int, texts: Texts | None = None) -> Terminal:
    terminal = Terminal(columns, rows)
    terminal.write(frame(layout(screen, columns, rows, Abilities(), texts or load("en")), ()))
    return terminal


def codes(terminal: Terminal) -> list[str]:
    return [code.text for code in zxingcpp.read_barcodes(draw(terminal).convert("L"))]


@pytest.mark.parametrize("size", [(100, 37), (128, 48), (160, 50), (240, 67)])
@pytest.mark.parametrize("length", LARGE)
@pytest.mark.parametrize("wish", LANGUAGES)
def test_kairos_code_fits_the_consoles_of_a_framebuffer(
    size: tuple[int, int], length: int, wish: str
) -> None:
    texts = load(wish)
    terminal = shown(replace(KAIROS, token=LARGE[length]), *size, texts=texts)
    assert codes(terminal) == [LARGE[length]]
    assert terminal.scrolled == 0
    said = " ".join(terminal.text().split())
    assert all(word in said for word in texts.weak.split())
    assert len(texts.weak.split()) <= 8
    assert texts.too_small not in said


@pytest.mark.parametrize("wish", LANGUAGES)
@pytest.mark.parametrize("size", [(80, 24), (80, 25)])
def test_where_kairos_code_does_not_fit_it_is_said_what_to_do(
    size: tuple[int, int], wish: str
) -> None:
    texts = load(wish)
    terminal = shown(KAIROS, *size, texts=texts)
    assert codes(terminal) == []
    lines = [line.strip() for line in terminal.text().splitlines()]
    said = " ".join(lines)
    assert texts.too_small in said
    assert texts.use_larger in said
    assert texts.states[State.WAITING] not in said, "there is nothing to be photographed"
    assert texts.weak in said
    assert LARGE[212] in "".join(lines)


@pytest.mark.parametrize("size", [(80, 24), (80, 25), (41, 21)])
def test_where_both_do_not_fit_our_own_code_is_shown(size: tuple[int, int]) -> None:
    screen = replace(KAIROS, token=LARGE[328], smaller=TOKEN)
    assert codes(shown(screen, *size)) == [TOKEN]
    assert codes(shown(screen, 100, 37)) == [LARGE[328]]


def test_our_own_code_keeps_its_correction_level() -> None:
    """Only Kairos' code is drawn with less, and only where it would not fit otherwise."""
    size = (60, 32)
    assert place(LARGE[212], *size, half_blocks=True) is None
    assert codes(shown(replace(KAIROS, weak=False), *size)) == []
    assert codes(shown(KAIROS, 61, 31)) == [LARGE[212]]


@pytest.mark.parametrize("size", [(100, 37), (128, 48), (80, 50), (80, 25)])
@pytest.mark.parametrize("wish", LANGUAGES)
def test_what_was_not_installed_is_shown_beside_the_new_code(
    size: tuple[int, int], wish: str
) -> None:
    texts = load(wish)
    told = replace(KAIROS, tried=True, code="E680", detail="No encryption.")
    text = " ".join(shown(told, *size, texts=texts).text().split())
    assert "E680" in text
    assert "No encryption." in text
    assert all(word in text for word in texts.tried.split())
    assert texts.tried not in " ".join(shown(KAIROS, *size, texts=texts).text().split())
