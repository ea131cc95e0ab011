"""A k3s join token: `K10HASH::USER:PASSWORD`, `K10HASH::ID.SECRET`, or only what follows the `::`.

HASH is of the cluster's authority, so that the token tells the right server from any other. A bare
word is a password. Source: docs.k3s.io/cli/token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from pairing import errors

PREFIX = "K10"
_BOOTSTRAP = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")
_HASH = re.compile(r"[0-9a-f]{64}")
AGENT = "node"
"""As whom an agent presents a password."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token taken apart. `authority` is the hash that it names, empty if it names none."""

    authority: str
    secret: str = field(repr=False)

    @property
    def expires(self) -> bool:
        """Whether it is of the kind that may expire: a bootstrap token."""
        return bool(_BOOTSTRAP.fullmatch(self.secret))

    @property
    def authorization(self) -> str:
        """The HTTP header that presents it (RFC 6750, RFC 7617)."""
        if self.expires:
            return f"Bearer {self.secret}"
        password = self.secret.partition(":")[2]
        return "Basic " + base64.b64encode(f"{AGENT}:{password}".encode()).decode()

    def names(self, pem: bytes) -> bool:
        """Whether these certificates are of the authority that the token names."""
        return hmac.compare_digest(self.authority, authority_hash(pem))


def parse(text: str) -> Token:
    """Take a token apart. Raises errors.JoinTokenRefused if it is none."""
    text = text.strip()
    if not text.startswith(PREFIX):
        bare = text if _BOOTSTRAP.fullmatch(text) else f":{text}"
        return _token("", bare)
    named, between, secret = text.removeprefix(PREFIX).partition("::")
    return _token(named, secret) if between else _token("", named)


def _token(named: str, secret: str) -> Token:
    known = _BOOTSTRAP.fullmatch(secret) or secret.partition(":")[2]
    if not known or (named and not _HASH.fullmatch(named)):
        raise errors.JoinTokenRefused("It is not a whole token of k3s: was it cut off?")
    return Token(named, secret)


def authority_hash(pem: bytes) -> str:
    """Hex SHA-256 of a single certificate's file as it is, or of a chain's root (DER).

    Raises ValueError if there is no certificate.
    """
    certificates = x509.load_pem_x509_certificates(pem)
    root = _root(certificates) if len(certificates) > 1 else None
    data = root.public_bytes(serialization.Encoding.DER) if root else pem
    return hashlib.sha256(data).hexdigest()


def _root(chain: list[x509.Certificate]) -> x509.Certificate | None:
    """The certificate at the end of the first one's chain that signed itself."""
    current, left = chain[0], list(chain[1:])
    while not _signed(current, current):
        above = next((one for one in left if _signed(current, one)), None)
        if above is None:
            return None
        left.remove(above)
        current = above
    return current


def _signed(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
