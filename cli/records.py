"""What an operator must never lose: escrowed recovery keys, leases, and the journal of each node.

Below the data folder, for its owner alone:

    escrow/DIGEST.json      a sealed recovery key; completed by the node's proof
    leases/TOKEN.json       finds a claimed node again; TOKEN is the token's name, not the token
    journal/NODE.jsonl      every event of a node, one checksummed line each
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli import folders
from node.journal import Journal, parse
from pairing import errors, keys
from pairing.events import Event, EventType, State
from pairing.protocol import handshake
from pairing.protocol.messages import EscrowRecord, ReportKey, VolumeProof
from pairing.protocol.terms import KnownLease
from pairing.protocol.wire import to_base64, unbase64

SCHEMA = 1


def now() -> str:
    """UTC as ISO 8601, to the millisecond."""
    stamp = time.time()
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(stamp)) + f".{int(stamp * 1000) % 1000:03d}Z"
    )


@dataclass(frozen=True, slots=True)
class StoredLease:
    """A lease from an earlier run. `released`: a config may have left for this node.

    `hostname` is the one that it was given, as far as it is known; `kept`: when (UTC).
    """

    known: KnownLease
    released: bool
    hostname: str = ""
    kept: str = ""


@dataclass(frozen=True, slots=True)
class StoredEscrow:
    """A sealed recovery key. Without `proof` it is not known to open anything."""

    path: Path
    record: EscrowRecord
    kept: str
    proof: VolumeProof | None


class Records:
    """The operator's records in one folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or folders.data_folder()

    # --- escrow ---------------------------------------------------------------------------------

    def keep_escrow(self, record: EscrowRecord, signature: bytes) -> Path:
        """Store a sealed recovery key; it is on disk and read back when this returns.

        Raises errors.StoreUnwritable.
        """
        path = self._escrow(handshake.record_digest(record))
        body = {
            "schema": SCHEMA,
            "kept": now(),
            "record": record.to_json(),
            "signature": to_base64(signature),
        }
        self._write(path, body)
        return path

    def keep_proof(self, proof: VolumeProof, signature: bytes) -> Path:
        """Complete the record that the proof names. Raises errors.StoreUnwritable."""
        path = self._escrow(proof.digest)
        body = {
            **self._read(path),
            "proof": proof.to_json(),
            "proof_signature": to_base64(signature),
            "proved": now(),
        }
        self._write(path, body)
        return path

    def has_escrow(self, digest: bytes) -> bool:
        """Whether the record with this digest is here."""
        return self._escrow(digest).exists()

    def _escrow(self, digest: bytes) -> Path:
        return self.folder / "escrow" / f"{digest.hex()[:32]}.json"

    # --- leases ---------------------------------------------------------------------------------

    def lease(self, token: str) -> StoredLease | None:
        """The lease that a token (by name) got in an earlier run. A damaged file counts as none."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            body = json.loads(self._lease(token).read_bytes())
            report = ReportKey.from_json(body["report"]) if body.get("report") else None
            known = KnownLease(unbase64(body["lease"]), unbase64(body["secret"]), report)
            hostname, kept = str(body.get("hostname", "")), str(body.get("kept", ""))
            return StoredLease(known, body["released"] is True, hostname, kept)
        return None

    def lease_of(self, node: str) -> StoredLease | None:
        """The lease of the node with this fingerprint, once it has shown its report key: the last
        one, if it was registered more than once."""
        for stored in self.nodes():
            report = stored.known.report
            if report and keys.fingerprint(report.node) == node:
                return stored
        return None

    def nodes(self) -> list[StoredLease]:
        """The last lease of every node that a config was released to."""
        found: dict[bytes, StoredLease] = {}
        paths = sorted(
            (self.folder / "leases").glob("*.json"), key=lambda path: path.stat().st_mtime
        )
        for path in paths:
            stored = self.lease(path.stem)
            if stored and stored.known.report:
                found[stored.known.report.node] = stored
        return list(found.values())

    def keep_lease(
        self, token: str, known: KnownLease, *, released: bool, hostname: str = ""
    ) -> None:
        """Remember a lease. Raises errors.StoreUnwritable."""
        body = {
            "schema": SCHEMA,
            "lease": to_base64(known.lease),
            "secret": to_base64(known.secret),
            "report": known.report.to_json() if known.report else None,
            "released": released,
            "hostname": hostname,
            "kept": now(),
        }
        self._write(self._lease(token), body)

    def _lease(self, token: str) -> Path:
        return self.folder / "leases" / f"{token}.json"

    # --- journal --------------------------------------------------------------------------------

    def journal(self, node: str) -> NodeJournal:
        """The journal of the node with this fingerprint. Raises errors.StoreUnwritable."""
        folder = self.folder / "journal"
        folders.make_private(folder)
        return NodeJournal(folder / f"{node}.jsonl")

    def history(self, node: str) -> list[dict[str, Any]]:
        """What is in a node's journal, for looking: nothing where it is missing or damaged."""
        try:
            return parse((self.folder / "journal" / f"{node}.jsonl").read_bytes())[0]
        except (OSError, errors.JournalDamaged):
            return []

    def last_state(self, node: str) -> State | None:
        """The last state that was heard of a node."""
        for record in reversed(self.history(node)):
            if record.get("type") == EventType.STATE.value:
                with contextlib.suppress(ValueError):
                    return State(record.get("state", ""))
        return None

    # --- escrow records -----------------------------------------------------------------------

    def escrowed(self, lease: bytes) -> list[StoredEscrow]:
        """The escrow records of a lease, the newest first; files that are damaged are left out."""
        found = [stored for stored in self.all_escrow() if stored.record.lease == lease]
        return sorted(found, key=lambda one: (one.proof is not None, one.kept), reverse=True)

    def all_escrow(self) -> list[StoredEscrow]:
        """Every escrow record; files that are damaged are left out."""
        found: list[StoredEscrow] = []
        for path in (self.folder / "escrow").glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                body = json.loads(path.read_bytes())
                record = EscrowRecord.from_json(body["record"])
                proof = VolumeProof.from_json(body["proof"]) if "proof" in body else None
                found.append(StoredEscrow(path, record, str(body["kept"]), proof))
        return found

    # --- files ----------------------------------------------------------------------------------

    def _write(self, path: Path, body: dict[str, Any]) -> None:
        folders.make_private(path.parent)
        folders.write_private(path, json.dumps(body, indent=1).encode() + b"\n")

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            body = json.loads(path.read_bytes())
        except (OSError, ValueError):
            raise errors.StoreUnwritable("It cannot be read back.", element=str(path)) from None
        return body if isinstance(body, dict) else {}


class NodeJournal:
    """A node's events as the operator heard them, each once. Progress within a step is left out.

    A damaged file is set aside under another name. Raises errors.StoreUnwritable, also when
    another process has this journal open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._journal = self._open()
        except errors.NodeError as wrong:
            raise errors.StoreUnwritable(wrong.detail, element=str(path)) from None
        self._lock()
        self._known = {_identity(record) for record in self._journal.records}

    def _open(self) -> Journal:
        try:
            return Journal(self._path)
        except errors.JournalDamaged:
            self._path.rename(self._path.with_suffix(f".damaged-{int(time.time())}"))
            return Journal(self._path)

    def _lock(self) -> None:
        self._held = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise errors.StoreUnwritable(
                "Another process is registering this node right now.", element=str(self._path)
            ) from None

    def append(self, event: Event, signature: bytes, serial: str) -> None:
        """Store one event; it is on disk on return. Raises errors.StoreUnwritable."""
        if event.type is EventType.STEP and 0 < event.done < event.total:
            return
        body = {"at": now(), "serial": serial, **event.to_json()}
        if _identity(body) in self._known:
            return  # the node said it again after a reconnection
        if signature:
            body["signature"] = to_base64(signature)
        try:
            self._journal.append(body)
        except errors.NodeError as wrong:
            raise errors.StoreUnwritable(wrong.detail, element=str(self._path)) from None
        self._known.add(_identity(body))

    def close(self) -> None:
        """Close the file; calling it twice is fine."""
        self._journal.close()
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


def _identity(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(record.get(key) for key in ("boot", "seq", "up_ms"))
