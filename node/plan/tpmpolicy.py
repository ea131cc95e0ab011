"""The policies that a volume is sealed to, computed like a TPM computes them. Pure.

A LUKS2 header keeps only the digest of its policy. Computing it again for what the registers hold
now, and for what they might have held, tells which of them has changed, without trying anything.

Sources: TPM 2.0 Library, Part 3 (PolicyPCR, PolicyAuthorize, PolicyAuthValue) and Part 2
(TPML_PCR_SELECTION, TPMT_PUBLIC); systemd 257, tpm2_calculate_sealing_policy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

SHA256 = 0x000B
ZERO = bytes(32)
"""A register of the SHA-256 bank that nothing was measured into (0 to 15)."""
_POLICY_PCR, _POLICY_AUTHORIZE, _POLICY_AUTH_VALUE = 0x017F, 0x016A, 0x016B
_RSA, _NULL = 0x0001, 0x0010
_DECRYPT_SIGN_WITHAUTH = 0x00060040


def sealing_policy(
    registers: Mapping[int, bytes], literal: Sequence[int], public_key: bytes, *, pin: bool
) -> bytes:
    """The digest of systemd's policy: signed registers first, then literal ones, then the PIN.

    `registers` holds SHA-256 values. `public_key` (PEM) signs the policy of the signed ones; empty
    without. Raises ValueError for a key that is no RSA key.
    """
    digest = ZERO
    if public_key:
        digest = _authorized(rsa_name(public_key))
    if literal:
        digest = pcr_policy(registers, literal, digest)
    if pin:
        digest = _hash(digest + _POLICY_AUTH_VALUE.to_bytes(4, "big"))
    return digest


def pcr_policy(
    registers: Mapping[int, bytes], chosen: Sequence[int], digest: bytes = ZERO
) -> bytes:
    """`digest` with the values of the chosen registers (0 to 23) added."""
    values = _hash(b"".join(registers.get(number, ZERO) for number in sorted(chosen)))
    return _hash(digest + _POLICY_PCR.to_bytes(4, "big") + _selection(chosen) + values)


def key_fingerprint(public_key: bytes) -> str:
    """Hex SHA-256 of the key (DER), as in the signature file of systemd-stub (`pkfp`)."""
    key = load_pem_public_key(public_key)
    return _hash(key.public_bytes(Encoding.DER, PublicFormat.PKCS1)).hex()


def rsa_name(public_key: bytes) -> bytes:
    """The TPM's name of the key that signs policies: hash algorithm and digest of TPMT_PUBLIC."""
    key = load_pem_public_key(public_key)
    if not isinstance(key, RSAPublicKey):
        raise ValueError("the key of the policies is no RSA key")
    numbers = key.public_numbers()
    modulus = numbers.n.to_bytes((key.key_size + 7) // 8, "big")
    area = b"".join(
        (
            _RSA.to_bytes(2, "big"),
            SHA256.to_bytes(2, "big"),
            _DECRYPT_SIGN_WITHAUTH.to_bytes(4, "big"),
            b"\0\0",  # no policy of its own
            _NULL.to_bytes(2, "big"),
            _NULL.to_bytes(2, "big"),
            key.key_size.to_bytes(2, "big"),
            numbers.e.to_bytes(4, "big"),
            len(modulus).to_bytes(2, "big") + modulus,
        )
    )
    return SHA256.to_bytes(2, "big") + _hash(area)


def _authorized(name: bytes) -> bytes:
    digest = _hash(ZERO + _POLICY_AUTHORIZE.to_bytes(4, "big") + name)
    return _hash(digest)  # an empty policyRef


def _selection(chosen: Sequence[int]) -> bytes:
    bits = sum(1 << number for number in set(chosen))
    return b"\0\0\0\1" + SHA256.to_bytes(2, "big") + b"\3" + bits.to_bytes(3, "little")


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
