"""The decoders in order: cheap ones first, then the same picture prepared in other ways.

A step is a name, an engine and a pure function that prepares the picture; to add one, add a line
to `STEPS`. Order and constants come from measurements on real photos: each step reads some that
all before it did not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pairing.qr.reading import Code, Corners, Place, Tried, overlap

if TYPE_CHECKING:
    from PIL import Image

    from pairing.qr.zbar import Zbar

BUDGET_MS = 1500
"""CPU milliseconds after which no further step begins, unless trying hard."""
_SMALLEST_AREA = 400
"""Square pixels below which a located but unread code is taken for noise."""

Prepare = Callable[["Image.Image"], "Image.Image | None"]
"""The picture made ready, of any size but the same extent; None if the step is of no use for it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt. `hard` ones run only when asked to try hard."""

    name: str
    engine: Literal["zxing", "zbar"]
    prepare: Prepare
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the ladder found: codes read, places of codes located but not read, steps tried."""

    codes: tuple[Code, ...]
    unread: tuple[Place, ...]
    tried: tuple[Tried, ...]

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the steps tried, in order."""
        return tuple(step.step for step in self.tried)


@dataclass(frozen=True, slots=True)
class Symbol:
    """A code as an engine reports it; `text` is None where it was located but not read.

    `version` is that of an unread one, where the engine came as far.
    """

    text: str | None
    corners: Corners
    version: int | None = None


def climb(
    image: Image.Image,
    is_token: Callable[[str], bool],
    *,
    zbar: Zbar | None,
    any_text: bool = False,
    hard: bool = False,
) -> Outcome:
    """Try the steps until one finds a token (with `any_text`: until nothing unread is in sight).

    `image` is upright and 8-bit gray.
    """
    codes: list[Code] = []
    unread: list[Place] = []
    tried: list[Tried] = []
    start = time.process_time()
    for step in STEPS:
        if (step.engine == "zbar" and zbar is None) or (step.hard and not hard):
            continue
        begun = time.process_time()
        if not hard and tried and (begun - start) * 1000 > BUDGET_MS:
            break
        ready = step.prepare(image)
        if ready is None:
            continue
        found = list(look(step, ready, image, zbar))
        here: tuple[list[Code], list[Place]] = ([], [])
        merge(*here, found)
        spent = round((time.process_time() - begun) * 1000)
        tried.append(Tried(step.name, spent, len(here[0]), len(here[1])))
        merge(codes, unread, found)
        if any(is_token(code.text) for code in codes) or (any_text and codes and not unread):
            break
    return Outcome(tuple(codes), tuple(unread), tuple(tried))


def look(
    step: Step, ready: Image.Image, image: Image.Image, zbar: Zbar | None
) -> Iterator[Code | Place]:
    """Codes and places of unread codes, in the pixels of `image`."""
    symbols = with_zbar(ready, zbar) if step.engine == "zbar" and zbar else with_zxing(ready)
    across, down = image.width / ready.width, image.height / ready.height
    for symbol in symbols:
        corners = tuple((round(x * across), round(y * down)) for x, y in symbol.corners)
        if symbol.text is not None:
            yield Code(symbol.text, corners, step.name)
        elif _area(corners) >= _SMALLEST_AREA:
            yield Place(corners, symbol.version)


def with_zxing(image: Image.Image) -> Iterator[Symbol]:
    """Every QR code that zxing-cpp reads or locates."""
    import zxingcpp

    pixels = memoryview(image.tobytes()).cast("B", (image.height, image.width))
    found = zxingcpp.read_barcodes(
        pixels,
        formats=zxingcpp.barcode_formats_from_str("QRCode"),
        text_mode=zxingcpp.TextMode.Plain,
        return_errors=True,
    )
    for code in found:
        at = code.position
        points = (at.top_left, at.top_right, at.bottom_right, at.bottom_left)
        corners = tuple((point.x, point.y) for point in points)
        if code.valid:
            yield Symbol(code.text, corners)
            continue
        version = str(code.extra.get("Version", "")) if isinstance(code.extra, dict) else ""
        if not version.startswith("M"):  # Micro QR: never ours, mostly noise
            yield Symbol(None, corners, _number(version))


def _number(version: str) -> int | None:
    return int(version) if version.isdecimal() and 1 <= int(version) <= 40 else None


def with_zbar(image: Image.Image, zbar: Zbar) -> Iterator[Symbol]:
    """Every QR code that zbar reads."""
    for data, points in zbar.read(image.width, image.height, image.tobytes()):
        yield Symbol(data.decode("utf-8", "replace"), _clockwise(points))


def _clockwise(points: Sequence[tuple[int, int]]) -> Corners:
    """zbar names the corners counter-clockwise from the top left."""
    return (*points[:1], *reversed(points[1:]))


def merge(codes: list[Code], unread: list[Place], found: Iterable[Code | Place]) -> None:
    """Add what is new: a place counts once, and no longer as unread once it has been read.

    Of several looks at one unread code, one that knows its version is kept.
    """
    for item in found:
        if isinstance(item, Code):
            seen = [code for code in codes if overlap(item.corners, code.corners)]
            if item.text not in (code.text for code in seen):
                codes.append(item)
            unread[:] = [place for place in unread if not overlap(place.corners, item.corners)]
        elif not any(overlap(item.corners, code.corners) for code in codes):
            _note(unread, item)


def _note(unread: list[Place], item: Place) -> None:
    for number, place in enumerate(unread):
        if overlap(item.corners, place.corners):
            if place.version is None and item.version is not None:
                unread[number] = item
            return
    unread.append(item)


def _area(corners: Corners) -> float:
    """Area of the polygon in square pixels (shoelace formula)."""
    pairs = zip(corners, (*corners[1:], *corners[:1]), strict=True)
    return abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in pairs)) / 2


# --- preparations: pure, Pillow only ------------------------------------------------------------


def raw(image: Image.Image) -> Image.Image:
    """As it is."""
    return image


def doubled(image: Image.Image) -> Image.Image | None:
    """Twice the size, for small pictures."""
    if max(image.size) > 1300:
        return None
    return image.resize((image.width * 2, image.height * 2), _filter("BICUBIC"))


def shrunk(side: int) -> Prepare:
    """Long side `side` pixels: averages moire away."""

    def prepare(image: Image.Image) -> Image.Image | None:
        return None if max(image.size) <= side else _at_most(image, side)

    return prepare


def at_most(side: int) -> Prepare:
    """Like `shrunk`, but a smaller picture is taken as it is."""

    def prepare(image: Image.Image) -> Image.Image:
        return _at_most(image, side)

    return prepare


def local_contrast(image: Image.Image) -> Image.Image:
    """Three times the difference to the surroundings: uneven light, reflections."""
    return _against_mean(_at_most(image, 2000), share=24, gain=3)


def threshold(share: int, side: int = 2000) -> Prepare:
    """Black or white by the mean of a box of 1/`share` of the long side."""

    def prepare(image: Image.Image) -> Image.Image:
        return _against_mean(_at_most(image, side), share, gain=100)

    return prepare


def gamma(power: float) -> Prepare:
    """Darker (> 1) or brighter (< 1) middle tones."""
    table = [round(255 * (value / 255) ** power) for value in range(256)]

    def prepare(image: Image.Image) -> Image.Image:
        return image.point(table)

    return prepare


def blurred(radius: float) -> Prepare:
    """Gaussian blur of `radius` pixels: moire and noise."""

    def prepare(image: Image.Image) -> Image.Image:
        from PIL import ImageFilter

        return image.filter(ImageFilter.GaussianBlur(radius))

    return prepare


def sharpened(image: Image.Image) -> Image.Image:
    """Strong unsharp mask: out of focus."""
    from PIL import ImageFilter

    return image.filter(ImageFilter.UnsharpMask(radius=4, percent=200, threshold=0))


def turned(degrees: float) -> Prepare:
    """Rotated, for finders that lie badly in the pixel raster; corners are then approximate."""

    def prepare(image: Image.Image) -> Image.Image:
        return _at_most(image, 2000).rotate(degrees, _filter("BICUBIC"), expand=True, fillcolor=128)

    return prepare


def _against_mean(image: Image.Image, share: int, gain: float) -> Image.Image:
    from PIL import ImageChops, ImageFilter

    radius = max(1, max(image.size) // share // 2)
    return ImageChops.subtract(image, image.filter(ImageFilter.BoxBlur(radius)), 1 / gain, 128)


def _at_most(image: Image.Image, side: int) -> Image.Image:
    if max(image.size) <= side:
        return image
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, _filter("BOX"))


def _filter(name: str) -> Image.Resampling:
    from PIL import Image

    return Image.Resampling[name]


STEPS: tuple[Step, ...] = (
    Step("raw", "zxing", raw),
    Step("gamma 0.5", "zxing", gamma(0.5)),
    Step("gamma 2", "zxing", gamma(2.0)),
    Step("700 px", "zxing", shrunk(700)),
    Step("doubled", "zxing", doubled),
    Step("local contrast", "zxing", local_contrast),
    Step("threshold", "zxing", threshold(24)),
    Step("zbar 700 px", "zbar", at_most(700)),
    Step("zbar threshold", "zbar", threshold(24, 1000)),
    Step("blur 2", "zxing", blurred(2)),
    Step("blur 4", "zxing", blurred(4)),
    Step("sharpened", "zxing", sharpened),
    Step("fine threshold", "zxing", threshold(12)),
    Step("turned 20", "zxing", turned(20), hard=True),
    Step("zbar raw", "zbar", raw, hard=True),
    Step("zbar contrast", "zbar", local_contrast, hard=True),
)
"""By codes gained per millisecond, measured on 211 photos and on 839 (docs/adr/0028)."""
