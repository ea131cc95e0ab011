"""The log of a disk's writes: reading, replaying, cutting."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing.testing import writelog
from pairing.testing.writelog import Cut, Flag, Replay, WriteLogError

SECTOR, SIZE = 512, 1 << 20
Request = tuple[int, int, int, bytes]
"""Sector, sectors, flags, data."""


def log_of(requests: Sequence[Request], file: Path, counted: int | None = None) -> Path:
    """A write log as the kernel's documentation of dm-log-writes describes it."""
    number = len(requests) if counted is None else counted
    body = struct.pack("<QQQL", 0x6A736677736872, 1, number, SECTOR).ljust(SECTOR, b"\0")
    for sector, sectors, flags, data in requests:
        body += struct.pack("<QQQQ", sector, sectors, flags, 0).ljust(SECTOR, b"\0") + data
    file.write_bytes(body)
    return file


def write(sector: int, data: bytes, flags: int = 0) -> Request:
    return sector, len(data) // SECTOR, flags, data


FLUSH: Request = (0, 0, 1, b"")
requests = st.lists(
    st.one_of(
        st.just(FLUSH),
        st.builds(
            lambda sector, sectors, byte: write(sector, bytes([byte]) * SECTOR * sectors),
            st.integers(0, 1000),
            st.integers(1, 300),
            st.sampled_from([0, 0, 1, 255]),
        ),
        st.builds(lambda a, n: (a, n, 4, b""), st.integers(0, 1000), st.integers(1, 300)),
    ),
    max_size=12,
)


def plainly(wanted: Sequence[Request], old: bytes, zeroing: bool) -> bytes:
    """The slow and simple way to the same disk."""
    disk = bytearray(old)
    for sector, sectors, flags, data in wanted:
        if flags & 4:
            data = bytes(sectors * SECTOR) if zeroing else b""
        disk[sector * SECTOR : sector * SECTOR + len(data)] = data
    return bytes(disk)


@given(requests, st.booleans(), st.data())
def test_a_replay_is_the_disk_at_that_moment(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: list[Request],
    zeroing: bool,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("log")
    old = random.Random(1).randbytes(SIZE)
    (folder / "disk").write_bytes(old)
    first = data.draw(st.integers(0, len(wanted)))
    more = data.draw(st.sets(st.integers(first, max(first, len(wanted) - 1)), max_size=3))
    more = {number for number in more if number < len(wanted)}
    log = log_of(wanted, folder / "log")
    with Replay(log, folder / "disk", zeroing=zeroing) as replay:
        replay.forward(first)
        assert (folder / "disk").read_bytes() == plainly(wanted[:first], old, zeroing)
        undo = replay.with_more(sorted(more))
        chosen = [*wanted[:first], *(wanted[number] for number in sorted(more))]
        assert (folder / "disk").read_bytes() == plainly(chosen, old, zeroing)
        replay.undo(undo)
        replay.forward(len(wanted))
    assert (folder / "disk").read_bytes() == plainly(wanted, old, zeroing)
    assert writelog.count(log) == len(wanted)


def test_zeros_are_holes(tmp_path: Path) -> None:
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(SIZE * 64)
    log = log_of([write(0, bytes(SIZE * 8)), write(100, b"x" * SECTOR)], tmp_path / "log")
    with Replay(log, tmp_path / "disk") as replay:
        replay.forward(2)
    assert (tmp_path / "disk").stat().st_blocks * 512 < SIZE


def test_cuts_are_at_every_flush_anywhere_and_with_a_lost_cache(tmp_path: Path) -> None:
    wanted = [write(n, b"x" * SECTOR) for n in range(20)]
    wanted[7:7] = [FLUSH]
    wanted[15:15] = [FLUSH]
    log = writelog.entries(log_of(wanted, tmp_path / "log"))
    chosen = writelog.cuts(log, any_time=5, lossy=30, seed=3)
    assert {Cut(0), Cut(8), Cut(16), Cut(len(wanted))} <= set(chosen)
    assert chosen == sorted(chosen, key=lambda cut: (cut.first, cut.more))
    lost = [cut for cut in chosen if cut.more]
    assert lost
    for cut in lost:
        group = next(end for end in (8, 16, len(wanted)) if end > cut.first)
        assert cut.first in {0, 8, 16}
        assert all(cut.first <= number < group for number in cut.more)
    assert chosen == writelog.cuts(log, any_time=5, lossy=30, seed=3)
    assert chosen != writelog.cuts(log, any_time=5, lossy=30, seed=4)


def test_cuts_are_after_every_request_from_where_it_is_asked_for(tmp_path: Path) -> None:
    log = writelog.entries(log_of([write(n, b"x" * SECTOR) for n in range(9)], tmp_path / "log"))
    assert writelog.cuts(log, 0, 0) == [Cut(0), Cut(9)]
    assert writelog.cuts(log, 0, 0, closely=6) == [Cut(0), Cut(6), Cut(7), Cut(8), Cut(9)]


def test_what_was_written_through_the_cache_is_never_lost(tmp_path: Path) -> None:
    wanted = [write(n, b"x" * SECTOR, flags=2 if n == 4 else 0) for n in range(9)]
    log = writelog.entries(log_of(wanted, tmp_path / "log"))
    assert Flag.FUA in log[4].flags
    lost = [cut.more for cut in writelog.cuts(log, 0, 60) if cut.more and max(cut.more) > 4]
    assert lost
    assert all(4 in more for more in lost)


def test_what_is_no_log_or_has_no_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"no log" * 200)
    with pytest.raises(WriteLogError):
        writelog.entries(tmp_path / "other")
    with pytest.raises(WriteLogError):
        writelog.entries(log_of([write(0, b"x" * SECTOR)], tmp_path / "short", counted=9))
    (tmp_path / "empty").touch()
    with pytest.raises(WriteLogError):
        writelog.entries(tmp_path / "empty")
