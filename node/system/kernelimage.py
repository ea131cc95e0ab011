"""Sections of a unified kernel image (PE/COFF, Microsoft's specification; UAPI.5). Reads only."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

HEAD_LIMIT = 64 * 1024
SECTION_LIMIT = 256 * 1024


def sections(
    path: Path, wanted: tuple[str, ...], limit: int = SECTION_LIMIT
) -> Mapping[str, bytes]:
    """The content of the named sections that are there, `limit` bytes of each at most.

    Raises ValueError for another kind of file, OSError.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_LIMIT)
        found: dict[str, bytes] = {}
        for name, size, offset in _table(head):
            if name in wanted:
                file.seek(offset)
                found[name] = file.read(min(size, limit))
    return found


def _table(head: bytes) -> list[tuple[str, int, int]]:
    """Name, bytes and place in the file of each section."""
    try:
        (start,) = struct.unpack_from("<I", head, 0x3C)
        if head[:2] != b"MZ" or head[start : start + 4] != b"PE\0\0":
            raise ValueError("not a kernel image")
        count, optional = struct.unpack_from("<H12xH", head, start + 6)
        table = start + 24 + optional
        rows = [struct.unpack_from("<8s4I", head, table + 40 * number) for number in range(count)]
    except struct.error:
        raise ValueError("not a kernel image") from None
    # Virtual size is the content's; the raw one is padded.
    return [
        (name.rstrip(b"\0").decode("ascii", "replace"), min(virtual, raw), offset)
        for name, virtual, _, raw, offset in rows
    ]
