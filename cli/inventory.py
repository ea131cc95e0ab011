"""What an operator notes about a machine: labels, how it was registered, that it is retired.

One file for each machine, `machines/NODE.json` below the data folder, for its owner alone. The
config itself is never in it: only the files' paths and the names of the keys that were `--set`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cli import folders
from cli.labels import Labels
from cli.records import now
from pairing import errors
from pairing.events import State
from pairing.facts import Facts

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How it was registered: the config's files, the keys given by `--set`, the goal.

    `serial`, `uuid` and `macs` are its hardware, to know it again under another key; `at`: when
    (UTC).
    """

    at: str = ""
    files: tuple[str, ...] = ()
    assigned: tuple[str, ...] = ()
    goal: State = State.INSTALLED
    serial: str = ""
    uuid: str = ""
    macs: tuple[str, ...] = ()

    def same_hardware(self, other: Origin) -> bool:
        """Boards without a serial number of their own often share one: a card decides."""
        mine, theirs = (self.serial, self.uuid), (other.serial, other.uuid)
        return bool(self.serial) and mine == theirs and bool(set(self.macs) & set(other.macs))

    def on(self, facts: Facts) -> Origin:
        """The same for a machine with this hardware."""
        macs = tuple(sorted(nic.mac for nic in facts.nics if nic.mac))
        return replace(self, at=now(), serial=facts.serial, uuid=facts.uuid, macs=macs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """Since when (UTC) and why. `replaced_by`: a fingerprint, or empty."""

    at: str
    reason: str = ""
    replaced_by: str = ""

    @property
    def text(self) -> str:
        """For people."""
        why = f"replaced by {self.replaced_by}" if self.replaced_by else self.reason
        return f"{self.at[:10]}{f': {why}' if why else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """All that is noted about one machine. `replaces`: a fingerprint, or empty."""

    labels: Labels = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)
    retired: Retirement | None = None
    replaces: str = ""

    def to_json(self) -> dict[str, Any]:
        """Ready for `json.dumps`."""
        origin, retired = self.origin, self.retired
        return {
            "schema": SCHEMA,
            "labels": dict(self.labels),
            "origin": {
                "at": origin.at,
                "files": list(origin.files),
                "assigned": list(origin.assigned),
                "goal": origin.goal.value,
                "serial": origin.serial,
                "uuid": origin.uuid,
                "macs": list(origin.macs),
            },
            "retired": retired and {
                "at": retired.at,
                "reason": retired.reason,
                "replaced_by": retired.replaced_by,
            },
            "replaces": self.replaces,
        }  # fmt: skip


def from_json(body: Mapping[str, Any]) -> Entry:
    """Raises KeyError, TypeError, ValueError."""
    origin, retired = body["origin"], body["retired"]
    return Entry(
        labels={str(key): str(value) for key, value in body["labels"].items()},
        origin=Origin(
            at=str(origin["at"]),
            files=tuple(map(str, origin["files"])),
            assigned=tuple(map(str, origin["assigned"])),
            goal=State(origin["goal"]),
            serial=str(origin["serial"]),
            uuid=str(origin["uuid"]),
            macs=tuple(map(str, origin["macs"])),
        ),
        retired=retired and Retirement(
            at=str(retired["at"]),
            reason=str(retired["reason"]),
            replaced_by=str(retired["replaced_by"]),
        ),
        replaces=str(body["replaces"]),
    )  # fmt: skip


class Inventory:
    """The notes in one folder. Raises errors.RecordDamaged: whether a machine is retired must not
    be forgotten because a file was damaged."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "machines"

    def entry(self, node: str) -> Entry:
        """What is noted of the machine with this fingerprint; nothing: an empty entry."""
        path = self._path(node)
        try:
            return from_json(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return Entry()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise errors.RecordDamaged(element=str(path)) from None

    def retired_hardware(self, hardware: Origin) -> Retirement | None:
        """Whether this hardware was retired, and has not been registered again since."""
        names = [path.stem for path in self._folder.glob("*.json") if path.name[0] != "."]
        same = [entry for entry in map(self.entry, names) if entry.origin.same_hardware(hardware)]
        last = max(same, key=lambda entry: entry.origin.at, default=Entry())
        return last.retired

    def change(self, node: str, how: Callable[[Entry], Entry]) -> Entry:
        """Note something; on disk on return. One writer at a time, over all processes.

        Raises errors.StoreUnwritable.
        """
        path = self._path(node)
        with folders.locked(self._folder / ".lock"):
            before = self.entry(node)
            after = how(before)
            if after != before:
                data = json.dumps(after.to_json(), indent=1).encode()
                folders.write_private(path, data + b"\n")
        return after

    def _path(self, node: str) -> Path:
        return self._folder / f"{node}.json"
