"""TLS between one end and the relay. It hides labels and addresses; the secrets inside have Noise.

A relay is known by a certificate that a CA signed, or by a pin: the SHA-256 of its public key
(SubjectPublicKeyInfo, as in RFC 7858 4.2), which needs no CA, no name and no clock.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import ipaddress
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pairing import errors

if TYPE_CHECKING:
    from cryptography import x509

RELEASED = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
"""No true clock shows an earlier time than this version's release."""
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, X509_VERIFY_PARAM_set_flags(3)."""
_SELF_SIGNED_DAYS = 3650


def client_context(
    ca_file: Path | None = None, *, clock: Callable[[], float] = time.time
) -> ssl.SSLContext:
    """Verify chain and name against this machine's CAs, or against `ca_file` (PEM) only.

    A machine without a clock battery starts in 1970. Where the clock is certainly wrong, a
    certificate's dates cannot be judged and are not; chain and name are. Raises
    errors.RelayCertificate if `ca_file` cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as wrong:
        raise errors.RelayCertificate(f"({wrong})", element=str(ca_file)) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if clock() < RELEASED.timestamp():
        context.verify_flags |= _NO_CHECK_TIME
    return context


def pinned_context() -> ssl.SSLContext:
    """Verify nothing: only for a relay with a pin, which `check_pin` compares."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check_pin(certificate: bytes, pin: bytes) -> None:
    """Whether a certificate (DER) carries the pinned key. Raises errors.RelayCertificate."""
    try:
        same = hmac.compare_digest(pin_of(certificate), pin)
    except ValueError:
        same = False
    if not same:
        raise errors.RelayCertificate("Its key is not the one after #sha256= in its address.")


def pin_of(certificate: bytes) -> bytes:
    """SHA-256 of the public key in a certificate (DER). Raises ValueError for junk."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = x509.load_der_x509_certificate(certificate).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def why_not_trusted(problem: ssl.SSLCertVerificationError) -> str:
    """One sentence for people, with this machine's date where dates are the reason."""
    said = problem.verify_message
    if problem.verify_code in (9, 10):  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
        today = dt.datetime.now(dt.UTC).date()
        return f"({said}; this machine's clock says {today})"
    return f"({said})"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A relay's own certificate and key, both PEM files."""

    chain: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """A server's context. Raises errors.RelayCertificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.num_tickets = 0  # nobody resumes: saves bytes and memory on each connection
        self.load_into(context)
        return context

    def load_into(self, context: ssl.SSLContext) -> None:
        """Read both files again, for connections from now on. Raises errors.RelayCertificate."""
        try:
            context.load_cert_chain(self.chain, self.key)
        except (OSError, ssl.SSLError) as wrong:
            raise errors.RelayCertificate(f"({wrong})", element=str(self.chain)) from None

    def pin(self) -> bytes:
        """What goes behind `#sha256=` in the relay's address (32 bytes)."""
        return pin_of(ssl.PEM_cert_to_DER_cert(_first_certificate(self.chain.read_text("ascii"))))


def _first_certificate(pem: str) -> str:
    end = "-----END CERTIFICATE-----"
    return pem[pem.index("-----BEGIN CERTIFICATE-----") : pem.index(end) + len(end)]


def self_signed(folder: Path, names: tuple[str, ...]) -> Certificate:
    """The certificate in `folder`, made on first use; clients pin it. P-256, 10 years."""
    certificate = Certificate(folder / "relay.crt", folder / "relay.key")
    if certificate.chain.exists() and certificate.key.exists():
        return certificate
    chain, key = _make(names)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate.key.touch(mode=0o600)
    certificate.key.write_bytes(key)
    certificate.chain.write_bytes(chain)
    return certificate


def _make(names: tuple[str, ...]) -> tuple[bytes, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0][:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(RELEASED)
        .not_valid_after(dt.datetime.now(dt.UTC) + dt.timedelta(_SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(_key_usage(), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(pem), private


def _key_usage() -> x509.KeyUsage:
    """It serves, and it is its own CA for those who trust it by --ca-file (RFC 5280, 4.2.1.3)."""
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
