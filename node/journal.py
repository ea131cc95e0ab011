"""The node's journal: what was begun and done, one JSON line each, flushed before going on.

Every line carries a checksum that also covers the line before, so a changed, missing or swapped
line is noticed. A line that was being written when the power went is cut off; that is no damage.
The file only grows: no state of it exists in which an older record could be lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pairing import errors
from pairing.durable import flush_folder

LINE_LIMIT = 64 * 1024
FILE_LIMIT = 64 * 1024 * 1024
_START = "0" * 16


class Journal:
    """An open journal. `records` is everything in it, oldest first.

    Only one process may have it open. Raises errors.JournalDamaged when a line before the last
    is not what was written, and errors.JournalUnwritable when it cannot be stored.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            new = not path.exists()
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if new:
                flush_folder(path.parent)
            data = _read(self._file)
            self.records, self._sum, good = parse(data, element=str(path))
            if good < len(data):
                os.ftruncate(self._file, good)
                os.fsync(self._file)
            self._end = good
        except OSError as wrong:
            raise errors.JournalUnwritable(wrong.strerror or "", element=str(path)) from None

    def append(self, record: Mapping[str, Any]) -> None:
        """Store one record (JSON values, no key `sum`, no secrets); it is on disk on return."""
        body = dict(record)
        checksum = _checksum(self._sum, body)
        line = json.dumps({**body, "sum": checksum}, ensure_ascii=True).encode() + b"\n"
        if len(line) > LINE_LIMIT:
            raise ValueError(f"a journal line of {len(line)} bytes")
        try:
            _write_all(self._file, line, self._end)
            os.fsync(self._file)
        except OSError as wrong:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise errors.JournalUnwritable(wrong.strerror or "", element=str(self._path)) from None
        self._sum, self._end = checksum, self._end + len(line)
        self.records.append(body)

    def close(self) -> None:
        """Close the file; calling it twice is fine."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def parse(data: bytes, *, element: str = "") -> tuple[list[dict[str, Any]], str, int]:
    """The records in `data`, the checksum to go on with, and how many bytes are whole lines.

    What follows the last line feed was cut off while it was written and is not counted.
    Raises errors.JournalDamaged naming the line.
    """
    records: list[dict[str, Any]] = []
    checksum, good = _START, 0
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            body = json.loads(line)
            found = body.pop("sum")
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            raise errors.JournalDamaged(
                f"Line {number} is not a record.", element=element
            ) from None
        checksum = _checksum(checksum, body)
        if found != checksum:
            raise errors.JournalDamaged(f"The checksum of line {number} is wrong.", element=element)
        records.append(body)
        good += len(line) + 1
    return records, checksum, good


def _checksum(before: str, body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"{before}{text}".encode()).hexdigest()[:16]


def _read(file: int) -> bytes:
    with os.fdopen(os.dup(file), "rb") as stream:
        data = stream.read(FILE_LIMIT + 1)
    if len(data) > FILE_LIMIT:
        raise OSError(27, f"it is larger than {FILE_LIMIT} bytes")
    return data


def _write_all(file: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
