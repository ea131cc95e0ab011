"""Every message of `/kairos-pair/1`. The conversation itself is told in docs/protocol.md.

operator                                node
Claim         ------------------------>
              <------------------------ Challenge
Proof         ------------------------>
              <------------------------ Lease (facts)          or Refused
Release       ------------------------>
              <------------------------ Want(offset)
Chunk ...     ------------------------>
              <------------------------ ShownReportKey
              <------------------------ Report(planned) ...    or Refused
              <------------------------ Escrow
Escrowed      ------------------------>
              <------------------------ EscrowProof, Report ...
Ack           ------------------------>
Bye
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pairing import events
from pairing.protocol import requests, terminal, tpmproof, wire
from pairing.protocol.certificate import StationCertificate
from pairing.protocol.wire import Message, Record

PROTOCOL = "/kairos-pair/1"
VERSION = 1
CONFIG_LIMIT = 1024 * 1024
CHUNK = 32 * 1024
LEASE_SIZE = 16
_KEY, _SIGNATURE, _HASH, _NONCE = wire.blob(32), wire.blob(64), wire.blob(32), wire.blob(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Message):
    """First word of an operator: a commitment to its nonce; `lease` when it resumes one."""

    TYPE: ClassVar[str] = "claim"
    version: int = wire.wire(wire.number(255))
    commit: bytes = wire.wire(_HASH)
    lease: bytes = wire.wire(wire.blob(LEASE_SIZE, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge(Message):
    """The node's nonce. `fleet`: only a station of the node's fleet gets any further."""

    TYPE: ClassVar[str] = "challenge"
    STRICT: ClassVar[bool] = False
    nonce: bytes = wire.wire(_NONCE)
    fleet: bool = wire.wire(wire.flag())
    window: int = wire.wire(wire.number())
    """Seconds until the code on the screen changes."""


_CERTIFICATE = wire.nested(StationCertificate, optional=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof(Message):
    """The operator has seen the code (`mac`), holds `key` (`signature`), has events to `since`."""

    TYPE: ClassVar[str] = "proof"
    nonce: bytes = wire.wire(_NONCE)
    mac: bytes = wire.wire(_HASH)
    key: bytes = wire.wire(_KEY)
    signature: bytes = wire.wire(_SIGNATURE)
    certificate: StationCertificate | None = wire.wire(_CERTIFICATE)
    since: int = wire.wire(wire.number())


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease(Message):
    """The node is the operator's. `secret` is the lease's rendezvous secret; `mac` proves the node.

    `sequence` is that of the last manifest, `last` that of the last event, `trust` `O0` or `O1`,
    `mode` which boot this is (`events.Mode`).
    """

    TYPE: ClassVar[str] = "lease"
    STRICT: ClassVar[bool] = False
    mac: bytes = wire.wire(_HASH)
    lease: bytes = wire.wire(wire.blob(LEASE_SIZE))
    secret: bytes = wire.wire(wire.blob(32))
    trust: str = wire.wire(wire.text(8))
    mode: str = wire.wire(wire.text(16))
    boot: str = wire.wire(wire.text(64))
    state: str = wire.wire(wire.text(32))
    sequence: int = wire.wire(wire.number())
    last: int = wire.wire(wire.number())
    facts: Mapping[str, Any] = wire.wire(wire.body())


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Message):
    """No, and why: `code` is an error's slug. `holder`, `age` (seconds): who holds the lease."""

    TYPE: ClassVar[str] = "refused"
    STRICT: ClassVar[bool] = False
    code: str = wire.wire(wire.text(64))
    text: str = wire.wire(wire.text(1000))
    holder: str = wire.wire(wire.text(64))
    age: int = wire.wire(wire.number())


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Record):
    """What the operator's key signs: which config for which node, and what goes with it.

    `sequence` grows with each release in a lease. `time` is the operator's clock in Unix seconds;
    the node's clock is set forward to it, never back. `report_for` is seconds.
    """

    node: bytes = wire.wire(_KEY)
    lease: bytes = wire.wire(wire.blob(LEASE_SIZE))
    sequence: int = wire.wire(wire.number(2**31))
    digest: bytes = wire.wire(_HASH)
    length: int = wire.wire(wire.number(CONFIG_LIMIT))
    device: str = wire.wire(wire.text(200))
    escrow: tuple[bytes, ...] = wire.wire(wire.many(_KEY, 8))
    relays: tuple[str, ...] = wire.wire(wire.many(wire.text(200), 8))
    unlock: str = wire.wire(wire.text(32))
    reboot: bool = wire.wire(wire.flag())
    poweroff: bool = wire.wire(wire.flag())
    report_for: int = wire.wire(wire.number())
    time: int = wire.wire(wire.number())


_MANIFEST = wire.nested(Manifest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Message):
    """The signed manifest; the config follows in chunks."""

    TYPE: ClassVar[str] = "release"
    manifest: Manifest = wire.wire(_MANIFEST)
    signature: bytes = wire.wire(_SIGNATURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Want(Message):
    """Send the config of manifest `sequence` from byte `offset` on."""

    TYPE: ClassVar[str] = "want"
    STRICT: ClassVar[bool] = False
    sequence: int = wire.wire(wire.number(2**31))
    offset: int = wire.wire(wire.number(CONFIG_LIMIT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk(Message):
    """Config bytes at `offset`."""

    TYPE: ClassVar[str] = "chunk"
    sequence: int = wire.wire(wire.number(2**31))
    offset: int = wire.wire(wire.number(CONFIG_LIMIT))
    data: bytes = wire.wire(wire.blob(CHUNK, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Message):
    """An event of the node. Those that change its state are signed: receipts."""

    TYPE: ClassVar[str] = "report"
    STRICT: ClassVar[bool] = False
    event: Mapping[str, Any] = wire.wire(wire.body())
    signature: bytes = wire.wire(wire.blob(64, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportKey(Record):
    """What this node will be known by while its disk does not open.

    `key` (Ed25519) proves it and signs; `seal` (X25519) is what an unlock is sealed to.
    """

    node: bytes = wire.wire(_KEY)
    lease: bytes = wire.wire(wire.blob(LEASE_SIZE))
    key: bytes = wire.wire(_KEY)
    seal: bytes = wire.wire(_KEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownReportKey(Message):
    """Remember this with the lease. Signed by the node, sent before it plans anything."""

    TYPE: ClassVar[str] = "report-key"
    record: ReportKey = wire.wire(wire.nested(ReportKey))
    signature: bytes = wire.wire(_SIGNATURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedKey(Record):
    """A recovery key sealed to one recipient (HPKE, context: see `handshake.escrow_context`)."""

    recipient: bytes = wire.wire(_KEY)
    sealed: bytes = wire.wire(wire.blob(1024, 48))


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowRecord(Record):
    """One recovery key, sealed to every recipient of the manifest."""

    node: bytes = wire.wire(_KEY)
    lease: bytes = wire.wire(wire.blob(LEASE_SIZE))
    serial: str = wire.wire(wire.text(200))
    keys: tuple[SealedKey, ...] = wire.wire(wire.many(wire.nested(SealedKey), 8))


_RECORD = wire.nested(EscrowRecord)


@dataclass(frozen=True, slots=True, kw_only=True)
class Escrow(Message):
    """Keep this before my disk is touched. Signed by the node."""

    TYPE: ClassVar[str] = "escrow"
    record: EscrowRecord = wire.wire(_RECORD)
    signature: bytes = wire.wire(_SIGNATURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Escrowed(Message):
    """The record with this digest is on the operator's disk, fsynced. Signed by the operator."""

    TYPE: ClassVar[str] = "escrowed"
    digest: bytes = wire.wire(_HASH)
    signature: bytes = wire.wire(_SIGNATURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Record):
    """A LUKS volume that the escrowed key opens: its UUID and the hash of the key's slot."""

    name: str = wire.wire(wire.text(64))
    uuid: str = wire.wire(wire.text(64))
    slot: bytes = wire.wire(_HASH)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeProof(Record):
    """Completes an escrow record. A dry run has no volumes."""

    digest: bytes = wire.wire(_HASH)
    volumes: tuple[Volume, ...] = wire.wire(wire.many(wire.nested(Volume), 8))
    ek_hash: str = wire.wire(wire.text(64))
    dry_run: bool = wire.wire(wire.flag())


_PROOF = wire.nested(VolumeProof)


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowProof(Message):
    """The key in the escrow record was tried on these volumes. Signed by the node."""

    TYPE: ClassVar[str] = "escrow-proof"
    proof: VolumeProof = wire.wire(_PROOF)
    signature: bytes = wire.wire(_SIGNATURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack(Message):
    """The operator has every event up to `seq`."""

    TYPE: ClassVar[str] = "ack"
    STRICT: ClassVar[bool] = False
    seq: int = wire.wire(wire.number())


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(Message):
    """Are you there? Answered by `Pong`."""

    TYPE: ClassVar[str] = "ping"
    STRICT: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong(Message):
    """Yes."""

    TYPE: ClassVar[str] = "pong"
    STRICT: ClassVar[bool] = False


class Reason:
    """Why an operator says `Bye`."""

    DONE = "done"
    HOLD = "hold"
    """Not decided: the lease stays for the same operator."""
    REFUSE = "refuse"
    """A person said no: final for this code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye(Message):
    """The operator hangs up on purpose."""

    TYPE: ClassVar[str] = "bye"
    STRICT: ClassVar[bool] = False
    reason: str = wire.wire(wire.text(32))
    text: str = wire.wire(wire.text(1000))


_OPERATOR: tuple[type[Message], ...] = (
    Claim,
    Proof,
    Release,
    Chunk,
    Escrowed,
    Ack,
    Ping,
    Pong,
    Bye,
    *requests.FROM_OPERATOR,
    *tpmproof.FROM_OPERATOR,
    *terminal.FROM_OPERATOR,
)
_NODE: tuple[type[Message], ...] = (
    Challenge, Lease, Refused, Want, ShownReportKey, Report, Escrow, EscrowProof, Ping, Pong,
    *requests.FROM_NODE, *tpmproof.FROM_NODE, *terminal.FROM_NODE,
)  # fmt: skip
FROM_OPERATOR: Mapping[str, type[Message]] = {kind.TYPE: kind for kind in _OPERATOR}
FROM_NODE: Mapping[str, type[Message]] = {kind.TYPE: kind for kind in _NODE}


def event_of(report: Report) -> events.Event:
    """The event in a report. Raises errors.ProtocolBroken."""
    from pairing import errors

    try:
        return events.from_json(report.event)
    except ValueError as wrong:
        raise errors.ProtocolBroken(f"Frame 'report': {wrong}.") from None
