"""The machines that this station has registered, as its records know them."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from cli.inventory import Entry, Inventory, Origin, Retirement
from cli.labels import Labels, text_of
from cli.records import Records, StoredEscrow, StoredLease
from pairing import errors, keys
from pairing.events import State, reached
from pairing.protocol.messages import ReportKey

QUIET_AFTER = timedelta(minutes=30)
"""A machine that is not done says something more often than this, unless its line is dead."""


class Condition(enum.StrEnum):
    """What a machine means to its operator."""

    IN_ORDER = "in-order"
    WORKING = "working"
    QUIET = "quiet"
    LOCKED = "locked"
    FAILED = "failed"
    REFUSED = "refused"
    REHEARSED = "rehearsed"
    SUPERSEDED = "superseded"
    RETIRED = "retired"


NEEDS_SOMEBODY = (Condition.FAILED, Condition.LOCKED, Condition.QUIET, Condition.REFUSED)
COUNTED = (*NEEDS_SOMEBODY, Condition.WORKING, Condition.IN_ORDER)
"""The others are history: rehearsals, retired machines, earlier installations of a machine."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One machine. `state`, `at` (UTC), `code` and `step` are what was heard of it last.

    `told`: the last thing that it told its operator after it was registered, with its time.
    """

    stored: StoredLease
    serial: str
    state: str
    at: str
    code: str
    step: str = ""
    rehearsed: bool = False
    entry: Entry = field(default_factory=Entry)
    superseded: bool = False
    """The same hardware was installed again later."""
    told: str = ""

    @property
    def report(self) -> ReportKey:
        """Its keys, of an open node and of a locked one."""
        report = self.stored.known.report
        assert report is not None, "only nodes with a report key are listed"
        return report

    @property
    def node(self) -> str:
        """Its fingerprint."""
        return keys.fingerprint(self.report.node)

    @property
    def hostname(self) -> str:
        """The host name that it was given."""
        return self.stored.hostname

    @property
    def labels(self) -> Labels:
        """Its labels."""
        return self.entry.labels

    @property
    def retired(self) -> Retirement | None:
        """Whether it is retired."""
        return self.entry.retired

    @property
    def current(self) -> bool:
        """Whether it counts: neither retired nor installed again later."""
        return self.retired is None and not self.superseded

    @property
    def said(self) -> str:
        """Its state with the code, for people."""
        return f"{self.state} ({self.code})" if self.code else self.state or "nothing heard"

    @property
    def on_disk(self) -> bool:
        """Whether its disk was written: what was on it before is gone."""
        return self.state in _ON_DISK and not self.rehearsed

    def condition(self, now: datetime, quiet_after: timedelta = QUIET_AFTER) -> Condition:
        """What it means now."""
        if self.retired:
            return Condition.RETIRED
        if self.superseded:
            return Condition.SUPERSEDED
        if self.rehearsed:
            return Condition.REHEARSED
        ended = _ENDS.get(self.state)
        if ended:
            return ended
        if self.state and reached(State(self.state), self.entry.origin.goal):
            return Condition.IN_ORDER
        silence = self.silence(now)
        quiet = silence is None or silence > quiet_after
        return Condition.QUIET if quiet else Condition.WORKING

    def silence(self, now: datetime) -> timedelta | None:
        """Since it was heard last, or else since its config left."""
        try:
            return now - datetime.fromisoformat(self.at or self.stored.kept)
        except (ValueError, TypeError):
            return None

    def to_json(self, now: datetime, quiet_after: timedelta = QUIET_AFTER) -> dict[str, Any]:
        """For `--output jsonl`."""
        return {
            "schema": 1,
            "node": self.node,
            "hostname": self.hostname,
            "serial": self.serial,
            "condition": self.condition(now, quiet_after).value,
            "state": self.state,
            "code": self.code,
            "at": self.at,
            "step": self.step,
            "labels": dict(self.labels),
            "retired": self.entry.to_json()["retired"],
            "replaces": self.entry.replaces,
            "told": self.told,
        }

    def cells(self, now: datetime, quiet_after: timedelta = QUIET_AFTER) -> dict[str, str]:
        """The same for a table, without the labels."""
        body = self.to_json(now, quiet_after)
        retired = self.retired.text if self.retired else ""
        return {key: str(value) for key, value in body.items()} | {"retired": retired}

    def line(self) -> str:
        """For people."""
        what = f"retired {self.retired.text}" if self.retired else self.said
        what = f"{what}, installed again later" if self.superseded else what
        name, serial, labels = self.hostname or "-", self.serial or "-", text_of(self.labels)
        return f"{self.node}  {name:<20}  {serial:<20}  {what}  {self.at}  {labels}".rstrip()


_ON_DISK = frozenset(
    state.value for state in State if reached(state, State.WRITTEN) or state is State.LOCKED
)
_ENDS: Mapping[str, Condition] = {
    State.FAILED.value: Condition.FAILED,
    State.LOCKED.value: Condition.LOCKED,
    State.REFUSED.value: Condition.REFUSED,
}


def all_nodes(records: Records) -> list[NodeRecord]:
    """Every machine that a config was released to, the last registered at the end.

    Raises errors.RecordDamaged.
    """
    inventory = Inventory(records.folder)
    later: dict[tuple[str, str], list[Origin]] = {}
    found: list[NodeRecord] = []
    for stored in reversed(records.nodes()):
        node = _record(records, inventory, stored)
        origin = node.entry.origin
        again = later.setdefault((origin.serial, origin.uuid), [])
        found.append(replace(node, superseded=any(map(origin.same_hardware, again))))
        if node.on_disk:
            again.append(origin)
    return found[::-1]


def _record(records: Records, inventory: Inventory, stored: StoredLease) -> NodeRecord:
    assert stored.known.report is not None
    name = keys.fingerprint(stored.known.report.node)
    history = records.history(name)
    states = [body for body in history if body.get("type") == "state"]
    last, steps = (states or [{}])[-1], [body["step"] for body in history if body.get("step")]
    told = [body for body in history if body.get("type") == "log" and body.get("code")]
    serials = [str(body["serial"]) for body in history if body.get("serial")]
    entry = inventory.entry(name)
    return NodeRecord(
        stored,
        serial=serials[-1] if serials else entry.origin.serial,
        state=_known_state(last),
        at=str((history or [{}])[-1].get("at", "")),
        code=str(last.get("code", "")),
        step=str(steps[-1]) if steps else "",
        rehearsed=last.get("dry_run") is True,
        entry=entry,
        told=f"{told[-1].get('at', '')} {told[-1].get('text', '')}".strip() if told else "",
    )


def _known_state(body: Mapping[str, Any]) -> str:
    """A state that a later version wrote counts as nothing heard."""
    said = str(body.get("state", ""))
    return said if said in list(State) else ""


def find(records: Records, name: str) -> NodeRecord:
    """By fingerprint, host name or serial number. Raises errors.NodeUnknown, errors.RecordDamaged.

    By fingerprint no other machine's journal is read: there may be thousands.
    """
    stored = records.lease_of(name.upper())
    if stored is not None:
        return _record(records, Inventory(records.folder), stored)
    return pick(all_nodes(records), name)


def pick(nodes: Sequence[NodeRecord], name: str) -> NodeRecord:
    """One of these by its name; who is in use comes before who was. Raises errors.NodeUnknown."""
    found = [node for node in nodes if _is_called(node, name)]
    if not found:
        raise errors.NodeUnknown(element=name)
    found = [node for node in found if node.current] or found
    if len({node.node for node in found}) > 1:
        several = ", ".join(node.node for node in found)
        raise errors.NodeUnknown(f"Several have this name: {several}.", element=name)
    return found[-1]


def _is_called(node: NodeRecord, name: str) -> bool:
    return name.upper() == node.node or name in (node.hostname, node.serial)


def by_key(records: Records, key: bytes) -> NodeRecord:
    """By the key in its code: its own, or that of a locked node. Raises errors.NodeUnknown."""
    for node in all_nodes(records):
        if key in (node.report.node, node.report.key):
            return node
    raise errors.NodeUnknown("(by the code on its screen)", element=keys.fingerprint(key))


def escrow_of(records: Records, node: NodeRecord) -> Sequence[StoredEscrow]:
    """Its escrow records, the best first."""
    return records.escrowed(node.stored.known.lease)


def require_in_use(node: NodeRecord) -> None:
    """Raises errors.NodeRetired."""
    if node.retired:
        raise errors.NodeRetired(f"({node.retired.text})", element=node.hostname or node.node)
