"""A lease from the node's side: who holds it, what was released, what has happened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pairing import errors, keys
from pairing.events import Mode, State
from pairing.protocol import handshake
from pairing.protocol.admission import Found
from pairing.protocol.callers import NodePolicy
from pairing.protocol.eventlog import EventLog
from pairing.protocol.messages import (
    LEASE_SIZE,
    Chunk,
    Escrow,
    Escrowed,
    EscrowProof,
    Lease,
    Manifest,
    Release,
)
from pairing.protocol.reportkey import PrivateReportKey
from pairing.protocol.wire import Message

RELEASABLE = frozenset({State.CLAIMED, State.FAILED})
"""States in which a (new) config may be released."""
VERDICTS = frozenset(
    {
        State.WRITTEN,
        State.INSTALLED,
        State.JOINED,
        State.READY,
        State.REFUSED,
        State.FAILED,
        State.LOCKED,
    }
)
"""States that may be the last one an operator waits for."""


@dataclass(slots=True)
class Upload:
    """A config on its way: the manifest, and the bytes so far."""

    manifest: Manifest
    data: bytearray = field(default_factory=bytearray, repr=False)

    def add(self, chunk: Chunk) -> None:
        """Append a chunk. Raises errors.ProtocolBroken for a gap or too much."""
        fits = chunk.sequence == self.manifest.sequence and chunk.offset == len(self.data)
        if not fits or chunk.offset + len(chunk.data) > self.manifest.length:
            raise errors.ProtocolBroken("A chunk of the config is not where it belongs.")
        self.data += chunk.data

    @property
    def complete(self) -> bool:
        return len(self.data) == self.manifest.length

    def config(self) -> bytes:
        """The whole config. Raises errors.ProtocolBroken if it is not the one that was signed."""
        if hashlib.sha256(self.data).digest() != self.manifest.digest:
            raise errors.ProtocolBroken("The config is not the one in the signed manifest.")
        return bytes(self.data)


@dataclass(slots=True, kw_only=True)
class Tenancy:
    """One operator's hold on the node. `conn` is its live connection, if there is one."""

    lease: bytes
    secret: bytes = field(repr=False)
    operator: bytes
    fleet: bytes
    """The fleet that vouched for the operator; empty at trust level O0."""
    claimed_label: bytes
    claimed_secret: bytes = field(repr=False)
    """S of the code that it was claimed by: with the photo alone its operator finds it again."""
    claimed_at: float
    """Seconds since boot; negative once the node has restarted."""
    words: tuple[str, ...]
    conn: int | None = None
    absent_since: float | None = None
    state: State = State.CLAIMED
    log: EventLog = field(default_factory=EventLog)
    sequence: int = 0
    upload: Upload | None = None
    manifest: Manifest | None = None
    escrow: Escrow | None = None
    escrow_kept: bool = False
    proof: EscrowProof | None = None
    acknowledged: int = 0
    report_seed: bytes = field(default=b"", repr=False)
    """Of the report key; empty before the first release."""
    listened: float = 0.0
    """Seconds that earlier boots have waited for the operator after the installation."""
    in_repair: bool = False
    """Its operator has a terminal open: the lease does not lapse meanwhile."""
    told: bool = False
    """There is nothing more to say: the node is quiet from now on."""

    @property
    def trust(self) -> str:
        """O1: vouched for by a pinned fleet. O0: the first to have the photo."""
        return "O1" if self.fleet else "O0"

    def belongs_to(self, operator: bytes, fleet: bytes) -> bool:
        """The same operator, or a station of the same fleet."""
        return operator == self.operator or bool(fleet and fleet == self.fleet)

    def lapsed(self, now: float, policy: NodePolicy) -> bool:
        """Whether an operator that has decided nothing has kept the node for too long."""
        if self.state is not State.CLAIMED or self.in_repair:
            return False
        gone = self.absent_since is not None and now >= self.absent_since + policy.lapse_after
        return gone or now >= self.claimed_at + policy.decide_within

    def answer(self, mac: bytes, mode: Mode, boot: str, facts: Mapping[str, Any]) -> Lease:
        """What its operator hears first."""
        return Lease(
            mac=mac,
            lease=self.lease,
            secret=self.secret,
            trust=self.trust,
            mode=mode.value,
            boot=boot,
            state=self.state.value,
            sequence=self.sequence,
            last=self.log.last,
            facts=facts,
        )

    def pending(self, key: keys.SigningKey) -> list[Message]:
        """What a returning operator may lack, to be sent before the events: whoever hears of the
        goal leaves, and must have these by then."""
        shown = PrivateReportKey(self.report_seed).shown(key, self.lease)
        waiting: list[Message | None] = [
            shown if self.report_seed else None,
            self.escrow if not self.escrow_kept else None,
            self.proof,
        ]
        return [message for message in waiting if message]

    def begin_release(self, manifest: Manifest) -> None:
        """A config has come whole: what belonged to the one before is void."""
        self.manifest = manifest
        self.escrow, self.escrow_kept, self.proof = None, False, None

    def accept_release(self, release: Release, node_key: bytes) -> Upload:
        """Check a release and begin (or go on with) its upload.

        Raises errors.Busy when it comes too late, errors.BadProof when it is not the operator's.
        """
        manifest = release.manifest
        if self.state not in RELEASABLE:
            raise errors.Busy(f"It is already {self.state}.")
        body = handshake.signed_body(manifest)
        meant = manifest.node == node_key and manifest.lease == self.lease
        if not meant or not keys.verified(
            self.operator, handshake.MANIFEST_DOMAIN, body, release.signature
        ):
            raise errors.BadProof("The manifest is not signed by this operator for this node.")
        if self.upload and self.upload.manifest == manifest:
            return self.upload
        if manifest.sequence <= self.sequence:
            raise errors.BadProof("The manifest is an old one.")
        self.sequence = manifest.sequence
        self.upload = Upload(manifest)
        return self.upload

    def accept_escrowed(self, message: Escrowed) -> bool:
        """Whether this acknowledges the pending escrow record for the first time.

        Raises errors.BadProof if it is for another record or not signed by the operator.
        """
        if self.escrow is None:
            raise errors.ProtocolBroken("There is no escrow record to acknowledge.")
        digest = handshake.record_digest(self.escrow.record)
        if message.digest != digest or not keys.verified(
            self.operator, handshake.ESCROWED_DOMAIN, digest, message.signature
        ):
            raise errors.BadProof("The escrow acknowledgement is not this operator's.")
        first, self.escrow_kept = not self.escrow_kept, True
        return first

    @property
    def settled(self) -> bool:
        """The operator has every event, and the last state is a verdict."""
        return self.state in VERDICTS and self.acknowledged >= self.log.last


def begin(
    operator: bytes,
    fleet: bytes,
    found: Found,
    label: bytes,
    random: Callable[[int], bytes],
    now: float,
) -> Tenancy:
    """A new lease for who has proved a code; `label` is that of the code."""
    return Tenancy(
        lease=random(LEASE_SIZE),
        secret=random(32),
        operator=operator,
        fleet=fleet,
        claimed_label=label,
        claimed_secret=found.secret,
        claimed_at=now,
        words=found.words,
    )
