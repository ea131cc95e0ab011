"""Whether the kernel wrote something on its consoles: a serial line cannot be read back.

Sources: Documentation/ABI/testing/dev-kmsg, Documentation/admin-guide/sysctl/kernel.rst (printk).
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

RECORD = 8192
"""Bytes of the longest record (CONSOLE_EXT_LOG_MAX)."""
MOST = 1000
"""Records read at a time: an endless stream of them is to end somewhere."""
LEVELS = Path("/proc/sys/kernel/printk")
USUAL_LEVEL = 7


class KernelLog:
    """What was logged since the last look."""

    def __init__(self, log: Path = Path("/dev/kmsg"), levels: Path = LEVELS) -> None:
        """Raises OSError where it may not be read."""
        self._levels = levels
        self._fd = os.open(log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._fd, 0, os.SEEK_END)

    def spoke(self) -> bool:
        """Whether the kernel has written on its consoles since this was last asked."""
        loud, least = False, self._console_level()
        for _ in range(MOST):
            try:
                record = os.read(self._fd, RECORD)
            except BlockingIOError:
                break
            except OSError as wrong:
                if wrong.errno != errno.EPIPE:  # some were dropped before they were read
                    break
                loud = True
                continue
            if not record:
                break
            loud = loud or _level(record) < least
        return loud

    def close(self) -> None:
        """No more looks."""
        with contextlib.suppress(OSError):
            os.close(self._fd)

    def _console_level(self) -> int:
        try:
            return int(self._levels.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return USUAL_LEVEL


def _level(record: bytes) -> int:
    """`6,339,5140900,-;text`: the lowest three bits of the first number."""
    number = record.partition(b",")[0]
    return int(number) & 7 if number.isdigit() else USUAL_LEVEL
