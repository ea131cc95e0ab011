"""Is the TPM whose endorsement key we were told really at the other end? Credential activation.

A public endorsement key is no secret: anybody may send somebody else's. So the operator wraps a
fresh secret to it, bound to the name of an attestation key, and only the TPM that holds both keys
can unwrap it. Pure; `node/system/endorsement.py` is the other half.

Sources: TPM 2.0 Library, part 1, 24 (Credential Protection), 11.4.10 (KDFa), B.10.3 (OAEP label).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.hashes import SHA256

from pairing.tpmkeys import TpmKey

SECRET_SIZE = 32
_SEED_SIZE = 32
_FILE_MAGIC = bytes.fromhex("badcc0de00000001")


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret that one TPM can unwrap: TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, sizes included.

    Neither half is secret by itself.
    """

    blob: bytes
    seed: bytes = field(repr=False)

    @property
    def file(self) -> bytes:
        """The form that tpm2_activatecredential(1) reads."""
        return _FILE_MAGIC + self.blob + self.seed


def make_credential(
    endorsement: TpmKey, name: bytes, secret: bytes, random: Callable[[int], bytes]
) -> Credential:
    """Wrap `secret` for the TPM with this endorsement key, if it also holds the key `name`.

    `random(n)` gives n secret bytes. Raises ValueError if the endorsement key is not RSA.
    """
    if not isinstance(endorsement.key, rsa.RSAPublicKey):
        raise ValueError("not an RSA key")
    seed = random(_SEED_SIZE)
    cipher_key = kdfa(seed, b"STORAGE", name, bits=128)
    cipher = Cipher(algorithms.AES(cipher_key), CFB(bytes(16))).encryptor()
    wrapped = cipher.update(_sized(secret)) + cipher.finalize()
    mac_key = kdfa(seed, b"INTEGRITY", b"", bits=256)
    mac = hmac.digest(mac_key, wrapped + name, "sha256")
    oaep = padding.OAEP(padding.MGF1(SHA256()), SHA256(), b"IDENTITY\0")
    return Credential(
        blob=_sized(_sized(mac) + wrapped), seed=_sized(endorsement.key.encrypt(seed, oaep))
    )


def kdfa(key: bytes, label: bytes, context: bytes, *, bits: int) -> bytes:
    """KDFa with SHA-256, of one block (at most 256 bits)."""
    counter, length = (1).to_bytes(4, "big"), bits.to_bytes(4, "big")
    block = hmac.digest(key, counter + label + b"\0" + context + length, "sha256")
    return block[: bits // 8]


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def answer(secret: bytes, node_key: bytes, lease: bytes) -> bytes:
    """What the node says instead of the secret: of no use to another node, or in another lease."""
    body = hashlib.sha256(b"EP1-tpm\0" + node_key + lease).digest()
    return hmac.digest(secret, body, "sha256")


def same(one: bytes, other: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one, other)
