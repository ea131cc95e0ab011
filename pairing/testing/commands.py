"""The real commands as processes, each in a network namespace: what an end-to-end test runs."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pairing.process import Program
from pairing.testing.netns import Namespace

_XDG = ("CONFIG", "DATA", "STATE", "CACHE", "RUNTIME")
Event = dict[str, Any]
"""A line of `--output jsonl`."""


@dataclass
class Commands:
    """Starts commands that keep everything below `folder`. Nodes run until `close`.

    `machine` is the recorded machine that every node pretends to be, `config` what operators send.
    """

    folder: Path
    machine: Path
    config: Path
    wanted: Sequence[str] = ("--wait", "written", "--approve", "yes")
    """What every registration is told beside its config."""
    said: dict[int, deque[str]] = field(default_factory=dict)
    """The last lines of every node, by number: what to look at when a test fails."""
    _running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def node(
        self,
        inside: Namespace,
        number: int,
        *more: str,
        environment: Mapping[str, str] | None = None,
    ) -> Path:
        """`kairos-node run`, with the serial number `serial-<number>`; its screen's picture."""
        picture, machine = self.folder / f"{number}.png", self.folder / f"{number}.json"
        facts = json.loads(self.machine.read_text(encoding="utf-8"))
        machine.write_text(json.dumps({**facts, "serial": f"serial-{number}"}), encoding="utf-8")
        state = self.folder / f"state-{number}"
        arguments: list[str | Path] = ["--machine", machine, "--picture", picture, "--state", state]
        arguments += ["--port", "0", "--abort-seconds", "0", *more]
        program = self._running.enter_context(
            inside.program("node", "run", *map(str, arguments), environment=environment)
        )
        said = self.said[number] = deque(maxlen=50)
        for line in program.lines():
            said.append(line)
            if line == "code shown":
                threading.Thread(target=_read_on, args=(program, said), daemon=True).start()
                return picture
        raise AssertionError(f"node {number} ended: {said}")

    def register(self, inside: Namespace, pictures: Sequence[Path], *more: str) -> Iterator[Event]:
        """`kairos-register`, with what is wanted: its events and verdicts as they come."""
        arguments: list[str | Path] = ["--config", self.config, *self.wanted]
        arguments += ["--output", "jsonl", *more, *pictures]
        environment = {f"XDG_{kind}_HOME": str(self.folder / "operator") for kind in _XDG}
        with inside.program(
            "cli.register", *map(str, arguments), environment=environment
        ) as program:
            for line in program.lines():
                if line.startswith("{"):
                    yield json.loads(line)


def verdicts(events: Sequence[Event]) -> list[tuple[int, str]]:
    """Exit code and serial number of every verdict."""
    return [(event["exit"], event["serial"]) for event in events if event["type"] == "verdict"]


def _read_on(program: Program, said: deque[str]) -> None:
    """A program whose pipe nobody reads would stop one day."""
    with contextlib.suppress(ValueError):  # the pipe was closed
        said.extend(program.lines())
