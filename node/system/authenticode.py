"""The signature of a program of the firmware, as firmware with Secure Boot checks it. Reads only.

Sources: Microsoft, "Windows Authenticode Portable Executable Signature Format" and the PE format;
PKCS #7 (RFC 2315); UEFI 2.10, 32.5.1.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import Certificate

SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
INDIRECT_DATA = bytes.fromhex("060a2b060104018237020104")
MESSAGE_DIGEST = bytes.fromhex("06092a864886f70d010904")
SHA256 = bytes.fromhex("0609608648016503040201")
PKCS_SIGNED = 0x0002
DIRECTORY_LIMIT = 64 * 1024
CHUNK = 2**20
SET, ATTRIBUTES, CERTIFICATES = 0x31, 0xA0, 0xA0
DEPTH = 4
UNREADABLE = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
)
"""What the library raises for other people's bytes."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A program and who signed it: the SHA-256 that firmware takes of it, chains of certificates,
    each from the signer on."""

    digest: bytes
    chains: tuple[tuple[Certificate, ...], ...]


def signatures(path: Path) -> Signed:
    """Every signature that fits the program. Raises ValueError for another kind of file, OSError.

    Signatures that do not fit, or that are not RSA with SHA-256, are left out.
    """
    with path.open("rb") as file:
        image = _Image.of(file.read(4096 * 4), path.stat().st_size)
        digest = hashlib.sha256()
        for start, end in image.hashed():
            file.seek(start)
            while start < end and (chunk := file.read(min(CHUNK, end - start))):
                digest.update(chunk)
                start += len(chunk)
        file.seek(image.directory)
        table = file.read(min(image.directory_size, DIRECTORY_LIMIT))
    found = (_chain(blob, digest.digest()) for blob in _entries(table))
    return Signed(digest.digest(), tuple(chain for chain in found if chain))


# --- the program ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Image:
    """Places in a PE32+ file. `directory`: of the signatures, at the end of the file."""

    checksum: int
    entry: int
    headers: int
    sections: tuple[tuple[int, int], ...]
    directory: int
    directory_size: int
    size: int

    @classmethod
    def of(cls, head: bytes, size: int) -> _Image:
        try:
            (start,) = struct.unpack_from("<I", head, 0x3C)
            if head[:2] != b"MZ" or head[start : start + 4] != b"PE\0\0":
                raise ValueError("not a program of the firmware")
            count, optional = struct.unpack_from("<H12xH", head, start + 6)
            begin = start + 24
            (magic,) = struct.unpack_from("<H", head, begin)
            (headers,) = struct.unpack_from("<I", head, begin + 60)
            (directories,) = struct.unpack_from("<I", head, begin + 108)
            if magic != 0x20B or directories < 5:
                raise ValueError("not a 64-bit program with a table of signatures")
            place, length = struct.unpack_from("<II", head, begin + 144)
            rows = range(begin + optional, begin + optional + 40 * count, 40)
            sections = [struct.unpack_from("<II", head, row + 16) for row in rows]
        except struct.error:
            raise ValueError("not a program of the firmware") from None
        if place and place + length != size:
            raise ValueError("its signatures are not at its end")
        kept = sorted((offset, offset + raw) for raw, offset in sections if raw)
        return cls(begin + 64, begin + 144, headers, tuple(kept), place or size, length, size)

    def hashed(self) -> Iterator[tuple[int, int]]:
        """What is signed: all but the checksum, the place of the signatures, and they."""
        yield 0, self.checksum
        yield self.checksum + 4, self.entry
        yield self.entry + 8, self.headers
        end = self.headers
        for start, stop in self.sections:
            if start < end or stop > self.directory:
                raise ValueError("its sections overlap")
            yield start, stop
            end = stop
        yield end, self.directory


def _entries(table: bytes) -> Iterator[bytes]:
    """PKCS #7 blobs of the table: each entry has its length, revision and type before it."""
    while len(table) >= 8:
        length, _, kind = struct.unpack_from("<IHH", table)
        if length < 8:
            return
        if kind == PKCS_SIGNED:
            yield table[8:length]
        table = table[(length + 7) // 8 * 8 :]


# --- one signature ----------------------------------------------------------------------------


def _chain(blob: bytes, digest: bytes) -> tuple[Certificate, ...]:
    """Its signer and who vouches for that; empty if the signature does not fit."""
    try:
        content, certificates, signer = _parts(blob)
        if not _names(content, digest):
            return ()
        chosen = next(one for one in certificates if one.serial_number == signer.serial)
        _verify(chosen, signer, content)
    except (LookupError, StopIteration, *UNREADABLE):
        return ()
    chain = [chosen]
    while len(chain) < DEPTH:
        above = [one for one in certificates if one not in chain and vouches(one, chain[-1])]
        if not above:
            break
        chain.append(above[0])
    return tuple(chain)


@dataclass(frozen=True, slots=True)
class _Signer:
    serial: int
    attributes: bytes
    signature: bytes


def _parts(blob: bytes) -> tuple[bytes, list[Certificate], _Signer]:
    """What is signed (SpcIndirectDataContent, without its head), certificates, the signer."""
    kind, data = _items(_item(blob)[1])[:2]
    if kind[2] != SIGNED_DATA:
        raise ValueError("not signed data")
    fields = _items(_items(_item(data[2])[1])[0][1])
    encapsulated = _items(fields[2][1])
    if encapsulated[0][2] != INDIRECT_DATA:
        raise ValueError("not a signature of a program")
    content = _item(encapsulated[1][1])[1]
    optional = {tag: value for tag, value, _ in fields[3:-1]}
    certificates = [
        x509.load_der_x509_certificate(whole) for _, _, whole in _items(optional[CERTIFICATES])
    ]
    signer = _items(_items(fields[-1][1])[0][1])
    serial = int.from_bytes(_items(signer[1][1])[1][1], "big")
    if SHA256 not in signer[2][1] or signer[3][0] != ATTRIBUTES:
        raise ValueError("not SHA-256 with attributes")
    return content, certificates, _Signer(serial, signer[3][1], signer[5][1])


def _names(content: bytes, digest: bytes) -> bool:
    """Whether the signed content names this digest of a program."""
    algorithm, value = _items(_items(content)[1][1])
    return SHA256 in algorithm[1] and value[1] == digest


def _verify(certificate: Certificate, signer: _Signer, content: bytes) -> None:
    """Raises InvalidSignature, ValueError."""
    named = [_items(value) for _, value, _ in _items(signer.attributes)]
    (digest,) = [item[1][1] for item in named if item[0][2] == MESSAGE_DIGEST]
    if _item(digest)[1] != hashlib.sha256(content).digest():
        raise ValueError("the attributes name other content")
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("not an RSA key")
    body = _encoded(SET, signer.attributes)
    key.verify(signer.signature, body, padding.PKCS1v15(), hashes.SHA256())


def vouches(issuer: Certificate, certificate: Certificate) -> bool:
    """Whether `issuer` is the certificate itself, or has signed it."""
    if issuer == certificate:
        return True
    try:
        certificate.verify_directly_issued_by(issuer)
    except UNREADABLE:
        return False
    return True


# --- DER (X.690), as far as it occurs -----------------------------------------------------------

_Item = tuple[int, bytes, bytes]
"""Tag, content, and the whole with its head."""


def _item(data: bytes) -> _Item:
    """The first item. Raises IndexError, ValueError where it is cut off."""
    tag, length, start = data[0], data[1], 2
    if length >= 0x80:
        start = 2 + (length & 0x7F)
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length or start > 6:
        raise ValueError("cut off")
    return tag, data[start : start + length], data[: start + length]


def _items(data: bytes) -> list[_Item]:
    found: list[_Item] = []
    while data:
        found.append(_item(data))
        data = data[len(found[-1][2]) :]
    return found


def _encoded(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content
