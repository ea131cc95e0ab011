"""The zbar decoder through pyzbar, QR symbology only, with a gate for old libraries.

libzbar is a system package and optional: `load` returns None where it is missing or too old.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
from collections.abc import Iterator
from typing import Any

NEEDED = (0, 23, 92)
"""Older ones read past their buffers (CVE-2023-40889); Debian and Ubuntu have patched this one."""
_LIBRARIES = ("libzbar.so.0", "libzbar.0.dylib", "/opt/homebrew/lib/libzbar.0.dylib")

Found = tuple[bytes, list[tuple[int, int]]]
"""Data of a code and the points round it."""


class Zbar:
    """pyzbar's reader, loaded: nothing is imported or opened while a picture is read."""

    def __init__(self, name: str) -> None:
        with _found_as(name):
            from pyzbar.pyzbar import ZBarSymbol, decode
        self._decode, self._symbols = decode, [ZBarSymbol.QRCODE]

    def read(self, width: int, height: int, gray: bytes) -> list[Found]:
        """Data and outline points of every QR code in the 8-bit gray picture."""
        found = self._decode((gray, width, height), symbols=self._symbols)
        return [(code.data, [(point.x, point.y) for point in code.polygon]) for code in found]


@contextlib.contextmanager
def _found_as(library: str) -> Iterator[None]:
    """pyzbar looks for the library by running programs (ldconfig, gcc): tell it the name."""

    def find_library(name: str) -> str | None:
        return library if name == "zbar" else None

    usual, ctypes.util.find_library = ctypes.util.find_library, find_library
    try:
        yield
    finally:
        ctypes.util.find_library = usual


def library_version(library: Any) -> tuple[int, int, int]:
    """What the library says it is."""
    numbers = [ctypes.c_uint(), ctypes.c_uint(), ctypes.c_uint()]
    library.zbar_version(*(ctypes.byref(number) for number in numbers))
    return numbers[0].value, numbers[1].value, numbers[2].value


def load() -> Zbar | None:
    """The decoder, or None: not installed, or older than NEEDED."""
    for name in _LIBRARIES:
        try:
            if library_version(ctypes.CDLL(name)) >= NEEDED:
                return Zbar(name)
        except (OSError, AttributeError, ImportError):
            continue
    return None
