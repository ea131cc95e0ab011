"""The machine's key, its certificate request, and the certificate, as the kubelet keeps them.

In the kubelet's own folder and form (`pki/kubelet-client-current.pem`, a link to a dated file with
certificate and key), so that the kubelet finds it there and renews it by itself. The folder is on
the encrypted volume; files are 0600, never for a moment anything else.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from node.providers.kubernetes.api import Json
from pairing import errors

FOLDER = Path("var/lib/kubelet")
PKI = FOLDER / "pki"
CURRENT = PKI / "kubelet-client-current.pem"
KEY = PKI / "kubelet-client.key.tmp"
"""The key of a request that is not signed yet; the kubelet names it so too."""
SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SPARE = timedelta(minutes=5)
"""A certificate that ends sooner is not used any more."""
GROUP = "system:nodes"


@dataclass(frozen=True, slots=True)
class Identity:
    """A node's identity below `root`, which is `/` but in tests."""

    root: Path
    name: str

    @property
    def pair(self) -> Path:
        """The PEM file with certificate and key."""
        return self.root / CURRENT

    def valid(self, now: datetime) -> bool:
        """Whether there is a certificate for this name that has not ended."""
        try:
            certificate = x509.load_pem_x509_certificate(self.pair.read_bytes())
        except (OSError, ValueError):
            return False
        return _names(certificate) == [self.user] and now + SPARE < certificate.not_valid_after_utc

    @property
    def user(self) -> str:
        """The name that the API server knows it by."""
        return f"system:node:{self.name}"

    def key(self) -> ec.EllipticCurvePrivateKey:
        """The key of the request that is under way: the same one after a restart."""
        path = self.root / KEY
        try:
            kept = serialization.load_pem_private_key(path.read_bytes(), None)
            if isinstance(kept, ec.EllipticCurvePrivateKey):
                return kept
        except (OSError, ValueError, TypeError):
            pass
        made = ec.generate_private_key(ec.SECP256R1())
        write_private(path, _pem(made))
        return made

    def request(self, key: ec.EllipticCurvePrivateKey) -> Json:
        """The CertificateSigningRequest (certificates.k8s.io/v1) for `key`.

        Named after the key: asking twice is asking once.
        """
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, GROUP),
                x509.NameAttribute(NameOID.COMMON_NAME, self.user),
            ]
        )
        asked = x509.CertificateSigningRequestBuilder().subject_name(subject)
        pem = asked.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        digest = hashlib.sha256(_public(key.public_key()) + self.user.encode()).hexdigest()[:32]
        return {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": f"node-csr-{digest}"},
            "spec": {
                "request": base64.b64encode(pem).decode(),
                "signerName": SIGNER,
                "usages": ["digital signature", "client auth"],
            },
        }

    def keep(self, certificate: bytes, key: ec.EllipticCurvePrivateKey) -> None:
        """Store a signed certificate (PEM) with its key; the link is turned last.

        Raises errors.JoinAnswerUnknown if it is not for this key and name, and OSError.
        """
        try:
            parsed = x509.load_pem_x509_certificate(certificate)
            ours = _public(parsed.public_key()) == _public(key.public_key())  # type: ignore[arg-type]
        except (ValueError, AttributeError):
            ours = False
        if not ours or _names(parsed) != [self.user]:
            raise errors.JoinAnswerUnknown("It signed another certificate than was asked for.")
        dated = f"kubelet-client-{datetime.now(UTC):%Y-%m-%d-%H-%M-%S}.pem"
        write_private(self.root / PKI / dated, certificate.rstrip() + b"\n" + _pem(key))
        fresh = self.root / PKI / f".{secrets.token_hex(4)}"
        fresh.symlink_to(dated)
        fresh.rename(self.pair)
        (self.root / KEY).unlink(missing_ok=True)

    def trust(self, authority: str) -> None:
        """Store the cluster's authority (PEM) for the kubelet. Raises OSError."""
        write_private(self.root / PKI / "ca.crt", authority.encode())

    @property
    def authority(self) -> str:
        """The authority that `trust` stored; empty if there is none."""
        try:
            return (self.root / PKI / "ca.crt").read_text()
        except (OSError, ValueError):
            return ""

    def forget(self) -> None:
        """Drop the certificate: the cluster does not accept it any more."""
        self.pair.unlink(missing_ok=True)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only root may read, at once or not at all, and flush it to the disk."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(draft, flags, 0o600)
    try:
        with open(file, "wb") as out:  # noqa: PTH123 (a descriptor)
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        draft.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _public(key: ec.EllipticCurvePublicKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form)


def _names(certificate: x509.Certificate) -> list[str]:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return [str(name.value) for name in found]
