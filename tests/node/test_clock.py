"""The clock goes forward only; what the board's is given."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest

from node.system import clock


def test_it_is_never_set_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def never(_which: int, _seconds: float) -> None:
        raise AssertionError("it was set")

    monkeypatch.setattr(time, "clock_settime", never)
    assert not clock.set_forward(int(time.time()) - 10, tmp_path / "rtc0")


def test_without_the_right_or_without_a_board_clock_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[float] = []
    monkeypatch.setattr(time, "clock_settime", lambda _which, seconds: seen.append(seconds))
    later = int(time.time()) + 1000
    assert clock.set_forward(later, tmp_path / "none")
    (tmp_path / "no-clock").write_text("x")
    assert clock.set_forward(later, tmp_path / "no-clock")
    assert seen == [later, later]

    def refused(_which: int, _seconds: float) -> None:
        raise PermissionError

    monkeypatch.setattr(time, "clock_settime", refused)
    assert not clock.set_forward(later, tmp_path / "none")


def test_the_board_counts_months_from_0_and_years_from_1900() -> None:
    """2026-02-28 23:59:58 UTC."""
    said = struct.unpack("9i", clock.as_board(1_772_323_198))
    assert said[:6] == (58, 59, 23, 28, 1, 126)
    assert clock.RTC_SET_TIME & 0xFF == 0x0A
    assert len(clock.as_board(0)) == clock.RTC_SET_TIME >> 16 & 0x3FFF
