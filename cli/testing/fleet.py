"""Registered machines in an operator's records, without any machine: for tests of thousands."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cli.inventory import Inventory, Origin
from cli.keyring import Keyring
from cli.labels import Labels
from cli.records import Records
from node.journal import Journal
from pairing import keys
from pairing.events import Event, EventType, State
from pairing.protocol import handshake
from pairing.protocol.messages import EscrowRecord, ReportKey, SealedKey
from pairing.protocol.terms import KnownLease

RECOVERY_KEY = b"the recovery key of a made-up machine"
ALL_THE_WAY = (State.CLAIMED, State.PLANNED, State.WRITTEN, State.REBOOTING, State.INSTALLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is known of one. `silent`: how long nothing was heard; the last state has `code`."""

    hostname: str
    serial: str = ""
    states: Sequence[State] = ALL_THE_WAY
    silent: timedelta = timedelta(minutes=1)
    code: str = ""
    step: str = ""
    dry_run: bool = False
    labels: Labels = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)

    def put(self, records: Records, keyring: Keyring | None = None) -> str:
        """Write it into the records, with a sealed recovery key for `keyring`; its fingerprint."""
        key, lease = secrets.token_bytes(32), secrets.token_bytes(16)
        report = ReportKey(
            node=key, lease=lease, key=secrets.token_bytes(32), seal=secrets.token_bytes(32)
        )
        known = KnownLease(lease, secrets.token_bytes(32), report)
        token = secrets.token_hex(4)
        records.keep_lease(token, known, released=True, hostname=self.hostname)
        name = keys.fingerprint(key)
        origin = replace(self.origin, serial=self.origin.serial or self.serial)
        Inventory(records.folder).change(
            name, lambda entry: replace(entry, labels=self.labels, origin=origin)
        )
        if self.states:
            self._journal(records, name)
        if keyring:
            self._escrow(records, keyring, key, lease)
        return name

    def _journal(self, records: Records, name: str) -> None:
        at = (datetime.now(UTC) - self.silent).isoformat(timespec="milliseconds")
        folder = records.folder / "journal"
        folder.mkdir(parents=True, exist_ok=True)
        with Journal(folder / f"{name}.jsonl") as journal:
            for number, state in enumerate(self.states, 1):
                last = number == len(self.states)
                event = Event(
                    node=name, boot="b", seq=number, up_ms=number, type=EventType.STATE,
                    state=state, code=self.code if last else "", dry_run=self.dry_run,
                    step=self.step if last else "",
                )  # fmt: skip
                body = {"at": at.replace("+00:00", "Z"), "serial": self.serial, **event.to_json()}
                journal.append(body)

    def _escrow(self, records: Records, keyring: Keyring, key: bytes, lease: bytes) -> None:
        to = keyring.escrow().public
        sealed = keys.seal(RECOVERY_KEY, to, handshake.escrow_context(key, lease))
        record = EscrowRecord(
            node=key,
            lease=lease,
            serial=self.serial,
            keys=(SealedKey(recipient=to, sealed=sealed),),
        )
        records.keep_escrow(record, b"s" * 64)
