"""A recording of a terminal, in asciicast v2: what was shown and how large it was, never the keys.

Keys are left out because passwords and recovery keys are typed. What a program shows of them is
recorded. Source: docs.asciinema.org/manual/asciicast/v2.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

SIZE_LIMIT = 64 * 1024 * 1024


class Asciicast:
    """A new file, 0600, written line by line. Times in seconds since the first.

    Raises OSError.
    """

    def __init__(
        self,
        path: Path,
        *,
        columns: int,
        rows: int,
        began: int,
        now: float,
        limit: int = SIZE_LIMIT,
    ) -> None:
        """`began`: Unix seconds; `now`: the clock that the other times are of."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8", newline="\n")
        self.path, self._zero, self._left = path, now, limit
        self._write({"version": 2, "width": columns, "height": rows, "timestamp": began})

    @property
    def full(self) -> bool:
        """Whether the limit is reached; what comes now is not recorded."""
        return self._left <= 0

    def shown(self, text: str, now: float) -> None:
        """The terminal showed this."""
        if text:
            self._write([round(now - self._zero, 3), "o", text])

    def resized(self, columns: int, rows: int, now: float) -> None:
        """The terminal got another size."""
        self._write([round(now - self._zero, 3), "r", f"{columns}x{rows}"])

    def marked(self, label: str, now: float) -> None:
        """Something that a person may look for."""
        self._write([round(now - self._zero, 3), "m", label])

    def close(self) -> None:
        """On disk when this returns. May be called twice."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def _write(self, line: Any) -> None:
        text = json.dumps(line, ensure_ascii=True) + "\n"
        if self._left > 0:
            self._file.write(text)
            self._file.flush()
        self._left -= len(text)
