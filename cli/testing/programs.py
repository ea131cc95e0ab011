"""Node and operator as real processes on loopback, to be killed at any moment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pairing import errors, process
from pairing.testing.watching import screen_with_address

Line = Mapping[str, Any]
"""A line of `--output jsonl`."""
SECONDS = 120.0
"""Nothing here takes longer."""


@dataclass(slots=True)
class Heard:
    """What an operator's command said, and how it ended. Killed: a negative exit."""

    lines: list[Line] = field(default_factory=list)
    exit: int = 1

    def about(self, what: str) -> list[Line]:
        """Its notices about something, or the node's states of this name."""
        return [line for line in self.lines if what in (line.get("about"), state_of(line))]


def state_of(line: Line) -> str | None:
    """The state that a line of the node reports as new."""
    return str(line["state"]) if line.get("type") == "state" else None


@dataclass(frozen=True, slots=True)
class Stage:
    """One node's and one operator's files. `machine`: recorded hardware; `config`: what it gets."""

    folder: Path
    machine: Path
    config: Path

    @property
    def photo(self) -> Path:
        return self.folder / "photo.png"

    @contextlib.contextmanager
    def node(self) -> Iterator[process.Program]:
        """`kairos-node run` as a dry run, once its screen shows an address and was photographed."""
        settings, picture = self.folder / "node.yaml", self.folder / "screen.png"
        settings.write_text("mdns: false\n")
        picture.unlink(missing_ok=True)
        arguments = ["run", "--machine", str(self.machine), "--settings", str(settings)]
        arguments += ["--state", str(self.folder / "state"), "--picture", str(picture)]
        arguments += ["--listen", "127.0.0.1", "--port", "0", "--abort-seconds", "0"]
        program = process.start_program("node", arguments)
        threading.Thread(target=_read_on, args=(program,), daemon=True).start()
        try:
            self.photo.write_bytes(screen_with_address(picture))
            yield program
        finally:
            program.stop()

    def register(self, watch: Callable[[int, Line], None], *, timeout: float = 60) -> Heard:
        """`kairos-register` on the photo, to its end. `watch` gets its pid and each line.

        The first call has an empty line: the process has just started.
        """
        arguments = ["--config", str(self.config), "--wait", "written", "--approve", "yes"]
        arguments += ["--loopback", "--output", "jsonl", "--timeout", str(timeout)]
        heard, home = Heard(), self.folder / "operator"
        program = process.start_program(
            "cli.register", [*arguments, str(self.photo)], environment=_environment(home)
        )
        try:
            watch(program.pid, {})
            for text in program.lines():
                if text.startswith("{"):
                    with contextlib.suppress(ValueError):  # killed in the middle of a line
                        heard.lines.append(json.loads(text))
                        watch(program.pid, heard.lines[-1])
            heard.exit = program.wait(SECONDS)
        finally:
            program.stop()
        return heard

    def journal(self) -> list[Line]:
        """Everything that the operator has on disk of all nodes' events."""
        found = sorted(self.folder.glob("operator/data/kairos-register/journal/*.jsonl"))
        return [json.loads(line) for path in found for line in path.read_text().splitlines()]

    def escrow(self) -> list[Line]:
        """The operator's records of recovery keys."""
        found = self.folder.glob("operator/data/kairos-register/escrow/*.json")
        return [json.loads(path.read_text()) for path in found]


def _environment(home: Path) -> dict[str, str]:
    home.mkdir(exist_ok=True)
    return {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
    }


def _read_on(program: process.Program) -> None:
    with contextlib.suppress(ValueError, OSError, errors.KnownError):
        for _ in program.lines():
            pass


def kill_after(seconds: float, pid: int) -> threading.Timer:
    """SIGKILL for a process, so many seconds from now."""

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    return timer
