"""Drawing on a real terminal: a pseudo terminal pair, read back by a small Linux console."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import struct
import termios
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
import trio.testing
import zxingcpp

from node import console, vt
from node.canvas import frame
from node.console import Console, active_consoles, measure
from node.kernellog import KernelLog
from node.kernelscreen import KernelScreen
from node.screen import Screen
from node.testing.virtualconsole import RecordedVt, font
from pairing.events import State
from pairing.testing.screens import Terminal, draw
from pairing.testing.tokens import random_token

TOKEN = random_token(random.Random(1))


@dataclass
class Line:
    """A terminal and its far end."""

    near: int
    far: int

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.near, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self) -> str:
        data = b""
        while True:
            try:
                data += os.read(self.near, 65536)
            except OSError:  # nothing more now, or the other end is closed
                return data.decode("utf-8", "replace")


@pytest.fixture
def line() -> Iterator[Line]:
    near, far = os.openpty()
    settings = termios.tcgetattr(far)
    settings[1] &= ~termios.OPOST
    termios.tcsetattr(far, termios.TCSANOW, settings)
    for end in (near, far):
        os.set_blocking(end, False)
    yield Line(near, far)
    os.close(near)


async def show(console: Console, screen: Screen, line: Line) -> str:
    """Draw while somebody reads: a page is larger than the terminal's buffer."""
    written = ""
    async with trio.open_nursery() as nursery:

        async def drain() -> None:
            nonlocal written
            while True:
                await trio.lowlevel.wait_readable(line.near)
                written += line.read()

        nursery.start_soon(drain)
        await console.show(screen)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return written + line.read()


async def test_the_code_can_be_read_from_the_terminal(line: Line) -> None:
    line.resize(100, 37)
    async with Console(line.far) as screen:
        terminal = Terminal(100, 37)
        terminal.write(await show(screen, Screen(token=TOKEN), line))
        assert [c.text for c in zxingcpp.read_barcodes(draw(terminal).convert("L"))] == [TOKEN]


async def test_only_changed_rows_are_sent(line: Line) -> None:
    line.resize(80, 24)
    async with Console(line.far, language="de") as screen:
        first = Screen(token=TOKEN, addresses=("10.0.0.1",))
        whole = await show(screen, first, line)
        second = await show(screen, replace(first, addresses=("10.0.0.2",)), line)
        assert len(second) < len(whole) / 10
        assert await show(screen, replace(first, addresses=("10.0.0.2",)), line) == ""
        terminal = Terminal(80, 24)
        terminal.write(whole + second)
        assert "10.0.0.2" in terminal.text()
        assert "10.0.0.1" not in terminal.text()
        assert [c.text for c in zxingcpp.read_barcodes(draw(terminal).convert("L"))] == [TOKEN]


async def test_a_new_size_draws_everything(line: Line) -> None:
    line.resize(80, 24)
    async with Console(line.far) as screen:
        await show(screen, Screen(token=TOKEN), line)
        line.resize(128, 48)
        terminal = Terminal(128, 48)
        terminal.write(await show(screen, Screen(token=TOKEN), line))
        assert [c.text for c in zxingcpp.read_barcodes(draw(terminal).convert("L"))] == [TOKEN]


async def test_follow_size_notices_by_itself(
    line: Line, patient_clock: trio.testing.MockClock
) -> None:
    line.resize(80, 24)
    async with Console(line.far) as screen:
        await show(screen, Screen(state=State.WRITTEN), line)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(screen.follow_size)
            await trio.sleep(3)
            assert line.read() == ""
            line.resize(60, 20)
            await trio.sleep(3)
            assert "\x1b[20;1H" in line.read()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_kernels", [False, True])
async def test_a_linux_console_is_repaired_by_itself(
    line: Line, patient_clock: trio.testing.MockClock, is_kernels: bool
) -> None:
    """The kernel wrote over the page: on its console that is mended, elsewhere nobody writes."""
    line.resize(60, 20)
    kernel = KernelScreen(RecordedVt(*font())) if is_kernels else None
    async with Console(line.far, kernel=kernel) as screen:
        page = await show(screen, Screen(state=State.READY), line)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(screen.follow_size)
            await trio.sleep(console.REPAIR_SECONDS + 2)
            nursery.cancel_scope.cancel()
        terminal = Terminal(60, 20)
        terminal.write(page + "\x1b[H[   42.0] usb 1-1: new device" + line.read())
        assert ("usb 1-1" in terminal.text()) is not is_kernels


async def test_a_serial_line_is_drawn_anew_after_a_message(
    line: Line, patient_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    line.resize(60, 20)
    (tmp_path / "kmsg").write_text("6,1,0,-;before the node came\n")
    (tmp_path / "levels").write_text("4 4 1 7\n")
    log = KernelLog(tmp_path / "kmsg", tmp_path / "levels")
    async with Console(line.far, log=log) as screen:
        await show(screen, Screen(state=State.READY), line)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(screen.follow_size)
            for record, loud in (("", False), ("6,2,9,-;quiet", False), ("3,3,9,-;loud", True)):
                with (tmp_path / "kmsg").open("a") as written:
                    written.write(record)
                await trio.sleep(1.5)
                assert ("\x1b[20;1H" in line.read()) is loud, record
            await trio.sleep(console.REPAIR_SECONDS + 2)
            assert line.read() == "", "it is slow: never for nothing"
            nursery.cancel_scope.cancel()


def test_records_that_were_dropped_may_have_been_loud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[bytes | OSError] = [
        BrokenPipeError(errno.EPIPE, "dropped"),
        b"6,1,0,-;quiet",
        BlockingIOError(),
    ]

    def read(fd: int, size: int) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    (tmp_path / "kmsg").touch()
    log = KernelLog(tmp_path / "kmsg", tmp_path / "none")
    monkeypatch.setattr(os, "read", read)
    assert log.spoke()
    answers[:] = [BlockingIOError()]
    assert not log.spoke()
    log.close()


async def test_refresh_repairs_what_others_wrote(line: Line) -> None:
    line.resize(80, 24)
    async with Console(line.far) as screen:
        written = await show(screen, Screen(state=State.READY), line)
        await screen.refresh()
        assert line.read() == written


async def test_a_stuck_terminal_is_given_up(
    line: Line, patient_clock: trio.testing.MockClock
) -> None:
    """Nobody reads: the buffer fills, the deadline passes, and the next page is drawn whole."""
    line.resize(240, 67)
    async with Console(line.far) as screen:
        before = trio.current_time()
        for number in range(40):
            await screen.show(Screen(token=TOKEN, serial=str(number)))
            await screen.refresh()
            if trio.current_time() > before:
                break
        assert trio.current_time() >= before + console.DRAW_SECONDS
        terminal = Terminal(240, 67)
        terminal.write(await show(screen, Screen(token=TOKEN, serial="again"), line))
        assert "again" in terminal.text()
        assert [c.text for c in zxingcpp.read_barcodes(draw(terminal).convert("L"))] == [TOKEN]


async def test_a_terminal_that_went_away_is_no_crash() -> None:
    near, far = os.openpty()
    os.set_blocking(far, False)
    async with Console(far) as screen:
        os.close(near)
        await screen.show(Screen(token=TOKEN))


async def test_it_is_left_as_it_was(line: Line) -> None:
    line.resize(80, 24)
    async with Console(line.far) as screen:
        await show(screen, Screen(state=State.FAILED, code="E603"), line)
    end = line.read()
    assert end.startswith("\x1b[0m\x1b[2J")
    assert "\x1b[?25h" in end
    assert "\x1b[?7h" in end


def test_serial_lines_count_as_80x24(line: Line) -> None:
    line.resize(0, 0)
    assert measure(line.far) == (80, 24)
    line.resize(132, 43)
    assert measure(line.far) == (132, 43)
    assert vt.of_terminal(line.far) is None


def test_active_consoles(tmp_path: Path) -> None:
    listed = tmp_path / "active"
    listed.write_text("tty0 ttyS0\n")
    assert active_consoles(listed) == ("/dev/tty0", "/dev/ttyS0")
    assert active_consoles(listed.with_name("none")) == ()


def test_frames_address_every_row() -> None:
    assert frame(("a", "b"), ()).endswith("\x1b[1;1Ha\x1b[2;1Hb")
    assert frame(("a", "c"), ("a", "b")) == "\x1b[2;1Hc"
    assert frame(("a",), ("a",)) == ""
