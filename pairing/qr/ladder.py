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

from pairing.qr.reading import Code, Corners

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
    unreadable: tuple[Corners, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Symbol:
    """A code as an engine reports it; `text` is None where it was located but not read."""

    text: str | None
    corners: Corners


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
    unreadable: list[Corners] = []
    tried: list[str] = []
    start = time.process_time()
    for step in STEPS:
        if (step.engine == "zbar" and zbar is None) or (step.hard and not hard):
            continue
        if not hard and tried and (time.process_time() - start) * 1000 > BUDGET_MS:
            break
        ready = step.prepare(image)
        if ready is None:
            continue
        tried.append(step.name)
        _merge(codes, unreadable, look(step, ready, image, zbar))
        if any(is_token(code.text) for code in codes) or (any_text and codes and not unreadable):
            break
    return Outcome(tuple(codes), tuple(unreadable), tuple(tried))


def look(
    step: Step, ready: Image.Image, image: Image.Image, zbar: Zbar | None
) -> Iterator[Code | Corners]:
    """Codes and places of unread codes, in the pixels of `image`."""
    symbols = with_zbar(ready, zbar) if step.engine == "zbar" and zbar else with_zxing(ready)
    across, down = image.width / ready.width, image.height / ready.height
    for symbol in symbols:
        corners = tuple((round(x * across), round(y * down)) for x, y in symbol.corners)
        if symbol.text is not None:
            yield Code(symbol.text, corners, step.name)
        elif _area(corners) >= _SMALLEST_AREA:
            yield corners


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
        elif not _is_micro(code.extra):
            yield Symbol(None, corners)


def _is_micro(extra: object) -> bool:
    """Whether a code that could not be read looked like Micro QR: never ours, mostly noise."""
    return isinstance(extra, dict) and str(extra.get("Version", "")).startswith("M")


def with_zbar(image: Image.Image, zbar: Zbar) -> Iterator[Symbol]:
    """Every QR code that zbar reads."""
    for data, points in zbar.read(image.width, image.height, image.tobytes()):
        yield Symbol(data.decode("utf-8", "replace"), _clockwise(points))


def _clockwise(points: Sequence[tuple[int, int]]) -> Corners:
    """zbar names the corners counter-clockwise from the top left."""
    return (*points[:1], *reversed(points[1:]))


def _merge(codes: list[Code], unreadable: list[Corners], found: Iterable[Code | Corners]) -> None:
    """Add what is new: a place counts once, and no longer as unreadable once it has been read."""
    for item in found:
        if isinstance(item, Code):
            seen = [code for code in codes if _overlap(item.corners, code.corners)]
            if item.text not in (code.text for code in seen):
                codes.append(item)
            unreadable[:] = [place for place in unreadable if not _overlap(place, item.corners)]
        elif not any(_overlap(item, place) for place in _places(codes, unreadable)):
            unreadable.append(item)


def _places(codes: Iterable[Code], unreadable: Iterable[Corners]) -> list[Corners]:
    return [*(code.corners for code in codes), *unreadable]


def _box(corners: Corners) -> tuple[int, int, int, int]:
    across, down = [x for x, _ in corners] or [0], [y for _, y in corners] or [0]
    return min(across), min(down), max(across), max(down)


def _overlap(one: Corners, other: Corners) -> bool:
    """Whether the two boxes share more than a quarter of the smaller one."""
    a, b = _box(one), _box(other)
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared * 4 > smaller


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
    Step("doubled", "zxing", doubled),
    Step("local contrast", "zxing", local_contrast),
    Step("gamma 2", "zxing", gamma(2.0)),
    Step("blur 2", "zxing", blurred(2)),
    Step("threshold", "zxing", threshold(24)),
    Step("700 px", "zxing", shrunk(700)),
    Step("zbar 700 px", "zbar", at_most(700)),
    Step("zbar threshold", "zbar", threshold(24, 1000)),
    Step("blur 4", "zxing", blurred(4)),
    Step("gamma 0.5", "zxing", gamma(0.5)),
    Step("sharpened", "zxing", sharpened),
    Step("fine threshold", "zxing", threshold(12)),
    Step("turned 20", "zxing", turned(20), hard=True),
    Step("zbar raw", "zbar", raw, hard=True),
    Step("zbar contrast", "zbar", local_contrast, hard=True),
)
