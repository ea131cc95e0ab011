"""Pictures that show no token of ours, and come as near to it as can be. Seeded.

Every kind can also be drawn with a valid token in place of the damaged one: what is read then
shows that nothing is refused for the wrong reason.
"""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pairing import base45, peertoken
from pairing.qr import render
from pairing.testing import photoset
from pairing.testing.consolecodes import ConsoleCode, show
from pairing.testing.photos import photograph
from pairing.testing.tokens import random_token
from pairing.tokenbytes import CHECK_SIZE

if TYPE_CHECKING:
    from PIL import Image

_BARCODES = {
    "Code128": "EP1:ABC-123",
    "EAN13": "4006381333931",
    "DataMatrix": "",
    "Aztec": "",
    "PDF417": "",
    "MicroQRCode": "EP1:1234",
}
"""Symbologies and what they hold; nothing means a valid token."""
_WITH_TOKENS = ("simulated", "qemu-console")
_CONSOLE_EVERY = 50
FOREIGN = (
    "https://example.org/menu",
    "WIFI:T:WPA;S=shop;P:secret;;",
    "BEGIN:VCARD\nFN:Someone\nEND:VCARD",
    "EP1",
    "EP1:",
    "EP2:6BF5",
    "KP1:ABCDEF",
)


@dataclass(frozen=True, slots=True)
class Stranger:
    """A picture, PNG or JPEG, and of what kind it is."""

    kind: str
    data: bytes = field(repr=False)


def stranger(number: int) -> Stranger:
    """Picture `number`. Of ten one has wrong check bytes and one flipped ones; of fifty one is a
    photo of a console with such a token.
    """
    chance = random.Random(f"stranger/{number}")
    if number % _CONSOLE_EVERY == _CONSOLE_EVERY - 2:  # in place of a texture
        return Stranger("console", _console(chance))
    kind, draw = _KINDS[number % len(_KINDS)]
    return Stranger(kind, draw(chance))


def acquaintance(number: int) -> tuple[str, bytes]:
    """The control: a valid token's text, and its picture drawn as the damaged ones are."""
    chance = random.Random(f"acquaintance/{number}")
    text = random_token(chance, hint=number % 2 == 0)
    return text, _drawn(text, chance)


def damaged(chance: random.Random) -> str:
    """A token of either damage."""
    return chance.choice((wrong_check, flipped))(chance)


def wrong_check(chance: random.Random) -> str:
    """A token whose check bytes are those of another."""
    data = _bytes_of_token(chance)
    check = int.from_bytes(data[-CHECK_SIZE:], "big") ^ chance.randrange(1, 1 << 16)
    return _text(data[:-CHECK_SIZE] + check.to_bytes(CHECK_SIZE, "big"))


def flipped(chance: random.Random) -> str:
    """A token with one to three bytes changed, encoded again, its check bytes no longer right."""
    while True:
        data = bytearray(_bytes_of_token(chance))
        for place in chance.sample(range(len(data)), chance.randint(1, 3)):
            data[place] ^= chance.randrange(1, 256)
        body, check = data[:-CHECK_SIZE], data[-CHECK_SIZE:]
        if hashlib.sha256(body).digest()[:CHECK_SIZE] != check:
            return _text(bytes(data))


def _bytes_of_token(chance: random.Random) -> bytes:
    return base45.decode(random_token(chance, hint=chance.random() < 0.5)[len(peertoken.PREFIX) :])


def _text(data: bytes) -> str:
    return peertoken.PREFIX + base45.encode(data)


def _foreign(chance: random.Random) -> bytes:
    """A good code of somebody else, or text that begins like a token."""
    text = chance.choice(FOREIGN)
    if chance.random() < 0.5:
        text += "".join(chance.choices(base45.ALPHABET, k=chance.randint(1, 90)))
    return _drawn(text, chance)


def _barcode(chance: random.Random) -> bytes:
    """Another symbology; some hold a valid token, which counts in a QR code only."""
    import numpy as np
    import zxingcpp
    from PIL import Image

    name = chance.choice(tuple(_BARCODES))
    text = _BARCODES[name] or random_token(chance)
    made = zxingcpp.create_barcode(text, zxingcpp.barcode_format_from_str(name))
    bars = np.pad(np.array(made.to_image(scale=chance.randint(2, 4))), 12, constant_values=255)
    return _png(Image.fromarray(bars))


def _texture(chance: random.Random) -> bytes:
    """Noise, squares or blots."""
    import numpy as np
    from PIL import Image, ImageFilter

    cells, side = chance.randint(8, 60), chance.randint(60, 240)
    bits = np.frombuffer(chance.randbytes(cells * cells), dtype=np.uint8) & 1
    grid = (bits * chance.randint(80, 255)).astype(np.uint8).reshape(cells, cells)
    image = Image.fromarray(grid).resize((side, side), Image.Resampling(chance.randint(0, 2)))
    return _png(image.filter(ImageFilter.GaussianBlur(chance.choice((0, 0, 0.7, 2)))))


def _garbage(chance: random.Random) -> bytes:
    """The frame and format of a valid token's code, with random modules where its text was."""
    import numpy as np

    from pairing.qr.grid.layout import layout

    code = np.array(render.modules(random_token(chance)), dtype=bool)
    places = layout((len(code) - 17) // 4).data
    noise = np.frombuffer(chance.randbytes(code.size), dtype=np.uint8).reshape(code.shape)
    code[places] = noise[places] & 1 == 1
    return _pixels(tuple(tuple(row) for row in code.tolist()), chance)


def _piece(chance: random.Random) -> bytes:
    """A piece of a photo, turned: with a code of somebody else in it, or a part of one."""
    from PIL import Image

    photo = chance.choice([at for at in photoset.load() if at.group not in _WITH_TOKENS])
    with Image.open(photo.path) as image:
        gray = image.convert("L")
    wide, high = (round(side * chance.uniform(0.4, 1)) for side in gray.size)
    left, top = chance.randint(0, gray.width - wide), chance.randint(0, gray.height - high)
    cut = gray.crop((left, top, left + wide, top + high))
    cut.thumbnail((320, 320))
    return _png(cut.rotate(90 * chance.randrange(4), expand=True))


def _console(chance: random.Random) -> bytes:
    """A photo of a console whose token is damaged."""
    code = ConsoleCode(name="damaged", version=5, level="M")
    seed = chance.randrange(2**32)
    shown = show(code, seed, damaged(chance))
    return photograph(shown.picture, chance.randint(1, 5), seed, shown.area)


def _damaged_code(damage: Callable[[random.Random], str]) -> Callable[[random.Random], bytes]:
    return lambda chance: _drawn(damage(chance), chance)


def _drawn(text: str, chance: random.Random) -> bytes:
    return _pixels(render.modules(text), chance)


def _pixels(code: render.Modules, chance: random.Random) -> bytes:
    """A clean code of two to five pixels a module, now and then turned or a little out of focus."""
    from PIL import Image, ImageFilter

    grid = render.enlarge(code, chance.randint(2, 5))
    pixels = bytes(20 if module else 235 for row in grid for module in row)
    image = Image.frombytes("L", (len(grid), len(grid)), pixels)
    if chance.random() < 0.3:
        turn = chance.uniform(0, 360)
        image = image.rotate(turn, Image.Resampling.BICUBIC, expand=True, fillcolor=235)
    if chance.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(chance.uniform(0.3, 0.8)))
    return _png(image)


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


_KINDS: tuple[tuple[str, Callable[[random.Random], bytes]], ...] = (
    ("wrong check", _damaged_code(wrong_check)),
    ("flipped bytes", _damaged_code(flipped)),
    ("foreign code", _foreign),
    ("barcode", _barcode),
    ("texture", _texture),
    ("garbage code", _garbage),
    ("piece of a photo", _piece),
    ("foreign code", _foreign),
    ("texture", _texture),
    ("barcode", _barcode),
)
"""One tenth each."""
