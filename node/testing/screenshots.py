"""Screens of a waiting node as pixels: random tokens on consoles of every size that is common."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from node.canvas import frame
from node.screen import Abilities, Screen, layout
from node.texts import load
from pairing.testing.screens import picture
from pairing.testing.tokens import random_token

if TYPE_CHECKING:
    from PIL import Image

CONSOLES = ((80, 24), (80, 25), (100, 37), (128, 48), (160, 64))
"""Columns and rows; where there is room the code is drawn without block glyphs now and then."""
_WIDE = 100


def screenshot(number: int) -> tuple[str, Image.Image]:
    """A token and the 8-bit gray picture of the console that shows it. Same number, same both."""
    chance = random.Random(f"screenshot/{number}")
    token = random_token(chance, hint=chance.random() < 0.5)
    columns, rows = CONSOLES[number % len(CONSOLES)]
    able = Abilities(half_blocks=columns < _WIDE or rows < 48 or chance.random() < 0.5)
    lines = layout(Screen(token=token), columns, rows, able, load("en"))
    return token, picture(frame(lines, ()), columns, rows).convert("L")
