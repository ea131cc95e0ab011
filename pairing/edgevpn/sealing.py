"""A gossip message's data field: AES-256-GCM under the token's key of the moment, as JSON.

    {"Message": hex(nonce of 12 bytes, ciphertext, tag of 16), "SenderID": "", "Annotations": null}

Every holder of the token has the key: this keeps others out, it proves nothing about the author.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pairing.edgevpn.limits import MAX_DATA, Unreadable

NONCE_SIZE = 12
_TAG_SIZE = 16


def seal(plain: bytes, key: bytes, nonce: bytes) -> bytes:
    """The whole data field. `nonce`: 12 random bytes, never the same twice with one key."""
    if len(nonce) != NONCE_SIZE:
        raise ValueError("a nonce has 12 bytes")
    sealed = nonce + AESGCM(key).encrypt(nonce, plain, None)
    body = {"Message": sealed.hex(), "SenderID": "", "Annotations": None}
    return json.dumps(body, separators=(",", ":")).encode()


def unseal(data: bytes, keys: Iterable[bytes]) -> bytes:
    """What was sealed under one of `keys`. Raises Unreadable."""
    sealed = _sealed(data)
    nonce, rest = sealed[:NONCE_SIZE], sealed[NONCE_SIZE:]
    for key in keys:
        try:
            return AESGCM(key).decrypt(nonce, rest, None)
        except InvalidTag:
            continue
    raise Unreadable("sealed under none of these keys")


def nonce_of(data: bytes) -> bytes:
    """The nonce of a data field, which no two honest messages share. Raises Unreadable."""
    return _sealed(data)[:NONCE_SIZE]


def _sealed(data: bytes) -> bytes:
    if len(data) > MAX_DATA:
        raise Unreadable("a message that is too large")
    try:
        body = json.loads(data)
        text = body["Message"] if isinstance(body, dict) else None
        sealed = bytes.fromhex(text) if isinstance(text, str) and text.isalnum() else b""
    except (ValueError, KeyError, RecursionError):
        raise Unreadable("no message of edgevpn") from None
    if len(sealed) < NONCE_SIZE + _TAG_SIZE:
        raise Unreadable("no message of edgevpn")
    return sealed
