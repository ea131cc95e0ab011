"""Labels given to machines and taken away, noted in the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cli.audit import Audit
from cli.inventory import Entry, Inventory
from cli.keyring import Keyring
from cli.labels import Labels, text_of
from cli.nodes import NodeRecord
from cli.records import Records
from pairing.report import safe


@dataclass(frozen=True, slots=True)
class Change:
    """What one machine gets and loses."""

    node: NodeRecord
    given: Labels
    removed: frozenset[str]

    @property
    def after(self) -> Labels:
        """Its labels then."""
        return self.of(self.node.labels)

    def of(self, labels: Labels) -> dict[str, str]:
        """These labels, changed."""
        both = {**labels, **self.given}
        return {key: value for key, value in both.items() if key not in self.removed}

    @property
    def needed(self) -> bool:
        """Whether it changes anything."""
        return self.after != self.node.labels

    @property
    def text(self) -> str:
        """For people."""
        name = self.node.hostname or self.node.serial or self.node.node
        return safe(f"{name}: {text_of(self.after) or 'no labels'}")

    def to_json(self) -> dict[str, Any]:
        """For `--output jsonl`."""
        return {"schema": 1, "node": self.node.node, "labels": dict(self.after)}

    def apply(self, entry: Entry) -> Entry:
        """The machine's notes with the change."""
        return replace(entry, labels=self.of(entry.labels))


def carry_out(records: Records, keyring: Keyring, changes: Sequence[Change]) -> None:
    """Raises errors.StoreUnwritable, errors.AuditBroken, errors.RecordDamaged."""
    if not changes:
        return
    lines = []
    for change in changes:
        about = {"labels": text_of(change.given), "removed": " ".join(sorted(change.removed))}
        said = {name: value for name, value in about.items() if value}
        lines.append(("labelled", change.node.node, said))
    Audit(records.folder, keyring.operator()).note_all(lines)
    inventory = Inventory(records.folder)
    for change in changes:
        inventory.change(change.node.node, change.apply)
