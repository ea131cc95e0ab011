"""The audit log: who used which power over which machine, one signed line each, never changed.

Every line holds the hash of the line before and the operator's signature, so that a line that was
changed, left out or put in is noticed, and each says whose it is. Lines at the end that were cut
off by whoever owns the file are noticed only by comparison with a copy: keep one elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli import folders
from cli.records import now
from node.journal import Journal
from pairing import errors, keys
from pairing.protocol.frames import canonical
from pairing.protocol.wire import to_base64, unbase64

SCHEMA = 1
DOMAIN = "audit"
START = "0" * 64
NAME = "audit.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line. `node` is a fingerprint, `operator` a public key, `about` more by name; no secrets.

    `number` counts from 1; `at` is UTC.
    """

    number: int
    at: str
    action: str
    node: str
    operator: bytes
    about: Mapping[str, str]


class Audit:
    """The log in one folder. Raises errors.StoreUnwritable, errors.AuditBroken."""

    def __init__(self, folder: Path, key: keys.SigningKey) -> None:
        self.path, self._key = folder / NAME, key

    def note(self, action: str, node: str, **about: str) -> None:
        """Add a line; it is on disk on return."""
        self.note_all([(action, node, about)])

    def note_all(self, what: Sequence[tuple[str, str, Mapping[str, str]]]) -> None:
        """Add lines (action, node, about): the log is checked once for all of them."""
        with folders.locked(self.path.with_suffix(".lock")), _journal(self.path) as journal:
            number = len(check(journal.records, element=str(self.path)))
            for action, node, about in what:
                number += 1
                self._append(journal, number, action, node, about)

    def _append(
        self, journal: Journal, number: int, action: str, node: str, about: Mapping[str, str]
    ) -> None:
        body: dict[str, Any] = {
            "schema": SCHEMA,
            "number": number,
            "at": now(),
            "action": action,
            "node": node,
            "operator": to_base64(self._key.public),
            "about": dict(about),
            "previous": _hash(journal.records[-1]) if journal.records else START,
        }
        body["signature"] = to_base64(self._key.sign(DOMAIN, canonical(body)))
        try:
            journal.append(body)
        except errors.JournalUnwritable as wrong:
            raise errors.StoreUnwritable(wrong.detail, element=str(self.path)) from None


def read(folder: Path) -> Sequence[Entry]:
    """All of it, checked. Raises errors.AuditBroken, errors.StoreUnwritable."""
    path = folder / NAME
    if not path.exists():
        return ()
    with folders.locked(path.with_suffix(".lock")), _journal(path) as journal:
        return check(journal.records, element=str(path))


def check(records: Sequence[Mapping[str, Any]], *, element: str) -> Sequence[Entry]:
    """The lines, if each follows from the one before and is signed. Raises errors.AuditBroken."""
    found: list[Entry] = []
    previous = START
    for number, record in enumerate(records, 1):
        entry = _entry(record, number, previous)
        if entry is None:
            raise errors.AuditBroken(f"Line {number} is not what was written.", element=element)
        found.append(entry)
        previous = _hash(record)
    return tuple(found)


def _entry(record: Mapping[str, Any], number: int, previous: str) -> Entry | None:
    try:
        body = {name: value for name, value in record.items() if name != "signature"}
        operator, signature = unbase64(body["operator"]), unbase64(record["signature"])
        right = (body["schema"], body["number"], body["previous"]) == (SCHEMA, number, previous)
        if not right or not keys.verified(operator, DOMAIN, canonical(body), signature):
            return None
        return Entry(
            number=number,
            at=str(body["at"]),
            action=str(body["action"]),
            node=str(body["node"]),
            operator=operator,
            about={str(name): str(value) for name, value in body["about"].items()},
        )
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def _hash(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(record)).hexdigest()


@contextlib.contextmanager
def _journal(path: Path) -> Iterator[Journal]:
    try:
        journal = Journal(path)
    except errors.JournalDamaged as wrong:
        raise errors.AuditBroken(wrong.detail, element=str(path)) from None
    except errors.JournalUnwritable as wrong:
        raise errors.StoreUnwritable(wrong.detail, element=str(path)) from None
    with journal:
        yield journal
