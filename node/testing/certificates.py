"""Certificate authorities of our own for tests: an authority, and what it signs."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.providers.kubernetes.authority import fingerprint

LIFE = timedelta(days=2)
SLACK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority: its certificate, and its key to sign with."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def new(cls, name: str = "test authority") -> Authority:
        """A fresh one, good for two days."""
        key = ec.generate_private_key(ec.SECP256R1())
        named = _named(name)
        built = _builder(named, named, key.public_key())
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        built = built.add_extension(usage, critical=True)
        return cls(built.sign(key, hashes.SHA256()), key)

    @property
    def pem(self) -> str:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def fingerprint(self) -> str:
        """`sha256:` and the hash of its public key, as kubeadm writes it."""
        return fingerprint(self.certificate)

    def write(self, folder: Path, name: str = "ca") -> None:
        """As `NAME.crt` and `NAME.key` into `folder`."""
        (folder / f"{name}.crt").write_text(self.pem)
        (folder / f"{name}.key").write_bytes(key_pem(self.key))

    def serve(self, folder: Path, name: str, hosts: Sequence[str], life: timedelta = LIFE) -> None:
        """A server's certificate for these names and addresses, as `NAME.crt` and `NAME.key`."""
        key = ec.generate_private_key(ec.SECP256R1())
        built = _builder(_named(name), self.certificate.subject, key.public_key(), life)
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        built = built.add_extension(names, critical=False)
        use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        built = built.add_extension(use, critical=False)
        signed = built.sign(self.key, hashes.SHA256())
        (folder / f"{name}.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(key_pem(key))

    def sign(self, request: bytes, life: timedelta = LIFE) -> bytes:
        """A client's certificate (PEM) for a certificate request (PEM)."""
        asked = x509.load_pem_x509_csr(request)
        key = asked.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        built = _builder(asked.subject, self.certificate.subject, key, life)
        use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        signed = built.add_extension(use, critical=False).sign(self.key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key, readable by Go's and OpenSSL's tools."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    life: timedelta = LIFE,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    built = built.public_key(key).serial_number(x509.random_serial_number())
    return built.not_valid_before(now - SLACK).not_valid_after(now + life)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
