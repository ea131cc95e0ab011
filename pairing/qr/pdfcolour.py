"""What the samples of a picture in a PDF mean in gray (ISO 32000-1, 8.6 and 8.9.5).

Colours are close enough for black and white: profiles, white points and the transforms of special
inks are not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from typing import TYPE_CHECKING, Any

from pairing import errors

if TYPE_CHECKING:
    from PIL import Image

_DEEPEST = 4
"""Spaces within spaces: a palette of a special ink of a profile is three."""
_PALETTE_LIMIT = 256
_UNKNOWN = "Its colours are of a kind that is not known here."


class Kind(StrEnum):
    """How the parts of a pixel make it light or dark."""

    GRAY = "gray"
    RGB = "rgb"
    CMYK = "cmyk"
    LAB = "lab"
    INK = "ink"
    """One or more inks: the more of any, the darker."""
    PALETTE = "palette"


@dataclass(frozen=True, slots=True)
class Space:
    """A colour space. `parts`: samples for one pixel. `palette`: the gray of each index."""

    kind: Kind
    parts: int = 1
    palette: bytes = b""

    def standard(self, top: int) -> list[float]:
        """What a picture's /Decode is when it has none; `top`: the largest sample."""
        if self.kind is Kind.PALETTE:
            return [0, top]
        if self.kind is Kind.LAB:
            return [0, 100, 0, 1, 0, 1]  # of the colours only the lightness is used
        return [0, 1] * self.parts


GRAY, RGB, CMYK = Space(Kind.GRAY), Space(Kind.RGB, 3), Space(Kind.CMYK, 4)

_NAMED = {
    "/DeviceGray": GRAY, "/CalGray": GRAY, "/G": GRAY,
    "/DeviceRGB": RGB, "/CalRGB": RGB, "/RGB": RGB,
    "/DeviceCMYK": CMYK, "/CalCMYK": CMYK, "/CMYK": CMYK,
    "/Lab": Space(Kind.LAB, 3), "/Separation": Space(Kind.INK),
}  # fmt: skip
_BY_PARTS = {1: GRAY, 3: RGB, 4: CMYK}
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "CMYK"}
"""Pillow's modes for so many parts, whatever they mean."""


def of_parts(parts: int) -> Space:
    """The usual one for so many samples a pixel. Raises errors.NotAPicture."""
    if parts not in _BY_PARTS:
        raise errors.NotAPicture(_UNKNOWN)
    return _BY_PARTS[parts]


def space(said: Any, depth: int = _DEEPEST) -> Space | None:
    """What a /ColorSpace says; None where there is none. Raises errors.NotAPicture."""
    said = said.get_object() if hasattr(said, "get_object") else said
    if said is None or not depth:
        return None
    words: list[Any] = [said] if isinstance(said, str) else list(said)
    name, rest = str(words[0].get_object()) if words else "", words[1:]
    if name == "/ICCBased" and rest:
        return of_parts(int(rest[0].get_object()["/N"]))
    if name in ("/Indexed", "/I") and len(rest) >= 3:
        return Space(Kind.PALETTE, 1, _palette(rest, depth))
    if name == "/DeviceN" and rest and 1 <= len(rest[0].get_object()) <= 4:
        return Space(Kind.INK, len(rest[0].get_object()))
    if name not in _NAMED:
        raise errors.NotAPicture(_UNKNOWN)
    return _NAMED[name]


def _palette(said: Sequence[Any], depth: int) -> bytes:
    from PIL import Image

    base = space(said[0], depth - 1)
    if base is None or base.kind is Kind.PALETTE:
        raise errors.NotAPicture(_UNKNOWN)
    count = min(max(int(said[1].get_object()) + 1, 1), _PALETTE_LIMIT)
    table = _bytes(said[2].get_object())[: count * base.parts].ljust(count * base.parts, b"\0")
    colours = Image.frombytes("L", (count * base.parts, 1), table)
    return gray(base, colours, 1, levels(base, 255)).tobytes()


def _bytes(said: Any) -> bytes:
    """Of a string, whatever the library took it for, or of a stream."""
    if hasattr(said, "get_data"):
        return bytes(said.get_data())
    return bytes(getattr(said, "original_bytes", said))


def levels(space: Space, top: int, decode: Sequence[float] = ()) -> list[list[int]]:
    """For each part a table from a sample of at most `top` to 0..255: to gray for a single part."""
    decode = decode if len(decode) >= 2 * space.parts else space.standard(top)
    tables = []
    for part in range(space.parts):
        low, high = float(decode[2 * part]), float(decode[2 * part + 1])
        values = [low + (high - low) * min(sample, top) / top for sample in range(256)]
        tables.append([_level(space, value) for value in values])
    return tables


def _level(space: Space, value: float) -> int:
    if space.kind is Kind.PALETTE:
        return space.palette[min(max(round(value), 0), len(space.palette) - 1)]
    whole = min(max(round(value * (2.55 if space.kind is Kind.LAB else 255)), 0), 255)
    return 255 - whole if space.kind is Kind.INK and space.parts == 1 else whole


def gray(space: Space, samples: Image.Image, rows: int, tables: list[list[int]]) -> Image.Image:
    """Rows of pixels whose samples stand side by side in `samples`, one to a byte, in gray."""
    from PIL import Image, ImageChops, ImageOps

    if space.parts == 1:
        return samples.point(tables[0], "L")
    size = samples.width // space.parts, rows
    pixels = Image.frombytes(_MODES[space.parts], size, samples.tobytes())
    if any(table != _PLAIN for table in tables):
        pixels = pixels.point([level for table in tables for level in table])
    if space.kind is Kind.INK:
        return ImageOps.invert(reduce(ImageChops.add, pixels.split()))
    if space.kind is Kind.LAB:
        return pixels.getchannel(0)
    return (pixels.convert("RGB") if space.kind is Kind.CMYK else pixels).convert("L")


_PLAIN = list(range(256))
