"""Machines that go out of use: marked as retired, their escrow kept, moved away or destroyed."""

from __future__ import annotations

import enum
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cli import folders
from cli.audit import Audit
from cli.inventory import Entry, Inventory, Retirement
from cli.keyring import Keyring
from cli.nodes import NodeRecord
from cli.records import Records, StoredEscrow, now
from pairing import errors
from pairing.durable import flush_folder

REASON_LIMIT = 200


class EscrowFate(enum.StrEnum):
    """What becomes of the sealed recovery keys of a retired machine."""

    KEPT = "kept"
    ARCHIVED = "archived"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class Leaving:
    """A machine that is to be retired, and its escrow records."""

    node: NodeRecord
    escrow: Sequence[StoredEscrow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retiring:
    """How machines are retired. `archive`: a folder for their escrow records."""

    records: Records
    keyring: Keyring
    reason: str = ""
    archive: Path | None = None
    destroy: bool = False
    replaced_by: str = ""

    @property
    def fate(self) -> EscrowFate:
        """What becomes of their escrow."""
        if self.destroy:
            return EscrowFate.DESTROYED
        return EscrowFate.ARCHIVED if self.archive else EscrowFate.KEPT

    def look(self, nodes: Sequence[NodeRecord]) -> list[Leaving]:
        """What would be concerned; nothing is changed."""
        found = self.records.all_escrow()
        return [
            Leaving(node, [one for one in found if one.record.node == node.report.node])
            for node in nodes
        ]

    def retire(self, leaving: Sequence[Leaving]) -> None:
        """Do it, each line of the audit log first. What is done twice stays done.

        Raises errors.StoreUnwritable, errors.AuditBroken.
        """
        about = {"reason": self.reason, "escrow": self.fate.value, "by": self.replaced_by}
        said = {name: value for name, value in about.items() if value}
        lines = [
            ("retired", one.node.node, {**said, "records": str(len(one.escrow))}) for one in leaving
        ]
        Audit(self.records.folder, self.keyring.operator()).note_all(lines)
        inventory = Inventory(self.records.folder)
        for one in leaving:
            inventory.change(one.node.node, self._mark)
            for stored in one.escrow:
                self._dispose(stored)

    def _mark(self, entry: Entry) -> Entry:
        before = entry.retired or Retirement(at=now(), reason=self.reason)
        by = self.replaced_by or before.replaced_by
        marked = replace(before, reason=self.reason or before.reason, replaced_by=by)
        return replace(entry, retired=marked)

    def _dispose(self, stored: StoredEscrow) -> None:
        path = stored.path
        if self.archive is not None:
            _copy(path, self.archive / path.name)
        if self.fate is not EscrowFate.KEPT:
            path.unlink(missing_ok=True)
            flush_folder(path.parent)

    def undo(self, nodes: Sequence[NodeRecord]) -> None:
        """Take machines back into use."""
        lines = [("taken-back", node.node, dict[str, str]()) for node in nodes]
        Audit(self.records.folder, self.keyring.operator()).note_all(lines)
        inventory = Inventory(self.records.folder)
        for node in nodes:
            inventory.change(node.node, lambda entry: replace(entry, retired=None))


def _copy(path: Path, to: Path) -> None:
    """Raises errors.StoreUnwritable; the original is still there then."""
    folders.make_private(to.parent)
    try:
        data = path.read_bytes()
        folders.write_private(to, data, replace=False)
    except FileExistsError:
        if to.read_bytes() != data:
            said = "There is another file of this name."
            raise errors.StoreUnwritable(said, element=str(to)) from None
    except OSError as wrong:
        raise errors.StoreUnwritable(f"({wrong.strerror})", element=str(to)) from None


def check_reason(reason: str) -> str:
    """Raises errors.UsageError."""
    if len(reason) > REASON_LIMIT or not reason.isprintable():
        raise errors.UsageError(f"A reason is one line of at most {REASON_LIMIT} characters.")
    return reason


def check_archive(folder: str | None, *, make: bool) -> Path | None:
    """An absolute path; made, and writable. Raises errors.StoreUnwritable."""
    if folder is None:
        return None
    path = Path(folder).absolute()
    if make:
        folders.make_private(path)
        if not os.access(path, os.W_OK):
            raise errors.StoreUnwritable("(not writable)", element=folder)
    return path
