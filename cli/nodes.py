"""The machines that this station has registered, as its records know them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cli.records import Records, StoredEscrow, StoredLease
from pairing import errors, keys
from pairing.protocol.messages import ReportKey


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One machine. `state`, `at` (UTC) and `code` are what was heard of it last."""

    stored: StoredLease
    serial: str
    state: str
    at: str
    code: str

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

    def to_json(self) -> dict[str, Any]:
        """For `--output jsonl`."""
        return {
            "schema": 1,
            "node": self.node,
            "hostname": self.hostname,
            "serial": self.serial,
            "state": self.state,
            "code": self.code,
            "at": self.at,
        }


def all_nodes(records: Records) -> list[NodeRecord]:
    """Every machine that a config was released to, the last registered at the end."""
    return [_record(records, stored) for stored in records.nodes()]


def _record(records: Records, stored: StoredLease) -> NodeRecord:
    assert stored.known.report is not None
    history = records.history(keys.fingerprint(stored.known.report.node))
    states = [body for body in history if body.get("type") == "state"]
    last = states[-1] if states else {}
    serials = [str(body["serial"]) for body in history if body.get("serial")]
    return NodeRecord(
        stored,
        serial=serials[-1] if serials else "",
        state=str(last.get("state", "")),
        at=str(last.get("at", "")),
        code=str(last.get("code", "")),
    )


def find(records: Records, name: str) -> NodeRecord:
    """By fingerprint, host name or serial number. Raises errors.NodeUnknown."""
    found = [node for node in all_nodes(records) if _is_called(node, name)]
    if not found:
        raise errors.NodeUnknown(element=name)
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
