"""The maker's certificate of a TPM's endorsement key, held against the makers' that we trust.

Source: TCG EK Credential Profile, 3.2. Such certificates carry critical extensions that no web
client knows, and often live for ever; so the chain is checked here, link by link.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning

from pairing.tpmkeys import TpmKey

CHAIN_LIMIT = 4
_BROKEN = (
    ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm,
    x509.InvalidVersion, x509.DuplicateExtension,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Maker:
    """Who vouches for the TPM: the issuer's name, and hex SHA-256 of the whole chain's DER."""

    issuer: str
    chain: str


def load_makers(pem: bytes) -> list[x509.Certificate]:
    """The certificates in a PEM file. Raises ValueError if there is none, or one is broken."""
    found = x509.load_pem_x509_certificates(pem)
    if not all(_is_authority(one) for one in found):
        raise ValueError("one of them is no CA certificate")
    return found


def check_certificate(
    der: bytes, endorsement: TpmKey, makers: Sequence[x509.Certificate], now: float
) -> Maker:
    """Who among `makers` certified this endorsement key. `now` in Unix seconds.

    Raises ValueError saying what is wrong.
    """
    if not der:
        raise ValueError("it has no certificate")
    try:
        leaf = _read(der)
        same = _spki(leaf) == _key_spki(endorsement)
    except _BROKEN:
        raise ValueError("its certificate cannot be read") from None
    if not same:
        raise ValueError("its certificate is for another key")
    chain = _chain(leaf, makers, datetime.fromtimestamp(now, UTC))
    digest = hashlib.sha256(b"".join(one.public_bytes(Encoding.DER) for one in chain))
    return Maker(chain[1].subject.rfc4514_string()[:200], digest.hexdigest())


def _read(der: bytes) -> x509.Certificate:
    with warnings.catch_warnings():
        # Makers have made odd ones, and they are burnt in; what counts is checked.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return x509.load_der_x509_certificate(_without_padding(der))


def _without_padding(der: bytes) -> bytes:
    """TPM memory is often larger than the certificate in it."""
    if der[:2] == b"\x30\x82" and len(der) >= 4:
        return der[: 4 + int.from_bytes(der[2:4], "big")]
    return der


def _chain(
    leaf: x509.Certificate, makers: Sequence[x509.Certificate], now: datetime
) -> list[x509.Certificate]:
    chain = [leaf]
    while len(chain) <= CHAIN_LIMIT:
        last = chain[-1]
        if not last.not_valid_before_utc <= now <= last.not_valid_after_utc:
            raise ValueError("a certificate of its chain is not valid today")
        if len(chain) > 1 and last.issuer == last.subject:
            return chain
        issuer = next((maker for maker in makers if _issued(last, maker)), None)
        if issuer is None and len(chain) > 1:
            return chain  # what the file lists is trusted, whether or not it is a root
        if issuer is None:
            break
        chain.append(issuer)
    raise ValueError("its certificate is from nobody in the list of makers")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except _BROKEN:
        return False
    return _is_authority(issuer)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *_BROKEN):
        return False


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _key_spki(key: TpmKey) -> bytes:
    return key.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
