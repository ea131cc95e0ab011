"""What joins an installed machine to a cluster: one interface, one loop (`node.providers.join`).

A provider is found by its entry point (group `kairos_register.providers`, a class without
arguments), or is a program of its own (`node.providers.program`). What it prepares is data; files
are written by the same doors as the config's own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from node.stages.actions import Action
from pairing.config.document import Document
from pairing.events import State
from pairing.facts import Facts
from pairing.process import Result

JOIN_SECONDS = 60.0
"""How long until a provider must have joined, or said why it cannot."""
NETWORKS, CLUSTERS = 10, 50
"""Lower ones are started first. What is below CLUSTERS is no cluster: nobody has joined by it."""
READY_SECONDS = 600.0
"""How long a machine that joined may take to be ready: images are pulled."""


class Command(Protocol):
    """`pairing.process.run`, beside the loop: the same arguments, the same errors."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        seconds: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Awaitable[Result]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What has to be there, and which systemd units are started then, in this order.

    `folders` and `files` are `MakeFolder` and `WriteFile`: a secret belongs in a file of mode 0600
    on persistent storage, never in a unit, an argument or an environment that others can read.
    """

    actions: Sequence[Action] = ()
    units: Sequence[str] = ()
    join_seconds: float = JOIN_SECONDS
    """How long joining may take once `check` has found nothing against it."""
    ready_seconds: float = READY_SECONDS
    """How long it may take from there to being ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a provider may use while it checks and watches.

    `root` is where the system's files are (`/`, or a test's folder); `command` runs a program.
    `log` keeps a line for people; `say_tail` keeps the end of a service's log in place of what it
    kept before. Both take secrets out. Waits are trio's, so that tests turn the clock.
    """

    config: Document = field(repr=False)
    facts: Facts
    root: Path
    command: Command
    log: Callable[[str], None]
    say_tail: Callable[[Sequence[str]], None] = lambda lines: None

    def path(self, name: str) -> Path:
        """The absolute path `name` below `root`."""
        return self.root / name.lstrip("/")


UNIT_FOLDERS = ("etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")


def has_unit(root: Path, name: str) -> bool:
    """Whether the system at `root` has this systemd unit (systemd.unit(5))."""
    return any((root / folder / name).is_file() for folder in UNIT_FOLDERS)


Entered = Callable[[State, str], None]
"""Called with `State.JOINED`, then `State.READY`, each with a sentence for people."""


class Provider(Protocol):
    """One kind of cluster. Everything raises errors.JoinFailed or a class below it."""

    @property
    def name(self) -> str:
        """As in the config and in reports."""

    @property
    def order(self) -> int:
        """Lower ones are started first: NETWORKS, then CLUSTERS."""

    def wanted(self, config: Document) -> bool:
        """Whether the config asks for it."""

    def prepare(self, config: Document, facts: Facts) -> Preparation:
        """What is to be written and started. Pure: the same config gives the same data."""

    async def check(self, scene: Scene) -> None:
        """Before anything is started: can it work at all? Ends within `JOIN_SECONDS`."""

    async def watch(self, scene: Scene, entered: Entered) -> None:
        """From the start of its units until it is ready.

        Calls `entered` once for each state, JOINED within the preparation's `join_seconds`, READY
        within its `ready_seconds` after it; or raises what keeps it from there. One that cannot
        tell whether it is ready returns after JOINED.
        """
