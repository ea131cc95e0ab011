"""What the operator must have on its disk before a node touches its own: keys, and word of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pairing import errors, keys
from pairing.protocol import handshake, messages
from pairing.protocol.effects import KeepEscrow, KeepProof
from pairing.protocol.terms import KnownLease
from pairing.protocol.wire import Record


@dataclass(slots=True)
class Safekeeping:
    """For one node, by its key; `operator` signs that something was stored."""

    node: bytes
    operator: keys.SigningKey
    report_keys: int = 0
    """Report keys that are not stored yet."""
    record: messages.EscrowRecord | None = None
    stored: bool = False
    done: bool = False
    """A recovery key was acknowledged."""

    def escrow(self, message: messages.Escrow, lease: bytes) -> KeepEscrow:
        """Raises errors.BadProof if the record is not this node's for this lease."""
        record = message.record
        ours = record.lease == lease and record.node == self.node
        if not ours or not self._signed(handshake.ESCROW_DOMAIN, record, message.signature):
            raise errors.BadProof("The escrow record is not signed by this node for this lease.")
        self.record, self.stored = record, False
        return KeepEscrow(record, message.signature)

    def report_key(self, message: messages.ShownReportKey, known: KnownLease) -> KnownLease | None:
        """The lease with what was not known of it yet. Raises errors.BadProof."""
        record = message.record
        ours = record.lease == known.lease and record.node == self.node
        if not ours or not self._signed(handshake.REPORT_KEY_DOMAIN, record, message.signature):
            raise errors.BadProof("The report key is not vouched for by this node.")
        if known.report == record:
            return None
        self.report_keys += 1
        return replace(known, report=record)

    def proof(self, message: messages.EscrowProof) -> KeepProof:
        """Raises errors.BadProof."""
        if not self._signed(handshake.PROOF_DOMAIN, message.proof, message.signature):
            raise errors.BadProof("The proof of the recovery key is not signed by this node.")
        return KeepProof(message.proof, message.signature)

    def acknowledgement(self) -> messages.Escrowed | None:
        """Once everything is stored: a disk is written only if we would know its node again."""
        if self.record is None or not self.stored or self.report_keys:
            return None
        digest = handshake.record_digest(self.record)
        self.done, self.stored = True, False
        signature = self.operator.sign(handshake.ESCROWED_DOMAIN, digest)
        return messages.Escrowed(digest=digest, signature=signature)

    def _signed(self, domain: str, record: Record, signature: bytes) -> bool:
        return keys.verified(self.node, domain, handshake.signed_body(record), signature)
