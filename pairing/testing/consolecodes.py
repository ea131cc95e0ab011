"""The codes whose photos were compared when the decoders were chosen, each on its screen.

All cover about the same part of the screen: a small code has large modules. Same name and seed:
same screen.
"""

from __future__ import annotations

import functools
import random
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pairing.edgevpn import nettoken
from pairing.testing.photos import Area
from pairing.testing.screens import picture

if TYPE_CHECKING:
    from PIL import Image

Level = Literal["L", "M", "Q", "H"]
_SHARE = 0.78
"""Of the screen's height, for the codes that are not made of characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleCode:
    """A kind of code and how a console shows it.

    `size`: bytes of random text, 0 for a network token of Kairos. `screen`: columns and rows;
    `cell`: width of a character, and the heights of its upper and lower half block in pixels, or
    None where the code is drawn on the framebuffer. `quiet` in modules.
    """

    name: str
    version: int
    level: Level
    size: int = 0
    screen: tuple[int, int] = (128, 48)
    cell: tuple[int, int, int] | None = None
    quiet: int = 4
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """A screen with a code: the picture, where in it the code is, and its text."""

    picture: Image.Image
    area: Area
    text: str = field(repr=False)


_VGA, _VGA_CELL = (80, 25), (9, 8, 8)
CODES = (
    ConsoleCode(name="v3-M", version=3, level="M", size=42),
    ConsoleCode(name="v5-L", version=5, level="L", size=84),
    ConsoleCode(name="v5-M", version=5, level="M", size=84),
    ConsoleCode(name="v7-Q", version=7, level="Q", size=84),
    ConsoleCode(name="v8-H", version=8, level="H", size=84),
    ConsoleCode(name="v10-M", version=10, level="M", size=213),
    ConsoleCode(name="v14-M", version=14, level="M", size=362),
    ConsoleCode(name="Kairos v16-L", version=16, level="L"),
    ConsoleCode(name="Kairos v18-M", version=18, level="M"),
    ConsoleCode(name="Kairos v18-M, text", version=18, level="M", screen=(160, 64), cell=(8, 7, 9)),
    ConsoleCode(name="v5-M, text", version=5, level="M", size=84, screen=_VGA, cell=_VGA_CELL),
    ConsoleCode(
        name="v5-M, text, light on dark",
        version=5,
        level="M",
        size=84,
        screen=_VGA,
        cell=_VGA_CELL,
        inverted=True,
    ),
    ConsoleCode(
        name="v5-M, text, quiet zone 1",
        version=5,
        level="M",
        size=84,
        screen=_VGA,
        cell=_VGA_CELL,
        quiet=1,
    ),
)
"""Thirteen: eight photos of each are the 104 that a severity is calibrated with."""


def show(code: ConsoleCode, seed: int = 0, text: str = "") -> Shown:
    """A screen that shows `code` with `text`, or with a random text of the code's size."""
    chance = random.Random(f"{code.name}/{seed}")
    text = text or _text(code, chance)
    image = picture(_log(code, chance), *code.screen)
    bitmap = _bitmap(code, text, image)
    left = 2 * (code.cell or (8, 0, 0))[0]
    top = (image.height - bitmap.height) // 2 // 16 * 16 if code.cell is None else 0
    image.paste(bitmap, (left, top))
    area = (left, top, left + bitmap.width, top + bitmap.height)
    if code.screen == _VGA:  # 720 x 400 pixels fill a screen of 4 to 3
        return _stretched(image, area, text)
    return Shown(image, area, text)


def _stretched(image: Image.Image, area: Area, text: str) -> Shown:
    from PIL import Image

    wide, high = 1024, 768
    across, down = wide / image.width, high / image.height
    left, top, right, bottom = area
    return Shown(
        image.resize((wide, high), Image.Resampling.BILINEAR),
        (left * across, top * down, right * across, bottom * down),
        text,
    )


def _text(code: ConsoleCode, chance: random.Random) -> str:
    if code.size:
        return "".join(chance.choices(string.ascii_letters + string.digits, k=code.size))
    return network_token(chance)


def network_token(chance: random.Random) -> str:
    """What a node of Kairos shows: 548 characters."""
    return nettoken.to_full_text(nettoken.fresh(chance.randbytes, full=True))


def _log(code: ConsoleCode, chance: random.Random) -> str:
    """What the system wrote while it started; the code is drawn over it."""
    words = ("kernel", "systemd[1]", "sshd", "agent", "udevd")
    lines = []
    for number in range(code.screen[1] - 1):
        said = "".join(chance.choices(string.ascii_lowercase + "  ", k=chance.randint(8, 40)))
        lines.append(f"[{number * 0.73 + 4:12.6f}] {chance.choice(words)}: {said}")
    return "\r\n".join(lines)


def _bitmap(code: ConsoleCode, text: str, screen: Image.Image) -> Image.Image:
    """The code in the pixels of the screen."""
    import numpy as np
    from PIL import Image

    dark = np.pad(np.array(_modules(code.version, code.level, text), dtype=bool), code.quiet)
    if code.cell is None:
        scale = int(screen.height * _SHARE) // len(dark)
        wide, high = np.full(len(dark), scale), np.full(len(dark), scale)
    else:
        dark = np.pad(dark, ((0, len(dark) % 2), (0, 0)))
        wide, high = np.full(dark.shape[1], code.cell[0]), np.resize(code.cell[1:], len(dark))
    light = np.repeat(np.repeat(dark == code.inverted, high, axis=0), wide, axis=1)
    return Image.fromarray(light.astype(np.uint8) * np.uint8(255)).convert("RGB")


@functools.lru_cache(maxsize=32)
def _modules(version: int, level: Level, text: str) -> Any:
    import qrcode

    levels = dict(zip("LMQH", (1, 0, 3, 2), strict=True))
    code = qrcode.QRCode(version=version, error_correction=levels[level], border=0)
    code.add_data(text.encode(), optimize=0)
    code.make(fit=False)
    return code.modules
