"""A photo with what was seen in it: codes read and not read, why not, and where a reflection lies.

For `decode --annotate`. The pixels come from the locked worker, gray and small; nothing of the
photo's file is opened here. The marks differ in line and words, not only in colour: a solid line is
a code that was read, a dashed one a code that was not, a ring of dots a reflection.
"""

from __future__ import annotations

import io
import math
import textwrap
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pairing import errors
from pairing.qr import diagnose
from pairing.qr.advice import advice
from pairing.qr.reading import Corners, Reading, kind_of
from pairing.qr.texts import Texts, load

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

SIDE = 1600
"""Pixels of the longer side of the picture that is drawn on, at most."""
SMALLEST = 900
"""Smaller photos are enlarged to this, for the words to fit."""
READ, UNREAD, GLARE = (124, 252, 124), (255, 170, 60), (110, 205, 255)
_INK, _PAPER = (0, 0, 0), (255, 255, 255)
_SPELLED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue",
                          "ß": "ss", "œ": "oe", "Œ": "Oe"})  # fmt: skip

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """A code in the photo: its corners in pixels of the photo, a few words, and how it is drawn."""

    corners: Corners
    words: str
    read: bool
    glare_at: tuple[int, int] | None = None


def annotate(reading: Reading, error: errors.KnownError | None, language: str) -> bytes:
    """The marked photo as PNG, with the sentence to send back below it if there is an `error`.

    `reading.picture` must be there. The photo may show a token, so this picture may too.
    """
    from PIL import Image, ImageDraw, ImageFont

    seen = reading.picture
    assert seen is not None
    photo = Image.frombytes("L", (seen.width, seen.height), seen.pixels).convert("RGB")
    larger = max(1.0, SMALLEST / max(photo.size))
    if larger > 1:
        size = (round(photo.width * larger), round(photo.height * larger))
        photo = photo.resize(size, Image.Resampling.BICUBIC)
    scale = photo.width / max(1, reading.width)
    font = ImageFont.load_default(max(16, round(max(photo.size) / 50)))
    assert isinstance(font, ImageFont.FreeTypeFont), "every wheel of Pillow has FreeType"
    pen = Pen(ImageDraw.Draw(photo), font, scale, photo.size)
    for mark in marks(reading, load(language)):
        pen.mark(mark)
    text = _below(error, language)
    return _png(_with_text(photo, text, font) if text else photo)


def marks(reading: Reading, texts: Texts) -> Iterator[Mark]:
    """What is to be drawn."""
    for code in reading.codes:
        ours = kind_of(code.text) is not None
        words = texts.labels["read" if ours else "photo-foreign"]
        yield Mark(code.corners, words, read=True)
    for one in diagnose.unread_codes(reading):
        why = diagnose.of_code(one, reading)
        words = texts.labels.get(why.slug, texts.labels["seen"])
        glare = one.glare_at if isinstance(why, errors.CodeGlare) else None
        yield Mark(one.corners, words, read=False, glare_at=glare)
    for one in reading.seen:
        if one.guessed and (plain_why := diagnose.of_guess(one, reading)):
            yield Mark(one.corners, texts.labels[plain_why.slug], read=False)


def _below(error: errors.KnownError | None, language: str) -> str:
    return plain(f"{error.code}: {advice(error, language)}") if error else ""


def plain(text: str) -> str:
    """`text` in the letters of the built-in font, which has no accents."""
    spelled = unicodedata.normalize("NFC", text).translate(_SPELLED)
    letters = unicodedata.normalize("NFKD", spelled)
    return "".join(c for c in letters if not unicodedata.combining(c))


def _png(photo: Image.Image) -> bytes:
    out = io.BytesIO()
    photo.save(out, "PNG")
    return out.getvalue()


def _with_text(photo: Image.Image, text: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """The photo and a sentence on a white strip below."""
    from PIL import Image, ImageDraw

    columns = max(20, int(photo.width / font.getlength("n") * 1.1))
    lines = textwrap.wrap(text, columns)
    step = round(font.size * 1.4)
    high = photo.height + step * len(lines) + step
    page = Image.new("RGB", (photo.width, high), _PAPER)
    page.paste(photo, (0, 0))
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        at = (step // 2, photo.height + step // 2 + number * step)
        pen.text(at, line, font=font, fill=_INK)
    return page


@dataclass(frozen=True, slots=True)
class Pen:
    """Draws on a photo that was made `scale` times as large."""

    draw: ImageDraw.ImageDraw
    font: ImageFont.FreeTypeFont
    scale: float
    size: tuple[int, int]

    def mark(self, mark: Mark) -> None:
        """One code's outline, its words, and the reflection on it."""
        corners = [(x * self.scale, y * self.scale) for x, y in mark.corners]
        colour = READ if mark.read else UNREAD
        if mark.glare_at:
            self._ring(mark.glare_at, corners)
        corners = _grown(corners, self._thick() * 3)
        if len(corners) > 1:
            for start, end in zip(corners, (*corners[1:], corners[0]), strict=True):
                self._line(start, end, colour, dashed=not mark.read)
        if corners:
            self._label(corners, plain(mark.words), colour)

    def _thick(self) -> int:
        return max(4, round(self.font.size / 5))

    def _line(
        self, start: Point, end: Point, colour: tuple[int, int, int], *, dashed: bool
    ) -> None:
        """On a black edge, so that it shows on white too."""
        thick, length = self._thick(), math.dist(start, end)
        parts = max(1, round(length / (thick * 8))) * 2 - 1 if dashed else 1
        for part in range(0, parts, 2):
            ends = [_between(start, end, share) for share in (part / parts, (part + 1) / parts)]
            self.draw.line(ends, fill=_INK, width=thick * 2 + 1)
            self.draw.line(ends, fill=colour, width=thick)

    def _ring(self, at: tuple[int, int], corners: list[Point]) -> None:
        """Dots round the middle of a reflection."""
        x, y = at[0] * self.scale, at[1] * self.scale
        radius = max(20.0, math.dist(corners[0], corners[2]) / 8 if len(corners) == 4 else 0)
        dot = self._thick() * 1.5
        for number in range(16):
            angle = number * math.pi / 8
            u, v = x + radius * math.cos(angle), y + radius * math.sin(angle)
            box = (u - dot, v - dot, u + dot, v + dot)
            self.draw.ellipse(box, fill=GLARE, outline=_INK, width=2)

    def _label(self, corners: list[Point], words: str, colour: tuple[int, int, int]) -> None:
        """Above the code, or below it where there is no room; always within the photo."""
        pad = self.font.size / 3
        wide, high = self.font.getlength(words) + 2 * pad, self.font.size + 2 * pad
        left, top = min(x for x, _ in corners), min(y for _, y in corners) - high - pad
        if top < 0:
            top = max(y for _, y in corners) + pad
        x = min(max(0.0, left), max(0.0, self.size[0] - wide))
        y = min(max(0.0, top), max(0.0, self.size[1] - high))
        box = (x, y, x + wide, y + high)
        self.draw.rectangle(box, fill=colour, outline=_INK, width=2)
        middle = (x + pad, y + high / 2)
        self.draw.text(middle, words, font=self.font, fill=_INK, anchor="lm")


def _between(start: Point, end: Point, share: float) -> Point:
    return (
        start[0] + (end[0] - start[0]) * share,
        start[1] + (end[1] - start[1]) * share,
    )


def _grown(corners: list[Point], by: float) -> list[Point]:
    """Each corner further away from the middle, for the line not to hide the code."""
    if not corners:
        return []
    x, y = (sum(values) / len(corners) for values in zip(*corners, strict=True))
    return [
        (u + by * (u - x) / max(1.0, far), v + by * (v - y) / max(1.0, far))
        for u, v in corners
        for far in (math.dist((u, v), (x, y)),)
    ]
