"""An operator in a test: a home of their own, the real commands, and what these say while they run.

ada = Operator(network.place, folder)
with ada.register(photo, config, "--wait", "installed") as run:
    run.until("written", 300)
    ...
    assert run.end(600) == 0
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairing.process import Program
from pairing.testing.netns import Namespace
from pairing.testing.patience import patient

_XDG = {"CONFIG": ".config", "DATA": ".local/share", "STATE": ".local/state", "CACHE": ".cache"}
Line = dict[str, Any]
"""A line of `--output jsonl`."""


class Run:
    """A command that runs beside the test."""

    def __init__(self, program: Program, log: Path) -> None:
        self.lines: list[Line] = []
        self.talk: list[str] = []
        """What was said for people."""
        self._program = program
        self._log = log
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def until(self, state: str, seconds: float) -> Line:
        """The first line with this state; raises AssertionError if it does not come in time."""
        deadline = time.monotonic() + patient(seconds)
        with self._changed:
            while not (found := self.of("state", state)):
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    raise AssertionError(f"no {state} within {seconds:g} s, but: {self.end_of()}")
                self._changed.wait(left)
            return found[0]

    def end(self, seconds: float) -> int:
        """Its exit status, once it has ended; raises AssertionError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended, patient(seconds)):
                raise AssertionError(f"still running after {seconds:g} s: {self.end_of()}")
        return self._program.wait(seconds)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Stopped (SIGSTOP) for the context's length: it hears nothing and answers nothing."""
        os.kill(self._program.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._program.pid, signal.SIGCONT)

    def of(self, kind: str, state: str = "") -> list[Line]:
        """The lines of this type (and state) so far."""
        lines = [line for line in self.lines if line.get("type") == kind]
        return [line for line in lines if not state or line.get("state") == state]

    @property
    def states(self) -> list[str]:
        """In their order."""
        return [line["state"] for line in self.of("state")]

    @property
    def verdict(self) -> Line:
        """The one and only."""
        (verdict,) = self.of("verdict")
        return verdict

    def end_of(self) -> str:
        """The last that it said: for the person who reads a failure."""
        return "\n".join([*self.talk[-10:], *(json.dumps(line) for line in self.lines[-8:])])

    def _read(self) -> None:
        with contextlib.suppress(ValueError), self._log.open("w") as log:
            for line in self._program.lines():
                log.write(f"{line}\n")
                log.flush()
                self._take(line)
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self, line: str) -> None:
        with self._changed:
            if line.startswith("{"):
                self.lines.append(json.loads(line))
            else:
                self.talk.append(line)
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody with `folder` as home, at `place` in the network."""

    place: Namespace
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        homes = {f"XDG_{kind}_HOME": str(self.folder / path) for kind, path in _XDG.items()}
        return {"HOME": str(self.folder), **homes}

    @property
    def escrow(self) -> Path:
        """Where sealed recovery keys are kept."""
        return self.folder / ".local/share/kairos-register/escrow"

    @contextlib.contextmanager
    def register(
        self, photos: Sequence[Path] | Path, config: Path, *more: str, log: str = "register.jsonl"
    ) -> Iterator[Run]:
        """`kairos-register` with JSON lines, until the end of the context."""
        sources = [photos] if isinstance(photos, Path) else photos
        words = ["--config", str(config), "--output", "jsonl", *more, *map(str, sources)]
        with self._running("cli.register", words, log) as run:
            yield run

    @contextlib.contextmanager
    def fleet(self, *words: str, log: str = "fleet.log") -> Iterator[Run]:
        """`kairos-fleet`, until the end of the context."""
        with self._running("cli.fleet", words, log) as run:
            yield run

    @contextlib.contextmanager
    def _running(self, module: str, words: Sequence[str], log: str) -> Iterator[Run]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.place.program(module, *words, environment=self.environment) as program:
            yield Run(program, self.folder / log)
