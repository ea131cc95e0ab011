"""From the hash of a cluster's authority to its certificate: kubeadm's token discovery.

The ConfigMap `kube-public/cluster-info` is readable by anybody. It is signed with each valid token
(HMAC, RFC 7515, detached), so it tells too whether ours is one of them, before the token is sent.
Source: kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterator

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from node.providers.kubernetes.api import Json
from pairing import errors

PATH = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
ALGORITHM = {"alg": "HS256"}


def found(cluster_info: Json, wanted: str, token: str) -> str:
    """The authority (PEM) in this ConfigMap whose public key has the hash `wanted`.

    Raises errors.JoinTokenRefused (the map is not signed with this token), errors.JoinCaMismatch
    (no such authority in it) and errors.JoinAnswerUnknown.
    """
    data = cluster_info.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("kubeconfig"), str):
        raise errors.JoinAnswerUnknown("It has no cluster-info.")
    kubeconfig: str = data["kubeconfig"]
    # Which authority is right is told by the hash alone; the signature, whether the token is.
    for certificate in _authorities(kubeconfig):
        if hmac.compare_digest(fingerprint(certificate), wanted):
            _require_signed(data, kubeconfig, token)
            return certificate.public_bytes(serialization.Encoding.PEM).decode()
    raise errors.JoinCaMismatch


def has(pem: str, wanted: str) -> bool:
    """Whether this authority's public key has the hash `wanted`."""
    try:
        return fingerprint(x509.load_pem_x509_certificate(pem.encode())) == wanted
    except ValueError:
        return False


def fingerprint(certificate: x509.Certificate) -> str:
    """`sha256:` and the hash of its public key (SubjectPublicKeyInfo), as kubeadm writes it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    key = certificate.public_key().public_bytes(serialization.Encoding.DER, form)
    return f"sha256:{hashlib.sha256(key).hexdigest()}"


def signature(kubeconfig: str, token: str) -> str:
    """The detached signature under `kubeconfig`: header, two dots, HMAC."""
    identifier, _, secret = token.partition(".")
    header = _encoded(json.dumps({**ALGORITHM, "kid": identifier}, separators=(",", ":")).encode())
    return f"{header}..{_mac(header, kubeconfig, secret)}"


def _require_signed(data: Json, kubeconfig: str, token: str) -> None:
    identifier, _, secret = token.partition(".")
    said = data.get(f"jws-kubeconfig-{identifier}")
    if not isinstance(said, str):
        raise errors.JoinTokenRefused("The cluster lists no token of this id.")
    header, _, mac = said.partition("..")
    if not hmac.compare_digest(mac.encode(), _mac(header, kubeconfig, secret).encode()):
        raise errors.JoinTokenRefused("Its secret half is another one.")


def _mac(header: str, payload: str, secret: str) -> str:
    signed = f"{header}.{_encoded(payload.encode())}".encode()
    return _encoded(hmac.digest(secret.encode(), signed, "sha256"))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _authorities(kubeconfig: str) -> Iterator[x509.Certificate]:
    try:
        parsed = yaml.safe_load(kubeconfig)
        listed = parsed["clusters"]
        for entry in listed:
            pem = base64.b64decode(entry["cluster"]["certificate-authority-data"], validate=True)
            yield from x509.load_pem_x509_certificates(pem)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError, binascii.Error):
        raise errors.JoinAnswerUnknown("Its cluster-info is not a kubeconfig.") from None
