"""What a machine wrote to its disk, in order, and the disk as it was at any moment in between.

QEMU's block filter `blklogwrites` records it in the format of the kernel's dm-log-writes
(Documentation/admin-guide/device-mapper/log-writes.rst): a block with magic, version, number of
entries and sector size; then for each request a block of sector, sectors, flags and length of a
mark, followed by the data. All numbers are little endian.
"""

from __future__ import annotations

import ctypes
import enum
import os
import random
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MAGIC = 0x6A736677736872
_SUPER = struct.Struct("<QQQL")
_ENTRY = struct.Struct("<QQQQ")
_PIECE = 1 << 16
"""Zeros are looked for in pieces of this many bytes."""
_PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01
_ZEROS = bytes(_PIECE)


class WriteLogError(ValueError):
    """The file is no write log, or QEMU has not ended it."""


class Flag(enum.IntFlag):
    """What kind of request it was."""

    FLUSH = 1
    FUA = 2
    DISCARD = 4
    MARK = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """A request. `offset` and `length` in bytes of the disk; `at`: where its data is in the log."""

    number: int
    flags: Flag
    offset: int
    length: int
    at: int

    @property
    def writes(self) -> bool:
        return self.length > 0 and not self.flags & (Flag.DISCARD | Flag.MARK)


@dataclass(frozen=True, slots=True)
class Cut:
    """A moment of a power cut: the first `first` entries are on the disk, then only `more`.

    `more` are entries that the disk had in its cache and happened to write; others were lost.
    """

    first: int
    more: tuple[int, ...] = ()

    @property
    def last(self) -> int:
        """How many requests the machine had made by then, at least."""
        return max(self.first, *(number + 1 for number in self.more)) if self.more else self.first


def entries(log: Path, first: int | None = None) -> tuple[Entry, ...]:
    """All requests of a log whose machine has ended, or the `first` ones of any log.

    Raises WriteLogError and OSError.
    """
    found: list[Entry] = []
    with log.open("rb") as file:
        magic, _version, whole, size = _SUPER.unpack(_exactly(file.read(_SUPER.size), _SUPER.size))
        if magic != MAGIC or size < _ENTRY.size:
            raise WriteLogError(f"{log.name} is no write log")
        at = size
        for number in range(whole if first is None else first):
            file.seek(at)
            sector, sectors, bits, mark = _ENTRY.unpack(
                _exactly(file.read(_ENTRY.size), _ENTRY.size)
            )
            flags, at = Flag(bits), at + size
            found.append(Entry(number, flags, sector * size, sectors * size, at))
            if found[-1].writes:
                at += sectors * size
            elif flags & Flag.MARK:
                at += -(-mark // size) * size
    return tuple(found)


def count(log: Path) -> int:
    """How many requests a log has so far, from its length alone: QEMU counts them only at its end.

    Walks over the headers. Raises OSError.
    """
    found, size = 0, 512
    with log.open("rb") as file:
        end, at = file.seek(0, os.SEEK_END), size
        while at + _ENTRY.size <= end:
            file.seek(at)
            _, sectors, bits, _ = _ENTRY.unpack(file.read(_ENTRY.size))
            at += size + (0 if bits & (Flag.DISCARD | Flag.MARK) else sectors * size)
            found += 1
    return found


def flushes(log: Sequence[Entry]) -> list[int]:
    """How many entries are on the disk for sure after each flush."""
    return [entry.number + 1 for entry in log if entry.flags & Flag.FLUSH]


def cuts(
    log: Sequence[Entry],
    any_time: int,
    lossy: int,
    seed: int = 0,
    begin: int = 0,
    closely: int | None = None,
) -> list[Cut]:
    """Where to cut: at each flush, `any_time` times anywhere, `lossy` times with a lost cache.

    None before the first `begin` entries; everywhere after the first `closely` ones. Sorted, so
    that a `Replay` goes through them once.
    """
    chance = random.Random(seed)
    sure = [begin, *(number for number in flushes(log) if number > begin)]
    found = {Cut(first) for first in (*sure, len(log))}
    found |= {Cut(first) for first in range(closely or len(log), len(log))}
    found |= {Cut(chance.randint(begin, len(log))) for _ in range(any_time)}
    ends = [*sure[1:], len(log)]
    groups = [(start, end) for start, end in zip(sure, ends, strict=True) if end - start > 1]
    for _ in range(lossy if groups else 0):
        start, end = chance.choice(groups)
        # As often as not while the flush was under way: the whole group had been asked for.
        until = end if chance.random() < 0.5 else chance.randint(start + 1, end)
        more = (e.number for e in log[start:until] if e.flags & Flag.FUA or chance.random() < 0.5)
        found.add(Cut(start, tuple(more)))
    return sorted(found, key=lambda cut: (cut.first, cut.more))


class Replay:
    """A disk on which a log is written again, forwards. `image` is changed in place.

    `zeroing`: whether a discard leaves zeros, as on a thin disk, or everything as it was. `first`:
    as for `entries`.
    """

    def __init__(
        self, log: Path, image: Path, *, zeroing: bool = True, first: int | None = None
    ) -> None:
        self.entries = entries(log, first)
        self.done = 0
        self._zeroing = zeroing
        self._log = log.open("rb")
        self._image = image.open("r+b", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()
        self._image.close()

    def forward(self, first: int) -> None:
        """Until `first` entries are on the disk. Raises ValueError for a step back."""
        if first < self.done:
            raise ValueError(f"entry {first} is behind {self.done}")
        for entry in self.entries[self.done : first]:
            self._apply(entry)
        self.done = first

    def with_more(self, more: Iterable[int]) -> list[tuple[int, bytes]]:
        """Add these entries for a while; gives what `undo` needs."""
        before: list[tuple[int, bytes]] = []
        for number in more:
            entry = self.entries[number]
            if entry.writes or (entry.flags & Flag.DISCARD and self._zeroing):
                old = os.pread(self._image.fileno(), entry.length, entry.offset)
                before.append((entry.offset, old))
            self._apply(entry)
        return before

    def undo(self, before: Sequence[tuple[int, bytes]]) -> None:
        """Back to where `with_more` began."""
        for offset, data in reversed(before):
            self._write(offset, data)

    def _apply(self, entry: Entry) -> None:
        if entry.flags & Flag.DISCARD and self._zeroing:
            self._punch(entry.offset, entry.length)
        if not entry.writes:
            return
        self._log.seek(entry.at)
        left, offset = entry.length, entry.offset
        while left:
            data = _exactly(self._log.read(min(left, 64 * _PIECE)), min(left, 64 * _PIECE))
            self._write(offset, data)
            left, offset = left - len(data), offset + len(data)

    def _write(self, offset: int, data: bytes) -> None:
        for zero, start, end in _runs(data):
            if zero:
                self._punch(offset + start, end - start)
            else:
                os.pwrite(self._image.fileno(), data[start:end], offset + start)

    def _punch(self, offset: int, length: int) -> None:
        """fallocate(2): the bytes read as zeros and take no room."""
        libc = ctypes.CDLL(None, use_errno=True)
        args = (ctypes.c_int(self._image.fileno()), ctypes.c_int(_PUNCH_HOLE_KEEP_SIZE))
        if libc.fallocate(*args, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def _runs(data: bytes) -> Iterator[tuple[bool, int, int]]:
    """Pieces of zeros and of others, joined: whether zero, from, to."""
    start, kind = 0, None
    for at in range(0, len(data), _PIECE):
        piece = data[at : at + _PIECE]
        zero = piece == _ZEROS[: len(piece)]
        if kind is not None and zero is not kind:
            yield kind, start, at
            start = at
        kind = zero
    if kind is not None:
        yield kind, start, len(data)


def _exactly(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise WriteLogError("the write log ends in the middle of an entry")
    return data
