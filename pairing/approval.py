"""What an operator sends to let a machine open its disk (`unlock: approval`).

Made from the recovery key, so nothing more has to be kept: whoever holds that key may approve, and
what is sent for an approval does not tell the key.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

AWAITS = "locked-approval"
"""The reason that a machine gives while it waits for an approval: an error's slug."""


def pin(passphrase: bytes) -> bytes:
    """The number that the TPM wants beside its registers: 32 hex digits, ASCII.

    `passphrase` is the recovery key's text. HKDF-SHA256 (RFC 5869), info `EP1-approval`.
    """
    kdf = HKDF(SHA256(), 16, salt=None, info=b"EP1-approval")
    return kdf.derive(passphrase).hex().encode("ascii")
