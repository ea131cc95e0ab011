"""What this firmware starts while Secure Boot is on: its lists `db` (allowed) and `dbx` (revoked).

Source: UEFI 2.10, 32.4.1 (signature lists) and 32.5.3.3 (what is refused).
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509 import Certificate

from node.system import board
from node.system.authenticode import UNREADABLE, Signed, signatures, vouches
from node.system.reading import read

GUID = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
CERTIFICATE = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072").bytes_le
DIGEST = uuid.UUID("c1c41626-504c-4092-aca9-41f936934328").bytes_le
HEAD = 28
OWNER = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One list of the firmware. Kinds of entries that are not known here are left out."""

    certificates: Sequence[Certificate] = ()
    digests: frozenset[bytes] = frozenset()

    def holds(self, program: Signed) -> bool:
        """Whether it names the program itself, or somebody in one of its chains."""
        if program.digest in self.digests:
            return True
        return any(
            vouches(known, link)
            for chain in program.chains
            for link in chain
            for known in self.certificates
        )


def refused(root: Path, path: Path) -> str:
    """Why this firmware would not start the program; empty if it would, or does not look.

    Raises ValueError for another kind of file, OSError.
    """
    if board.secure_boot(root) != "on":
        return ""
    program = signatures(path)
    if _listed(root, "dbx").holds(program):
        return "this firmware has its signature on the list of revoked ones"
    if not program.chains and program.digest not in _listed(root, "db").digests:
        return "it has no signature that fits"
    if not _listed(root, "db").holds(program):
        return "it is signed by a key that this firmware does not know"
    return ""


def _listed(root: Path, name: str) -> Listed:
    value = read(root / f"sys/firmware/efi/efivars/{name}-{GUID}")[4:]
    certificates: list[Certificate] = []
    digests: set[bytes] = set()
    for kind, data in _entries(value):
        if kind == DIGEST and len(data) == 32:
            digests.add(data)
        elif kind == CERTIFICATE:
            try:
                certificates.append(x509.load_der_x509_certificate(data))
            except UNREADABLE:
                continue
    return Listed(certificates=certificates, digests=frozenset(digests))


def _entries(value: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and data of each entry of each list; a damaged end is left out."""
    while len(value) >= HEAD:
        kind = value[:16]
        size, header, each = struct.unpack_from("<III", value, 16)
        if not HEAD + header <= size <= len(value) or each <= OWNER:
            return
        body = value[HEAD + header : size]
        for start in range(0, len(body) - each + 1, each):
            yield kind, body[start + OWNER : start + each]
        value = value[size:]
