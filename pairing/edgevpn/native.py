"""One code for both channels: what the native channel makes of a network token of Kairos'.

The token carries the node's key and address; the one-time secret S is derived from its crypto key.
So the photo of one code serves both, and is worth on the native channel what it is worth on the
other: whoever has it can take part. HKDF is RFC 5869.
"""

from __future__ import annotations

from dataclasses import replace

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pairing.edgevpn.nettoken import NativePart, NetworkToken
from pairing.peertoken import SECRET_SIZE, Token
from pairing.transport.base import Address

SECRET_DOMAIN = b"EP1-secret-of-network-token"


def secret_of(token: NetworkToken) -> bytes:
    """S, 16 bytes: only who knows the token's crypto key knows it, and it does not say that key."""
    kdf = HKDF(SHA256(), SECRET_SIZE, salt=None, info=SECRET_DOMAIN)
    return kdf.derive(token.crypto_secret)


def native_token(token: NetworkToken) -> Token | None:
    """The native token in a network token; None in one that only Kairos' protocol knows."""
    part = token.native
    if part is None:
        return None
    address = part.address
    return Token(
        key=part.key,
        secret=secret_of(token),
        ipv4=address if address and ":" not in address.host else None,
        ipv6=address if address and ":" in address.host else None,
    )


def with_native(token: NetworkToken, key: bytes, address: Address | None) -> NetworkToken:
    """The same network token with the node's key and where it listens, if that is known."""
    return replace(token, native=NativePart(key, address))
