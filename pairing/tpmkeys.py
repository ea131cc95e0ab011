"""Public areas of TPM keys (TPMT_PUBLIC), read strictly: the other end's TPM is not trusted yet.

Source: TPM 2.0 Library, part 2, 12.2 (TPMT_PUBLIC), 8.3 (TPMA_OBJECT); TCG EK Credential Profile,
B.3.3 (template L-1, RSA 2048).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, rsa

PUBLIC_LIMIT = 1024
"""Bytes of a public area: RSA 4096 needs 600."""
CERTIFICATE_LIMIT = 4096
"""Bytes of the certificate of an endorsement key (`pairing.ekcertificate`)."""
_RSA, _ECC, _SHA256, _NULL = 0x0001, 0x0023, 0x000B, 0x0010
_AES, _CFB, _P256 = 0x0006, 0x0043, 0x0003
_FIXED = 1 << 1 | 1 << 4 | 1 << 5
"""fixedTPM, fixedParent, sensitiveDataOrigin: made in this TPM and never to leave it."""
_RESTRICTED, _DECRYPT, _SIGN = 1 << 16, 1 << 17, 1 << 18


class _Reader:
    """Big-endian numbers and sized buffers. Raises ValueError at the end of the data."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise ValueError("cut short")
        self._at += size
        return part

    def number(self, size: int = 2) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        return self.take(self.number())

    def end(self) -> None:
        if self._at != len(self._data):
            raise ValueError("bytes too many")


@dataclass(frozen=True, slots=True)
class TpmKey:
    """A key in a TPM: its public area, its attributes, and the key itself."""

    area: bytes
    attributes: int
    cipher: tuple[int, int, int]
    """What it wraps its children with: algorithm, bits, mode; zeros for a signing key."""
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey

    @property
    def name(self) -> bytes:
        """The TPM's own name for it: SHA-256's number and the hash of the public area."""
        return _SHA256.to_bytes(2, "big") + hashlib.sha256(self.area).digest()

    @property
    def hash(self) -> str:
        """Hex SHA-256 of the public area: what `expect.ek_hash` and `facts.tpm.ek_hash` hold."""
        return hashlib.sha256(self.area).hexdigest()


def read_key(area: bytes) -> TpmKey:
    """Read a public area: RSA, or ECC on P-256; names by SHA-256. Raises ValueError."""
    if len(area) > PUBLIC_LIMIT:
        raise ValueError("too long")
    reader = _Reader(area)
    kind, name_hash, attributes = reader.number(), reader.number(), reader.number(4)
    reader.sized()  # the policy: part of the hash, nothing that we judge
    if name_hash != _SHA256:
        raise ValueError("not named by SHA-256")
    cipher = _cipher(reader)
    _scheme(reader)
    if kind == _RSA:
        key = _rsa(reader)
    elif kind == _ECC:
        return TpmKey(area, attributes, cipher, _ecc(reader))
    else:
        raise ValueError("neither RSA nor ECC")
    return TpmKey(area, attributes, cipher, key)


def _cipher(reader: _Reader) -> tuple[int, int, int]:
    algorithm = reader.number()
    return (0, 0, 0) if algorithm == _NULL else (algorithm, reader.number(), reader.number())


def _scheme(reader: _Reader) -> None:
    if reader.number() != _NULL:
        reader.number()


def _rsa(reader: _Reader) -> rsa.RSAPublicKey:
    bits, exponent, modulus = reader.number(), reader.number(4), reader.sized()
    reader.end()
    if bits not in (2048, 3072, 4096) or len(modulus) * 8 != bits or not modulus[0] & 0x80:
        raise ValueError("not an RSA key of 2048 to 4096 bits")
    numbers = rsa.RSAPublicNumbers(exponent or 65537, int.from_bytes(modulus, "big"))
    return numbers.public_key()


def _ecc(reader: _Reader) -> ec.EllipticCurvePublicKey:
    curve = reader.number()
    _scheme(reader)
    x, y = reader.sized(), reader.sized()
    reader.end()
    if curve != _P256:
        raise ValueError("not on the curve P-256")
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()
    )
    return numbers.public_key()


def read_endorsement(area: bytes) -> TpmKey:
    """An endorsement key: RSA, may only unwrap, and cannot leave its TPM. Raises ValueError."""
    found = read_key(area)
    if not isinstance(found.key, rsa.RSAPublicKey):
        raise ValueError("not an RSA key")
    wanted = _FIXED | _RESTRICTED | _DECRYPT
    if found.attributes & (wanted | _SIGN) != wanted:
        raise ValueError("not a restricted decryption key of one TPM")
    if found.cipher != (_AES, 128, _CFB):
        raise ValueError("does not wrap with AES-128-CFB")
    return found


def read_attestation(area: bytes) -> TpmKey:
    """An attestation key: signs only what its TPM made, and cannot leave it. Raises ValueError."""
    found = read_key(area)
    wanted = _FIXED | _RESTRICTED | _SIGN
    if found.attributes & (wanted | _DECRYPT) != wanted:
        raise ValueError("not a restricted signing key of one TPM")
    return found
