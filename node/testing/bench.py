"""An installation on a recorded machine, with an operator who keeps keys, killed wherever asked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from node.execute import Outcome, execute
from node.journal import Journal
from node.plan.install import plan_install
from node.recoverykey import RecoveryKey
from node.steps import EscrowKey, Plan
from node.system.recorded import RecordedMachine
from pairing.config.document import Document, from_plain
from pairing.config.problem import Mark
from pairing.facts import Facts, Image

MIB = 2**20
IMAGE = Image(version="1.0.0", root=300 * MIB, verity=3 * MIB, policies=True)


class Killed(BaseException):
    """The process dies here."""


def wiping_plan(facts: Facts, encrypt: object) -> Plan:
    """The plan that installs `facts`' only fixed disk anew. `encrypt`: as in `install.encrypt`."""
    value = {"hostname": "shop-17", "install": {"wipe": True, "encrypt": encrypt}}
    document = Document(from_plain(value, Mark("config.yaml", 1, 1)))
    return plan_install(replace(facts, image=IMAGE), document)


@dataclass
class Bench:
    """`path` is the journal's. `run` raises Killed at the place with the number `kill_at`.

    Before every write it is asserted that the operator acknowledged a key, if there is one.
    """

    path: Path
    facts: Facts
    plan: Plan
    kill_at: int = -1
    count: int = 0
    """Places passed, where it could have been killed: writes and reports."""
    events: list[tuple[str, str, int, int]] = field(default_factory=list)
    """Step, number ("3/9"), done, total of every report."""
    kept: list[str] = field(default_factory=list)
    """Fingerprints of the keys that the operator acknowledged."""
    machine: RecordedMachine = field(init=False)

    def __post_init__(self) -> None:
        self.machine = RecordedMachine(self.facts, self.before_write)

    def before_write(self, what: str) -> None:
        """Called before every write to disk or firmware."""
        self.place()
        assert self.kept or self.plan.encryption == "none", f"{what} before any acknowledgement"

    def place(self) -> None:
        """One place where the process may die."""
        self.count += 1
        if self.count == self.kill_at:
            raise Killed

    def emit(self, step: str, of: str, done: int, total: int, text: str, /) -> None:
        """See `node.execute.Emit`."""
        assert text
        self.place()
        self.events.append((step, of, done, total))

    async def escrow(self, step: EscrowKey, key: RecoveryKey) -> str:
        """See `node.execute.Escrow`."""
        await trio.lowlevel.checkpoint()
        self.kept.append(key.fingerprint)
        return f"receipt {len(self.kept)}"

    async def run(self, *, key: RecoveryKey | None = None, dry_run: bool = False) -> Outcome:
        """Execute the plan with this journal, from where it stands."""
        with Journal(self.path) as journal:
            return await execute(
                self.plan,
                journal=journal,
                emit=self.emit,
                escrow=self.escrow,
                dry_run=dry_run,
                handlers=self.machine.handlers,
                key=key,
            )

    def assert_installed(self) -> None:
        """The disk is complete, the marker was last, its volumes have the last acknowledged key."""
        disk = self.machine.disk
        assert (disk.complete, disk.table, disk.config) == (True, True, True)
        assert disk.boot_order
        encrypted = self.plan.encryption != "none"
        assert set(disk.volumes) == ({"KR_OEM", "KR_PERSISTENT"} if encrypted else set())
        assert set(disk.volumes.values()) == ({self.kept[-1]} if encrypted else set())
        assert self.machine.writes[-1] == "completion marker"
