"""The decoders by themselves: for comparing them, and for judging what we draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pairing.qr import ladder, zbar
from pairing.qr.reading import Place

if TYPE_CHECKING:
    from PIL import Image

Engine = Callable[["Image.Image"], tuple[str, ...]]
"""Texts of all codes in an upright 8-bit gray picture."""


def zxing_alone(image: Image.Image) -> tuple[str, ...]:
    """zxing-cpp, no preparation."""
    return _texts(ladder.with_zxing(image))


def zbar_alone(image: Image.Image) -> tuple[str, ...]:
    """pyzbar, no preparation. Raises LookupError where the library is missing."""
    decoder = zbar.load()
    if decoder is None:
        raise LookupError("libzbar0 is not installed")
    return _texts(ladder.with_zbar(image, decoder))


def grid_alone(image: Image.Image) -> tuple[str, ...]:
    """The grid reader, told where an engine located codes, as it is in the ladder's door."""
    import zxingcpp

    from pairing.qr.grid import reader

    places = []
    for code in zxingcpp.read_barcodes(image, zxingcpp.barcode_formats_from_str("QRCode")):
        at = code.position
        points = (at.top_left, at.top_right, at.bottom_right, at.bottom_left)
        said = code.extra if isinstance(code.extra, dict) else {}
        corners = tuple((point.x, point.y) for point in points)
        places.append(Place(corners, int(str(said.get("Version", "5")))))
    found = reader.read(image, places, lambda _text: True)
    return tuple(code.text for code in found.codes)


def _texts(symbols: Iterable[ladder.Symbol]) -> tuple[str, ...]:
    return tuple(symbol.text for symbol in symbols if symbol.text is not None)


ENGINES: dict[str, Engine] = {"zxing-cpp": zxing_alone, "zbar": zbar_alone, "grid": grid_alone}
"""Those that are shipped."""
