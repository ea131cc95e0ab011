"""The partition tables of a disk, as strictly as a firmware reads them. Pure.

UEFI specification 2.10, section 5.3: a header in the second and in the last sector, each with a
checksum of its own and of its entries.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass

SECTOR = 512
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_MOST_ENTRIES = 1024
Read = Callable[[int, int], bytes]
"""Gives so many bytes (second) of the disk from an offset (first)."""


@dataclass(frozen=True, slots=True)
class Partition:
    """`offset` and `size` in bytes."""

    label: str
    kind: uuid.UUID
    id: uuid.UUID
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Tables:
    """Both copies: None where it is not valid."""

    first: tuple[Partition, ...] | None
    second: tuple[Partition, ...] | None

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """What a firmware that also takes the second copy sees; empty: nothing."""
        return self.first if self.first is not None else self.second or ()


def tables(read: Read, size: int) -> Tables:
    """The tables of a disk of `size` bytes."""
    return Tables(_table(read, 1), _table(read, size // SECTOR - 1))


def _table(read: Read, sector: int) -> tuple[Partition, ...] | None:
    raw = read(sector * SECTOR, SECTOR)
    if len(raw) < SECTOR:
        return None
    header = _HEADER.unpack_from(raw)
    magic, _, length, checksum, _, mine = header[:6]
    start, count, each, of_entries = header[10:]
    if magic != b"EFI PART" or mine != sector or not _HEADER.size <= length <= SECTOR:
        return None
    blanked = raw[:16] + bytes(4) + raw[20:length]
    if zlib.crc32(blanked) != checksum or each < _ENTRY.size or count > _MOST_ENTRIES:
        return None
    entries = read(start * SECTOR, count * each)
    if zlib.crc32(entries) != of_entries:
        return None
    parts = (_partition(entries, at) for at in range(0, count * each, each))
    return tuple(part for part in parts if part is not None)


def _partition(entries: bytes, at: int) -> Partition | None:
    kind, own, first, last, _, name = _ENTRY.unpack_from(entries, at)
    if kind == bytes(16):
        return None
    label = name.decode("utf-16-le", "replace").partition("\0")[0]
    size = (last - first + 1) * SECTOR
    return Partition(label, uuid.UUID(bytes_le=kind), uuid.UUID(bytes_le=own), first * SECTOR, size)
