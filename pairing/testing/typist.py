"""A person at a terminal: types into a program and reads what it shows.

with typing(argv, environment, log) as person:
    person.wait_for("Recovery key:", 60)
    person.type("mxyz...\\r")
    answer = person.ask("cat /oem/90_custom.yaml", 30)      # in a shell
    person.end(30)
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pairing import process
from pairing.process import Terminal
from pairing.testing.patience import patient

COLUMNS, ROWS = 200, 50
LOOK_SECONDS = 0.5


class NotShown(AssertionError):
    """What was waited for was not shown in time."""


@dataclass(slots=True)
class Typist:
    """`shown` is all that the terminal showed; what was waited for once is not looked at again."""

    terminal: Terminal
    log: Path
    shown: str = ""
    _from: int = 0
    _asked: int = field(default=0)

    def type(self, text: str) -> None:
        """Press these keys; Enter is a carriage return."""
        data = text.encode()
        while data:
            with contextlib.suppress(BlockingIOError):
                data = data[self.terminal.write(data) :]

    def wait_for(self, text: str, seconds: float) -> str:
        """What was shown before `text`. Raises NotShown."""
        deadline = time.monotonic() + patient(seconds)
        while (found := self.shown.find(text, self._from)) < 0:
            if time.monotonic() > deadline or not self._look():
                raise NotShown(f"no {text!r} within {seconds:g} s, but:\n{self.shown[-1500:]}")
        before = self.shown[self._from : found]
        self._from = found + len(text)
        return before

    def ask(self, command: str, seconds: float) -> str:
        """What a shell says to a command. Raises NotShown."""
        self._asked += 1
        begin, end = f"<<{self._asked}", f"{self._asked}>>"
        # Quoted in the middle, so that the echo of the keys is not taken for the answer.
        self.type(f"echo; echo '<<'{self._asked}; {command}; echo; echo {self._asked}'>>'\r")
        self.wait_for(f"\n{begin}", seconds)
        return self.wait_for(f"\n{end}", seconds).replace("\r", "").strip()

    def end(self, seconds: float) -> int:
        """The program's exit status. Raises NotShown."""
        deadline = time.monotonic() + patient(seconds)
        while (status := self.terminal.status()) is None:
            if time.monotonic() > deadline:
                raise NotShown(f"not ended within {seconds:g} s:\n{self.shown[-1500:]}")
            self._look()
        self._look()
        return status

    def _look(self) -> bool:
        """Read what there is, waiting a moment for it. False at the end of all."""
        readable, _, _ = select.select([self.terminal.fd], [], [], LOOK_SECONDS)
        if not readable:
            return self.terminal.status() is None
        try:
            data = self.terminal.read(65536)
        except BlockingIOError:
            return True
        self.shown += data.decode("utf-8", "replace")
        with self.log.open("ab") as file:
            file.write(data)
        return bool(data)


@contextlib.contextmanager
def typing(argv: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[Typist]:
    """The program on a terminal of its own, killed at the end; what it shows goes to `log`, too."""
    terminal = process.start_terminal(argv, columns=COLUMNS, rows=ROWS, environment=environment)
    try:
        yield Typist(terminal, log)
    finally:
        terminal.close()
