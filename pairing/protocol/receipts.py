"""What a node signs: receipts of its states, escrow records and their proofs."""

from __future__ import annotations

from pairing import keys
from pairing.events import Event, EventType
from pairing.protocol import handshake, messages


def report(key: keys.SigningKey, lease: bytes, event: Event) -> messages.Report:
    """An event as it travels; a state is signed."""
    body, signature = event.to_json(), b""
    if event.type is EventType.STATE:
        signature = key.sign(handshake.RECEIPT_DOMAIN, handshake.receipt_body(lease, body))
    return messages.Report(event=body, signature=signature)


def escrow(key: keys.SigningKey, record: messages.EscrowRecord) -> messages.Escrow:
    """A sealed recovery key that the operator is to keep."""
    signature = key.sign(handshake.ESCROW_DOMAIN, handshake.signed_body(record))
    return messages.Escrow(record=record, signature=signature)


def proof(key: keys.SigningKey, proved: messages.VolumeProof) -> messages.EscrowProof:
    """The word that the escrowed key opens the volumes."""
    signature = key.sign(handshake.PROOF_DOMAIN, handshake.signed_body(proved))
    return messages.EscrowProof(proof=proved, signature=signature)
