"""A TPM on paper: the other half of credential activation in a few lines, with keys in memory.

A second implementation, for tests of the protocol that have no TPM; `swtpm.py` has a whole one.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.hashes import SHA256

from pairing import tpmcredential, tpmkeys
from pairing.protocol.tpmproof import (
    ActivateTpm,
    TpmActivated,
    TpmAnswer,
    TpmKeys,
    TpmQuestion,
    TpmUnproved,
)
from pairing.tpmcredential import kdfa

ENDORSEMENT_ATTRIBUTES = 0x000300B2
ATTESTATION_ATTRIBUTES = 0x00050072


def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@dataclass(slots=True)
class PaperTpm:
    """An endorsement key and an attestation key, and what may be changed about them."""

    key: rsa.RSAPrivateKey = field(default_factory=_rsa_key)
    attributes: int = ENDORSEMENT_ATTRIBUTES
    signing: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    signing_attributes: int = ATTESTATION_ATTRIBUTES

    @property
    def endorsement(self) -> bytes:
        """TPMT_PUBLIC of the endorsement key: RSA 2048, AES-128-CFB."""
        modulus = self.key.public_key().public_numbers().n.to_bytes(256, "big")
        head = b"\x00\x01\x00\x0b" + self.attributes.to_bytes(4, "big") + b"\x00\x20" + bytes(32)
        return head + b"\x00\x06\x00\x80\x00\x43\x00\x10\x08\x00" + bytes(4) + b"\x01\x00" + modulus

    @property
    def attestation(self) -> bytes:
        """TPMT_PUBLIC of the attestation key: ECDSA on P-256."""
        point = self.signing.public_key().public_numbers()
        head = b"\x00\x23\x00\x0b" + self.signing_attributes.to_bytes(4, "big") + b"\x00\x00"
        kind = b"\x00\x10\x00\x18\x00\x0b\x00\x03\x00\x10"
        sides = (side.to_bytes(32, "big") for side in (point.x, point.y))
        return head + kind + b"".join(b"\x00\x20" + side for side in sides)

    def unwrap(self, blob: bytes, seed: bytes) -> bytes:
        """TPM2_ActivateCredential. Raises ValueError if it is for another TPM or key."""
        oaep = padding.OAEP(padding.MGF1(SHA256()), SHA256(), b"IDENTITY\0")
        opened = self.key.decrypt(seed[2:], oaep)
        name = tpmkeys.read_key(self.attestation).name
        mac, wrapped = blob[4:36], blob[36:]
        if mac != hmac.digest(kdfa(opened, b"INTEGRITY", b"", bits=256), wrapped + name, "sha256"):
            raise ValueError("integrity")
        key = algorithms.AES(kdfa(opened, b"STORAGE", name, bits=128))
        return Cipher(key, CFB(bytes(16))).decryptor().update(wrapped)[2:]

    def answer(self, question: TpmQuestion, node_key: bytes, lease: bytes) -> TpmAnswer:
        """As an honest machine answers."""
        if not isinstance(question, ActivateTpm):
            return TpmKeys(
                endorsement=self.endorsement, attestation=self.attestation, certificate=b""
            )
        try:
            secret = self.unwrap(question.blob, question.seed)
        except ValueError as wrong:
            return TpmUnproved(text=str(wrong))
        return TpmActivated(mac=tpmcredential.answer(secret, node_key, lease))
