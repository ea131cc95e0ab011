"""What a node signs: receipts of its states, escrow records and their proofs; and the checks."""

from __future__ import annotations

from pairing import errors, keys
from pairing.events import Event, EventType, State
from pairing.protocol import handshake, messages
from pairing.protocol.terms import KnownLease


def report(key: keys.SigningKey, lease: bytes, event: Event) -> messages.Report:
    """An event as it travels; a state is signed."""
    body, signature = event.to_json(), b""
    if event.type is EventType.STATE:
        signature = key.sign(handshake.RECEIPT_DOMAIN, handshake.receipt_body(lease, body))
    return messages.Report(event=body, signature=signature)


def check(said: messages.Report, key: bytes, lease: bytes) -> None:
    """Raises errors.BadProof if this receipt is not signed by the owner of `key`."""
    body = handshake.receipt_body(lease, dict(said.event))
    if not keys.verified(key, handshake.RECEIPT_DOMAIN, body, said.signature):
        raise errors.BadProof("A receipt is not signed by the node.")


def check_locked(said: messages.Report, known: KnownLease) -> Event:
    """What a report key says: that the node is locked, signed. Raises errors.BadProof."""
    event = messages.event_of(said)
    if known.report is None or event.type is not EventType.STATE or event.state is not State.LOCKED:
        raise errors.BadProof("A report key can only say that its node is locked.")
    check(said, known.report.key, known.lease)
    return event


def escrow(key: keys.SigningKey, record: messages.EscrowRecord) -> messages.Escrow:
    """A sealed recovery key that the operator is to keep."""
    signature = key.sign(handshake.ESCROW_DOMAIN, handshake.signed_body(record))
    return messages.Escrow(record=record, signature=signature)


def proof(key: keys.SigningKey, proved: messages.VolumeProof) -> messages.EscrowProof:
    """The word that the escrowed key opens the volumes."""
    signature = key.sign(handshake.PROOF_DOMAIN, handshake.signed_body(proved))
    return messages.EscrowProof(proof=proved, signature=signature)
