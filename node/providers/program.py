"""A provider that is a program of its own, as Kairos' providers are.

It is called with an event's name as its argument, reads `{"name", "data"}` from standard input and
answers `{"state", "data", "error"}` on standard output, where `data` is JSON as text
(github.com/mudler/go-pluggable; the names are kairos-sdk's, package bus). A config is never an
argument nor in the environment.

`agent.bootstrap` is Kairos' own: `data` holds the config, and an answer without an error means that
the program did what it had to. Then `kairos-register.status` is asked, which Kairos does not know:
the answer's `state` is `joined` or `ready`; a program that leaves it empty has joined, and nobody
can tell more.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import trio

from node.providers.base import Entered, Preparation, Scene
from pairing import errors
from pairing.config.document import Document
from pairing.config.dump import dump
from pairing.events import State
from pairing.facts import Facts

FOLDERS = ("/usr/lib/kairos-register/providers.d", "/system/providers")
"""Ours, and that of Kairos' images; both are part of the read-only image."""
PREFIX = "agent-provider-"
"""Kairos' names begin so; here what follows is the name."""
BOOTSTRAP = "agent.bootstrap"
STATUS = "kairos-register.status"
LOG = "/var/log/kairos/agent-provider.log"
BOOTSTRAP_SECONDS = 300.0
STATUS_SECONDS = 20.0
PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider's program answered."""

    state: str
    error: str


@dataclass(frozen=True, slots=True)
class Program:
    """One executable. It is only started when the config names it in `providers`."""

    path: str
    order: int = 50

    @property
    def name(self) -> str:
        return Path(self.path).name.removeprefix(PREFIX)

    def wanted(self, config: Document) -> bool:
        """Only by name: two that act on the same keys would get into each other's way."""
        return self.name in (config.get("providers") or ())

    def prepare(self, config: Document, facts: Facts) -> Preparation:
        """Nothing: the program writes and starts what it needs."""
        return Preparation(join_seconds=BOOTSTRAP_SECONDS + STATUS_SECONDS)

    async def check(self, scene: Scene) -> None:
        await trio.lowlevel.checkpoint()
        if not os.access(scene.path(self.path), os.X_OK):
            raise errors.JoinProgramMissing(element=self.name)

    async def watch(self, scene: Scene, entered: Entered) -> None:
        config = dump(scene.config).decode()
        # Kairos' agent names an address of its mesh VPN; there is none here.
        data = {"api": "", "config": config, "logfile": LOG}
        await self._ask(scene, BOOTSTRAP, data, BOOTSTRAP_SECONDS)
        joined = False
        while True:
            answer = await self._ask(scene, STATUS, {"config": config}, STATUS_SECONDS)
            if answer.state in ("", "joined", "ready") and not joined:
                entered(State.JOINED, f"{self.name} says that this machine has joined")
                joined = True
            if answer.state == "":
                return
            if answer.state == "ready":
                entered(State.READY, f"{self.name} says that this machine is ready")
                return
            await trio.sleep(PAUSE)

    async def _ask(self, scene: Scene, event: str, data: dict[str, str], seconds: float) -> Answer:
        """One event. Raises errors.ProviderBroken, errors.JoinFailed with the program's words."""
        body = json.dumps({"name": event, "data": json.dumps(data)}).encode()
        argv = (str(scene.path(self.path)), event)
        result = await scene.command(argv, seconds=seconds, stdin=body, check=False)
        scene.say_tail(result.stderr.decode("utf-8", "replace").splitlines())
        if result.status != 0:
            raise errors.ProviderBroken(f"Status {result.status}.", element=self.name)
        answer = _answer(result.stdout)
        if answer is None:
            raise errors.ProviderBroken("It answered no JSON object.", element=self.name)
        if answer.error:
            raise errors.JoinFailed(answer.error[:1000], element=self.name)
        return answer


def programs(root: Path) -> list[Program]:
    """Every executable in the folders, by name."""
    found = [
        Program(f"{folder}/{path.name}")
        for folder in FOLDERS
        for path in sorted((root / folder.lstrip("/")).glob("*"))
        if path.is_file() and os.access(path, os.X_OK)
        if folder == FOLDERS[0] or path.name.startswith(PREFIX)
    ]
    return sorted({one.name: one for one in reversed(found)}.values(), key=lambda one: one.name)


def _answer(text: bytes) -> Answer | None:
    try:
        body = json.loads(text)
        return Answer(str(body.get("state") or ""), str(body.get("error") or ""))
    except (ValueError, AttributeError):
        return None
