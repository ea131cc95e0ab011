"""The zbar decoder, QR symbology only, straight from the C library (zbar.h, 0.23).

Not through pyzbar: docs/adr/0004. `load` returns None where the library is missing or too old.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

NEEDED = (0, 23, 92)
"""Older ones read past their buffers (CVE-2023-40889); Debian and Ubuntu have patched this one."""
_LIBRARIES = ("libzbar.so.0", "libzbar.0.dylib", "/opt/homebrew/lib/libzbar.0.dylib")
_POINTERS = (
    "image_scanner_create",
    "image_create",
    "image_first_symbol",
    "symbol_next",
    "symbol_get_data",
)
"""Functions that return an address: more than the `int` that ctypes expects."""
_QRCODE, _CFG_ENABLE = 64, 0
_Y800 = int.from_bytes(b"Y800", "little")


Found = tuple[bytes, list[tuple[int, int]]]
"""Data of a code and the points round it."""


class Zbar:
    """One image scanner, kept for many pictures."""

    def __init__(self, library: Any) -> None:
        self._library = library
        for name in _POINTERS:
            getattr(library, f"zbar_{name}").restype = ctypes.c_void_p
        self._scanner = ctypes.c_void_p(library.zbar_image_scanner_create())
        for symbology, on in ((0, 0), (_QRCODE, 1)):
            library.zbar_image_scanner_set_config(self._scanner, symbology, _CFG_ENABLE, on)

    def read(self, width: int, height: int, gray: bytes) -> list[Found]:
        """Data and outline points of every QR code in the 8-bit gray picture."""
        library = self._library
        image = ctypes.c_void_p(library.zbar_image_create())
        try:
            library.zbar_image_set_format(image, ctypes.c_ulong(_Y800))
            library.zbar_image_set_size(image, width, height)
            library.zbar_image_set_data(image, gray, ctypes.c_ulong(len(gray)), None)
            library.zbar_scan_image(self._scanner, image)
            return list(self._symbols(image))
        finally:
            library.zbar_image_destroy(image)

    def _symbols(self, image: ctypes.c_void_p) -> Iterator[Found]:
        library = self._library
        symbol = library.zbar_image_first_symbol(image)
        while symbol:
            handle = ctypes.c_void_p(symbol)
            if library.zbar_symbol_get_type(handle) == _QRCODE:
                size = library.zbar_symbol_get_data_length(handle)
                data = ctypes.string_at(library.zbar_symbol_get_data(handle), size)
                yield data, self._points(handle)
            symbol = library.zbar_symbol_next(handle)

    def _points(self, symbol: ctypes.c_void_p) -> list[tuple[int, int]]:
        across, down = self._library.zbar_symbol_get_loc_x, self._library.zbar_symbol_get_loc_y
        count = self._library.zbar_symbol_get_loc_size(symbol)
        return [(across(symbol, i), down(symbol, i)) for i in range(count)]


def library_version(library: Any) -> tuple[int, int, int]:
    """What the library says it is."""
    numbers = [ctypes.c_uint(), ctypes.c_uint(), ctypes.c_uint()]
    library.zbar_version(*(ctypes.byref(number) for number in numbers))
    return numbers[0].value, numbers[1].value, numbers[2].value


def load() -> Zbar | None:
    """The decoder, or None: not installed, or older than NEEDED."""
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
            if library_version(library) >= NEEDED:
                return Zbar(library)
        except (OSError, AttributeError):
            continue
    return None
