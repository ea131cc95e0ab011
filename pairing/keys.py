"""Keys and what is signed or sealed with them: node, operator, station, fleet and escrow keys.

| key | kind | lives | does |
|---|---|---|---|
| node | Ed25519 | one boot, in memory | proves the node of the photo; signs receipts |
| operator | Ed25519 | the operator's key folder | claims nodes, signs manifests |
| fleet | Ed25519 | offline, if you can | signs station certificates; images pin its public half |
| escrow | X25519 | the operator's key folder, or offline | opens sealed recovery keys |

A station is an operator key with a certificate of its fleet. Every signature covers a domain
string, so that one thing signed can never be taken for another.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from pairing import errors, words
from pairing.protocol.frames import canonical

_HPKE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key pair: `seed` is the 32-byte private half."""

    seed: bytes = field(repr=False)
    public: bytes = field(init=False)
    """The 32-byte public half."""

    def __post_init__(self) -> None:
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        object.__setattr__(self, "public", public.public_bytes_raw())

    def sign(self, domain: str, body: bytes) -> bytes:
        """64 bytes over `EP1-<domain>`, a zero byte and `body`."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(_signed(domain, body))


def generate() -> SigningKey:
    """A new key from the operating system's randomness."""
    return SigningKey(Ed25519PrivateKey.generate().private_bytes_raw())


def verified(public: bytes, domain: str, body: bytes, signature: bytes) -> bool:
    """Whether `signature` over `body` is by the owner of `public`."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _signed(domain, body))
    except (InvalidSignature, ValueError):
        return False
    return True


def _signed(domain: str, body: bytes) -> bytes:
    return b"EP1-" + domain.encode("ascii") + b"\0" + body


def fingerprint(public: bytes) -> str:
    """A key's name for people: 16 base32 characters in groups of four (80 bits of SHA-256)."""
    text = base64.b32encode(hashlib.sha256(public).digest()[:10]).decode("ascii")
    return "-".join(text[start : start + 4] for start in range(0, 16, 4))


def fingerprint_words(public: bytes, count: int = 3) -> tuple[str, ...]:
    """A key's name to say over the telephone; for recognising, not for proving."""
    return words.words(hashlib.sha256(b"EP1-words" + public).digest(), count)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A fleet's word that `station` is one of its operators. `sequence` grows with each one signed.

    Revocation is by sequence, never by date: a node without a clock must be able to judge.
    """

    fleet: bytes
    station: bytes
    sequence: int
    name: str
    signature: bytes

    def body(self) -> bytes:
        """What the fleet key signs."""
        return canonical(
            {
                "fleet": self.fleet.hex(),
                "station": self.station.hex(),
                "sequence": self.sequence,
                "name": self.name,
            }
        )


def certify(fleet: SigningKey, station: bytes, sequence: int, name: str) -> Certificate:
    """Sign a station's public key into the fleet."""
    draft = Certificate(fleet.public, station, sequence, name, b"")
    signature = fleet.sign("station", draft.body())
    return Certificate(draft.fleet, draft.station, draft.sequence, draft.name, signature)


@dataclass(frozen=True, slots=True)
class PinnedFleet:
    """A fleet that a node obeys: its public key, and what it has revoked.

    Certificates with a sequence below `minimum`, or listed in `revoked`, are refused.
    """

    key: bytes
    minimum: int = 0
    revoked: frozenset[int] = frozenset()

    def check(self, certificate: Certificate, station: bytes) -> None:
        """Raises errors.FleetSignatureNeeded or errors.CertificateRevoked."""
        ours = certificate.fleet == self.key and certificate.station == station
        signed = verified(self.key, "station", certificate.body(), certificate.signature)
        if not (ours and signed):
            raise errors.FleetSignatureNeeded
        if certificate.sequence < self.minimum or certificate.sequence in self.revoked:
            raise errors.CertificateRevoked


@dataclass(frozen=True, slots=True)
class EscrowKey:
    """An X25519 key pair that recovery keys are sealed to (HPKE, RFC 9180, base mode)."""

    private: bytes = field(repr=False)

    @property
    def public(self) -> bytes:
        """The 32-byte public half, which a manifest names as recipient."""
        return X25519PrivateKey.from_private_bytes(self.private).public_key().public_bytes_raw()

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed. Raises errors.NotAuthenticError if it is not for us or was changed."""
        key = X25519PrivateKey.from_private_bytes(self.private)
        try:
            return _HPKE.decrypt(sealed, key, _info(context))
        except Exception:  # the library names no base class for a failed opening
            raise errors.NotAuthenticError("A sealed key does not open.") from None


def generate_escrow() -> EscrowKey:
    """A new escrow key from the operating system's randomness."""
    return EscrowKey(X25519PrivateKey.generate().private_bytes_raw())


def seal(plain: bytes, recipient: bytes, context: bytes) -> bytes:
    """Seal to an escrow key's public half; `context` (node, lease) must be given again to open.

    Raises ValueError if `recipient` is no X25519 key.
    """
    return _HPKE.encrypt(plain, X25519PublicKey.from_public_bytes(recipient), _info(context))


def _info(context: bytes) -> bytes:
    return b"EP1-escrow\0" + context
