"""A scratch system, a stand-in for systemd, and a listener for what a provider reports."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from node.image import product
from node.providers.k3s.settings import KEYS
from node.testing import k3s_stand_in
from node.testing.certificates import Authority
from node.testing.k3s_supervisor import Supervisor, running
from pairing.config.document import Document, from_plain
from pairing.config.problem import Mark
from pairing.events import State
from pairing.process import Result

NODE = "worker-1"


def document(value: Mapping[str, Any]) -> Document:
    return Document(from_plain(value, Mark("config.yaml")))


@dataclass
class Heard:
    """What a provider reported. See `node.providers.join.Reporter`."""

    states: list[tuple[State, str]] = field(default_factory=list)
    steps: list[tuple[str, str, int, int, str]] = field(default_factory=list)

    def entered(self, state: State, *, code: str = "", text: str = "") -> None:
        assert not code
        self.states.append((state, text))

    def progressed(self, step: str, of: str, done: int, total: int, text: str = "") -> None:
        self.steps.append((step, of, done, total, text))


@dataclass
class Systemd:
    """A stand-in for `pairing.process.run`: starts the stand-in of k3s, as its unit would be."""

    root: Path
    start: Callable[[Mapping[str, str]], None]
    calls: list[tuple[tuple[str, ...], dict[str, Any]]] = field(default_factory=list)
    then: Callable[[], None] = lambda: None
    log: str = ""
    state: str = "active"
    restarts: int = 0

    def __call__(self, argv: Sequence[str], **how: Any) -> Result:
        self.calls.append((tuple(argv), how))
        match list(argv):
            case ["systemctl", "start", "--no-block", unit]:
                self.begin(unit)
            case ["systemctl", "show", *_]:
                return self.said(f"ActiveState={self.state}\nNRestarts={self.restarts}\n")
            case ["journalctl", *_]:
                return self.said(self.log)
        return self.said("")

    def begin(self, unit: str) -> None:
        """Read the files as systemd does, and run the stand-in."""
        role = {"k3s.service": "server", "k3s-agent.service": "agent"}[unit]
        drop_in = self.root / f"etc/systemd/system/{unit}.d/10-kairos.conf"
        file = drop_in.read_text().partition("EnvironmentFile=-")[2].strip()
        lines = (self.root / file.lstrip("/")).read_text().splitlines()
        environment = dict(shlex.split(line)[0].split("=", 1) for line in lines)
        k3s_stand_in.record([role], environment, self.root)
        try:
            self.start(environment)
            self.then()
        except (SystemExit, OSError) as wrong:
            self.log += f"level=info msg={str(wrong)!r}\n"

    @staticmethod
    def said(text: str) -> Result:
        return Result(0, text.encode(), b"")


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """An installed system's files, with a k3s."""
    root = tmp_path / "system"
    for folder in ("etc", "usr/bin"):
        (root / folder).mkdir(parents=True)
    (root / "usr/bin/k3s").write_text("#!/bin/sh\n")
    units = root / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    for role in KEYS.values():
        shutil.copy(product.UNITS / f"{role}.service", units)
    return root


@pytest.fixture
def systemd(system: Path) -> Systemd:
    return Systemd(system, lambda environment: k3s_stand_in.join(environment, system, NODE))


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """A fake of a k3s server, serving."""
    folder = tmp_path / "server"
    folder.mkdir()
    with running(Supervisor(Authority.new("k3s-server-ca")), folder) as server:
        yield server
