"""`kairos-node state`: what this machine is running, from where, and how it got there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from node.health import FailedTrial, failed_trial
from node.plan.slots import Entry, entries
from node.started import BootReport, on_trial, read_report
from node.system import board
from node.system.bootpartition import boot_files
from node.system.door import Door
from node.system.reading import names, read
from node.system.upgrading import LastCheck, LastUpgrade, last_check, last_upgrade, records_open

PLACES = ("/", "/etc", "/var", "/oem", "/usr/local", "/boot")
ENTRIES = "EFI/Linux"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """Where, on what kind of file system, and whether it can be written."""

    where: str
    kind: str
    source: str
    writable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """All of it. `known`: whether `upgrade` and `check` could be looked for, on the data volume."""

    mode: str
    version: str
    trial: bool
    entries: Sequence[Entry]
    mounts: Sequence[Mounted]
    start: BootReport | None
    failed: FailedTrial | None
    known: bool
    upgrade: LastUpgrade | None
    check: LastCheck | None

    def to_json(self) -> Mapping[str, Any]:
        """Ready for `json.dumps`."""
        body = asdict(self)
        body["entries"] = [
            {**asdict(entry), "blessed": entry.blessed, "running": self._runs(entry)}
            for entry in self.entries
        ]
        return body

    def _runs(self, entry: Entry) -> bool:
        return self.mode == "installed" and entry.version == self.version

    def text(self) -> Iterator[str]:
        """Lines for people. Whoever prints them escapes control characters."""
        yield f"running   {self.version or 'unknown'} ({self.mode})" + (
            ", on trial" if self.trial else ""
        )
        for entry in self.entries:
            yield f"version   {entry.version}: {_judgement(entry)}" + (
                ", running" if self._runs(entry) else ""
            )
        if self.start is not None:
            why = f" ({self.start.code})" if self.start.code else ""
            yield f"volumes   {self.start.state}{why}" + (
                f", opened by {self.start.means}" if self.start.means else ""
            )
            yield from (f"trouble   {trouble.text}" for trouble in self.start.troubles)
        for mount in self.mounts:
            yield f"mount     {mount.where}: {mount.kind}, " + ("rw" if mount.writable else "ro")
        if self.upgrade is not None:
            yield f"upgrade   {self.upgrade.text}"
        yield f"updates   {self._updates()}"
        if self.failed is not None:
            yield f"failed    {self.failed.version}: {'; '.join(self.failed.reasons)}"

    def _updates(self) -> str:
        if self.check is not None:
            return self.check.text(int(time.time()))
        return "never looked for" if self.known else "unknown: the data volume is closed"


def machine_state(root: Path, run: Door) -> MachineState:
    """Look at everything. Never raises: what cannot be read is not there."""
    boot = boot_files(root, run)
    return MachineState(
        mode=board.mode(root),
        version=board.medium(root),
        trial=on_trial(root),
        entries=entries(names(boot / ENTRIES)) if boot else (),
        mounts=tuple(_mounts(root)),
        start=read_report(root),
        failed=failed_trial(boot) if boot else None,
        known=records_open(root),
        upgrade=last_upgrade(root),
        check=last_check(root),
    )


def _judgement(entry: Entry) -> str:
    if entry.blessed:
        return "good"
    return "bad, all tries used" if entry.exhausted else f"on trial, {entry.left} tries left"


def _mounts(root: Path) -> Iterator[Mounted]:
    """The last mount of each place: what is seen there (proc_pid_mountinfo(5))."""
    found: dict[str, Mounted] = {}
    for line in read(root / "proc/self/mountinfo").decode("utf-8", "replace").splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if len(fields) < 6 or len(rest) < 3 or fields[4] not in PLACES:
            continue
        # Of the mount, and of the file system below it.
        writable = "rw" in fields[5].split(",") and "rw" in rest[2].split(",")
        found[fields[4]] = Mounted(where=fields[4], kind=rest[0], source=rest[1], writable=writable)
    return iter(sorted(found.values(), key=lambda mount: PLACES.index(mount.where)))
