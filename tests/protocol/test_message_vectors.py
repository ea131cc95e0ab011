"""Vectors of every message and of the handshake, read by a decoder that imports nothing of ours.

`KAIROS_UPDATE_VECTORS=1` writes them anew from our code; the second decoder still has to agree.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pairing import keys
from pairing.protocol import admission, frames, handshake, messages, wire
from pairing.testing.vectors import EXAMPLES, HANDSHAKE, NODE, OPERATOR

FILE = Path(__file__).parents[1] / "data" / "messages.json"


def ours() -> dict[str, Any]:
    return {
        "format": "docs/protocol.md",
        "messages": {
            f"{direction} {message.TYPE}": frames.encode_frame(wire.write_message(message)).hex()
            for direction, message in EXAMPLES
        },
        "handshake": {
            "node_seed": NODE.seed.hex(),
            "operator_seed": OPERATOR.seed.hex(),
            "secret": HANDSHAKE.secret.hex(),
            "operator_channel": HANDSHAKE.transcript.operator_channel.hex(),
            "operator_nonce": HANDSHAKE.transcript.operator_nonce.hex(),
            "node_nonce": HANDSHAKE.transcript.node_nonce.hex(),
            "token_id": HANDSHAKE.transcript.subject.hex(),
            "label": handshake.label(HANDSHAKE.secret, NODE.public).hex(),
            "transcript": HANDSHAKE.transcript.digest().hex(),
            "operator_mac": HANDSHAKE.operator_mac.hex(),
            "node_mac": HANDSHAKE.node_mac.hex(),
            "operator_body": admission.operator_body(HANDSHAKE.transcript).hex(),
            "operator_signature": HANDSHAKE.operator_signature.hex(),
            "words": list(HANDSHAKE.words),
        },
    }


if os.environ.get("KAIROS_UPDATE_VECTORS"):
    FILE.write_text(json.dumps(ours(), indent=1) + "\n", encoding="utf-8")
VECTORS = json.loads(FILE.read_text(encoding="utf-8"))


def test_our_code_makes_these_vectors() -> None:
    assert ours() == VECTORS


def test_every_message_has_a_vector() -> None:
    to_node = {f"to-node {name}" for name in messages.FROM_OPERATOR}
    to_operator = {f"to-operator {name}" for name in messages.FROM_NODE}
    assert set(VECTORS["messages"]) == to_node | to_operator


@pytest.mark.parametrize("name", VECTORS["messages"])
def test_a_second_decoder_reads_the_frame(name: str) -> None:
    data = bytes.fromhex(VECTORS["messages"][name])
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    body = json.loads(data[4:])
    assert body["type"] == name.split()[1]
    again = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert again.encode() == data[4:]


def hkdf(secret: bytes, salt: bytes, purpose: bytes) -> bytes:
    """RFC 5869 with SHA-256, one block."""
    extracted = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(extracted, purpose + b"\1", hashlib.sha256).digest()


def test_a_second_implementation_of_the_handshake_agrees() -> None:
    given = {
        key: bytes.fromhex(value) if isinstance(value, str) else value
        for key, value in VECTORS["handshake"].items()
    }
    node_key, operator_key = NODE.public, OPERATOR.public
    salt = b"EP1" + node_key
    assert given["token_id"] == hashlib.sha256(b"EP1-token" + node_key + given["secret"]).digest()
    assert given["label"] == hkdf(given["secret"], salt, b"rv")
    rest = b"".join(
        (node_key, given["operator_channel"], operator_key, given["operator_nonce"],
         given["node_nonce"])
    )  # fmt: skip
    transcript = hashlib.sha256(b"EP1-claim" + given["token_id"] + rest + b"\1").digest()
    assert given["transcript"] == transcript
    claim_key = hkdf(given["secret"], salt, b"claim")
    assert given["operator_mac"] == hmac.digest(claim_key, b"O" + transcript, "sha256")
    assert given["node_mac"] == hmac.digest(claim_key, b"N" + transcript, "sha256")
    body = hashlib.sha256(b"EP1-claim" + bytes(32) + rest + b"\1").digest()
    assert given["operator_body"] == body
    assert keys.verified(operator_key, "claim", body, given["operator_signature"])
    sas = hmac.digest(hkdf(given["secret"], salt, b"sas"), b"W" + transcript, "sha256")
    from pairing.words import WORDS

    assert VECTORS["handshake"]["words"] == [WORDS[byte] for byte in sas[:3]]


def test_signatures_in_the_vectors_hold() -> None:
    def body_of(name: str) -> dict[str, Any]:
        return dict(json.loads(bytes.fromhex(VECTORS["messages"][name])[4:]))

    def canonical(value: object) -> bytes:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def unbase64(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    release = body_of("to-node release")
    assert keys.verified(
        OPERATOR.public, "manifest", canonical(release["manifest"]), unbase64(release["signature"])
    )
    escrow = body_of("to-operator escrow")
    assert keys.verified(
        NODE.public, "escrow", canonical(escrow["record"]), unbase64(escrow["signature"])
    )
    escrowed = body_of("to-node escrowed")
    digest = hashlib.sha256(canonical(escrow["record"])).digest()
    assert unbase64(escrowed["digest"]) == digest
    assert keys.verified(OPERATOR.public, "escrowed", digest, unbase64(escrowed["signature"]))
    proof = body_of("to-operator escrow-proof")
    assert keys.verified(
        NODE.public, "escrow-proof", canonical(proof["proof"]), unbase64(proof["signature"])
    )
    report = body_of("to-operator report")
    lease = unbase64(body_of("to-operator lease")["lease"]).hex()
    receipt = canonical({"lease": lease, "event": report["event"]})
    assert keys.verified(NODE.public, "receipt", receipt, unbase64(report["signature"]))
