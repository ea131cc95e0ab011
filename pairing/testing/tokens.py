"""Tokens of nodes that do not exist, well formed and reproducible."""

from __future__ import annotations

import random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pairing import peertoken
from pairing.transport.base import Address


def random_token(chance: random.Random, *, hint: bool = True) -> str:
    """The text of a token with a real key, drawn from `chance`; `hint`: with an IPv4 address."""
    key = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32)).public_key()
    address = Address(f"192.0.2.{chance.randint(1, 254)}", chance.randint(1, 65535))
    token = peertoken.Token(
        key.public_bytes_raw(), chance.randbytes(16), ipv4=address if hint else None
    )
    return peertoken.to_text(token)
