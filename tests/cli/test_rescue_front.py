"""The operator's end of a repair session: escape keys, record, a terminal that is put right."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import termios
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import rescue_front
from cli.rescue_front import EscapeKeys, TerminalFront
from pairing import errors
from pairing.asciicast import Asciicast
from pairing.protocol.repair import Opened
from pairing.terminalfilter import AFTERWARDS


@pytest.mark.parametrize(
    ("typed", "passed", "ended"),
    [
        (b"ls\r", b"ls\r", False),
        (b"~.", b"", True),
        (b"ls\r~.more", b"ls\r", True),
        (b"ls ~.\r", b"ls ~.\r", False),
        (b"~~.\r", b"~.\r", False),
        (b"~a", b"~a", False),
        (b"\r~\r~.", b"\r~\r", True),
        (b"\x03\x1b[A", b"\x03\x1b[A", False),
    ],
)
def test_escape_keys(typed: bytes, passed: bytes, ended: bool) -> None:
    escape = EscapeKeys()
    assert b"".join(escape.feed(bytes([key])) for key in typed) == passed
    assert escape.ended is ended


@given(st.binary())
def test_keys_without_a_tilde_pass(data: bytes) -> None:
    assert EscapeKeys().feed(data.replace(b"~", b"")) == data.replace(b"~", b"")


class Told(list[str]):
    def __call__(self, label: str, text: str) -> None:
        self.append(text)


def front_with(folder: Path, *, limit: int = 10_000, unfiltered: bool = False) -> TerminalFront:
    def record() -> Asciicast:
        return Asciicast(
            folder / "one.cast", columns=80, rows=24, began=1_790_000_000, now=0.0, limit=limit
        )

    return TerminalFront(record, Told(), lambda known: None, unfiltered)


OPENED = Opened(1800, 600, ("a", "b", "c"))
HOSTILE = b"hello\x1b]52;c;ZXZpbA==\x07\x1b[6n\r\n"


@pytest.mark.parametrize(("unfiltered", "attack"), [(False, False), (True, True)])
async def test_shown_and_recorded(
    unfiltered: bool, attack: bool, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The record is harmless in both cases: it will be played on a terminal. `--unfiltered` is
    the control: the same bytes do reach it."""
    front = front_with(tmp_path, unfiltered=unfiltered)
    front.opened(OPENED)
    await front.show(HOSTILE)
    assert front.record is not None
    front.record.close()
    shown = capfdbinary.readouterr().out
    assert shown.startswith(b"hello")
    assert (b"\x1b]52" in shown) is attack
    header, line = (tmp_path / "one.cast").read_text().splitlines()
    assert json.loads(header)["timestamp"] == 1_790_000_000
    assert json.loads(line)[1:] == ["o", "hello\r\n"]


async def test_what_is_not_recorded_is_not_done(tmp_path: Path) -> None:
    front = front_with(tmp_path, limit=500)
    front.opened(OPENED)
    assert front.record is not None
    while not front.record.full:
        with contextlib.suppress(errors.RescueCut):
            await front.show(b"0123456789" * 4)
    with pytest.raises(errors.RescueCut):
        await front.show(b"one more")
    front.record.close()
    assert (tmp_path / "one.cast").stat().st_size < 700


async def test_the_terminal_is_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    terminal = os.fdopen(theirs, "r+b", buffering=0)

    class Stream:
        buffer = terminal

        def fileno(self) -> int:
            return terminal.fileno()

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Stream())
    monkeypatch.setattr(sys, "stdout", Stream())
    before = termios.tcgetattr(theirs)
    front = front_with(tmp_path)
    async with front.running():
        front.opened(OPENED)
        assert not termios.tcgetattr(theirs)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
        os.write(ours, b"ls\r~.")
        assert await front.keys() == b"ls\r"
        assert await front.keys() == b""
        os.write(ours, b"an answer that comes late")
    assert termios.tcgetattr(theirs) == before
    assert AFTERWARDS.encode() in os.read(ours, 4096)
    os.set_blocking(theirs, False)
    with pytest.raises(BlockingIOError):
        os.read(theirs, 100)
    assert front.record is not None
    assert front.record._file.closed  # its line is on disk
    terminal.close()
    os.close(ours)


async def test_the_end_of_a_pipe_is_ctrl_d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.write(write, b"uptime\n")
    os.close(write)
    with os.fdopen(read, "rb", buffering=0) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        front = front_with(tmp_path)
        assert await front.keys() == b"uptime\n"
        assert await front.keys() == rescue_front.END_OF_INPUT
