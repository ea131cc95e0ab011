"""What of a lease outlives a boot, as JSON: in the encrypted volume, and beside the boot files.

Both are read back strictly: a field that is missing, unknown or too long is an error, and so is a
changed byte (the checksum finds damage, not an attacker: the volume itself keeps those out).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pairing import events, keys
from pairing.events import State
from pairing.protocol import handshake, wire
from pairing.protocol.eventlog import LIMIT, EventLog
from pairing.protocol.frames import canonical
from pairing.protocol.messages import LEASE_SIZE, Escrow, EscrowProof, Manifest
from pairing.protocol.tenancy import Tenancy
from pairing.protocol.wire import Record

SCHEMA = 1
EVENTS_LIMIT = 1024 * 1024
"""Bytes of events that are kept; older ones are forgotten first."""
SIZE_LIMIT = 2 * EVENTS_LIMIT
"""Bytes of the whole."""
_KEY, _SECRET = wire.blob(32), wire.blob(32)
_MANIFEST = wire.nested(Manifest, optional=True)
_ESCROW = wire.nested(Escrow, optional=True)
_PROOF = wire.nested(EscrowProof, optional=True)


class KeptRecord(Record):
    """A record that lies on a disk: JSON with a schema number and a checksum."""

    NAME: ClassVar[str] = ""

    def to_bytes(self) -> bytes:
        """The file's bytes."""
        body = self.to_json()
        return canonical({"schema": SCHEMA, "sum": _sum(body), self.NAME: body}) + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read them back. Raises ValueError saying what is wrong."""
        if len(data) > SIZE_LIMIT:
            raise ValueError(f"larger than {SIZE_LIMIT} bytes")
        try:
            whole = json.loads(data)
            body, said = whole[cls.NAME], (whole["schema"], whole["sum"])
            right = (SCHEMA, _sum(body))
        except (ValueError, RecursionError, KeyError, TypeError):
            raise ValueError("not a whole file") from None
        if said != right:
            raise ValueError("its checksum is wrong")
        return cls.from_json(body)


def _sum(body: dict[str, Any]) -> str:
    return hashlib.sha256(b"EP1-kept\0" + canonical(body)).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTenancy(KeptRecord):
    """A lease and the node's own key. `age` and `listened` in seconds."""

    NAME: ClassVar[str] = "tenancy"
    seed: bytes = wire.wire(_SECRET)
    lease: bytes = wire.wire(wire.blob(LEASE_SIZE))
    secret: bytes = wire.wire(_SECRET)
    operator: bytes = wire.wire(_KEY)
    fleet: bytes = wire.wire(wire.blob(32, 0))
    claimed_label: bytes = wire.wire(wire.blob(32))
    claimed_secret: bytes = wire.wire(wire.blob(32, 0))
    age: int = wire.wire(wire.number())
    listened: int = wire.wire(wire.number())
    told: bool = wire.wire(wire.flag())
    state: str = wire.wire(wire.text(32))
    sequence: int = wire.wire(wire.number(2**31))
    last: int = wire.wire(wire.number())
    acknowledged: int = wire.wire(wire.number())
    report_seed: bytes = wire.wire(wire.blob(32, 0))
    manifest: Manifest | None = wire.wire(_MANIFEST)
    escrow: Escrow | None = wire.wire(_ESCROW)
    escrow_kept: bool = wire.wire(wire.flag())
    proof: EscrowProof | None = wire.wire(_PROOF)
    events: tuple[dict[str, Any], ...] = wire.wire(wire.many(wire.body(), LIMIT))

    def __repr__(self) -> str:
        return "KeptTenancy(...)"

    def restored(self, now: float) -> tuple[keys.SigningKey, Tenancy]:
        """The node's key and its lease, `now` seconds after boot. Raises ValueError."""
        held = Tenancy(
            lease=self.lease,
            secret=self.secret,
            operator=self.operator,
            fleet=self.fleet,
            claimed_label=self.claimed_label,
            claimed_secret=self.claimed_secret,
            claimed_at=now - self.age,
            words=(),
            absent_since=now,
            state=State(self.state),
            log=EventLog(map(events.from_json, self.events), self.last),
            sequence=self.sequence,
            manifest=self.manifest,
            escrow=self.escrow,
            escrow_kept=self.escrow_kept,
            proof=self.proof,
            acknowledged=self.acknowledged,
            report_seed=self.report_seed,
            listened=float(self.listened),
            told=self.told,
        )
        return keys.SigningKey(self.seed), held


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFile(KeptRecord):
    """What a locked node has to be found and known by; it lies readable on the disk.

    `secret` is `handshake.report_secret` of the lease's, `node` the public half of the node's key.
    """

    NAME: ClassVar[str] = "report"
    seed: bytes = wire.wire(_SECRET)
    node: bytes = wire.wire(_KEY)
    lease: bytes = wire.wire(wire.blob(LEASE_SIZE))
    secret: bytes = wire.wire(_SECRET)
    operator: bytes = wire.wire(_KEY)
    fleet: bytes = wire.wire(wire.blob(32, 0))
    relays: tuple[str, ...] = wire.wire(wire.many(wire.text(200), 8))
    unlock: str = wire.wire(wire.text(32))

    def __repr__(self) -> str:
        return "ReportFile(...)"


def report_file(key: keys.SigningKey, held: Tenancy) -> ReportFile:
    """What goes beside the boot files, once a config was released."""
    assert held.manifest is not None
    return ReportFile(
        seed=held.report_seed,
        node=key.public,
        lease=held.lease,
        secret=handshake.report_secret(held.secret, key.public),
        operator=held.operator,
        fleet=held.fleet,
        relays=held.manifest.relays,
        unlock=held.manifest.unlock,
    )


def kept(key: keys.SigningKey, held: Tenancy, now: float, listened: float) -> KeptTenancy:
    """What is to be stored of a lease, `now` seconds after boot."""
    return KeptTenancy(
        seed=key.seed,
        lease=held.lease,
        secret=held.secret,
        operator=held.operator,
        fleet=held.fleet,
        claimed_label=held.claimed_label,
        claimed_secret=held.claimed_secret,
        age=max(0, int(now - held.claimed_at)),
        listened=int(listened),
        told=held.told,
        state=held.state.value,
        sequence=held.sequence,
        last=held.log.last,
        acknowledged=held.acknowledged,
        report_seed=held.report_seed,
        manifest=held.manifest,
        escrow=held.escrow,
        escrow_kept=held.escrow_kept,
        proof=held.proof,
        events=tuple(event.to_json() for event in held.log.newest(EVENTS_LIMIT)),
    )
