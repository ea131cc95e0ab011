"""The machine's clock: set forward from the operator's signed manifest, never back."""

from __future__ import annotations

import contextlib
import fcntl
import struct
import time
from pathlib import Path

BOARD = Path("/dev/rtc0")
RTC_SET_TIME = 0x4024700A
"""rtc(4): nine integers, as `struct tm`."""


def set_forward(unix: int, board: Path = BOARD) -> bool:
    """Set the clock to `unix` seconds if it is behind, and the board's, for the time after the
    restart. True if it was set.

    A node without a battery believes that it is 1970; certificates and k3s need better. Without
    the right to set it (no root) the clock stays; without a clock on the board it is lost with the
    power.
    """
    if unix <= time.time():
        return False
    try:
        time.clock_settime(time.CLOCK_REALTIME, float(unix))
    except OSError:
        return False
    with contextlib.suppress(OSError), board.open("rb") as device:
        fcntl.ioctl(device, RTC_SET_TIME, as_board(unix))
    return True


def as_board(unix: int) -> bytes:
    """A time as the board's clock takes it: UTC, months from 0, years from 1900."""
    at = time.gmtime(unix)
    date = (at.tm_mday, at.tm_mon - 1, at.tm_year - 1900)
    return struct.pack("9i", at.tm_sec, at.tm_min, at.tm_hour, *date, 0, 0, 0)
