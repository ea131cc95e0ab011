"""The pure cryptography of a claim: what both ends derive, prove and sign.

Keys come from S (or, when resuming, from the lease's rendezvous secret) by HKDF-SHA256 with salt
"EP1" + node key. Both proofs cover one transcript hash: token or lease id, the keys of both ends of
the channel, the operator's key, both nonces and the version. A proof is therefore worth nothing on
another channel, to another node or a second time.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pairing import words
from pairing.protocol.frames import canonical
from pairing.protocol.wire import Record

CLAIM_DOMAIN = "claim"
MANIFEST_DOMAIN = "manifest"
RECEIPT_DOMAIN = "receipt"
ESCROW_DOMAIN = "escrow"
ESCROWED_DOMAIN = "escrowed"
PROOF_DOMAIN = "escrow-proof"
REPORT_KEY_DOMAIN = "report-key"


def derive(secret: bytes, node_key: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose (`rv`, `claim`, `sas`, `report`) from S or a lease's secret."""
    kdf = HKDF(SHA256(), 32, salt=b"EP1" + node_key, info=purpose.encode("ascii"))
    return kdf.derive(secret)


def label(secret: bytes, node_key: bytes) -> bytes:
    """The rendezvous label: what mDNS and relays know a node by. It says nothing about the key."""
    return derive(secret, node_key, "rv")


def report_secret(secret: bytes, node_key: bytes) -> bytes:
    """The rendezvous secret of a locked node, from that of its lease.

    It lies readable on the disk, so it must say nothing of the lease's own.
    """
    return derive(secret, node_key, "report")


def commitment(nonce: bytes) -> bytes:
    """What a claim shows of the operator's nonce before the node has chosen its own."""
    return hashlib.sha256(b"EP1-commit" + nonce).digest()


@dataclass(frozen=True, slots=True)
class Transcript:
    """Everything that a claim is about. `subject` is the token's id, or a padded lease id."""

    subject: bytes
    node_key: bytes
    operator_channel: bytes
    operator_key: bytes
    operator_nonce: bytes
    node_nonce: bytes
    version: int

    def digest(self) -> bytes:
        """32 bytes over all fields; each but the version has a fixed size of 32 bytes."""
        parts = (
            self.subject.ljust(32, b"\0"),
            self.node_key,
            self.operator_channel,
            self.operator_key,
            self.operator_nonce,
            self.node_nonce,
        )
        return hashlib.sha256(b"EP1-claim" + b"".join(parts) + bytes([self.version])).digest()


def operator_mac(claim_key: bytes, digest: bytes) -> bytes:
    """The operator's proof of having seen the code."""
    return hmac.digest(claim_key, b"O" + digest, "sha256")


def node_mac(claim_key: bytes, digest: bytes) -> bytes:
    """The node's answer: it holds the same secret."""
    return hmac.digest(claim_key, b"N" + digest, "sha256")


def same(one: bytes, other: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one, other)


def comparison_words(sas_key: bytes, digest: bytes) -> tuple[str, ...]:
    """Three words on both screens; a man in the middle gets them equal once in 2^24 tries.

    He has one try: the operator's nonce was committed to before the node chose its own.
    """
    return words.words(hmac.digest(sas_key, b"W" + digest, "sha256"))


def signed_body(record: Record) -> bytes:
    """The bytes of a record that a signature covers."""
    return canonical(record.to_json())


def record_digest(record: Record) -> bytes:
    """SHA-256 of a record's canonical form."""
    return hashlib.sha256(signed_body(record)).digest()


def receipt_body(lease: bytes, event: dict[str, object]) -> bytes:
    """The bytes that a node signs for an event of a lease."""
    return canonical({"lease": lease.hex(), "event": event})


def unlock_context(report_key: bytes, lease: bytes, boot: str) -> bytes:
    """What a sealed answer to a locked node is bound to: it is worth nothing in another boot."""
    return b"unlock\0" + report_key + lease + boot.encode("utf-8")


def escrow_context(node_key: bytes, lease: bytes) -> bytes:
    """What a sealed recovery key is bound to."""
    return node_key + lease
