"""The recovery key: 256 random bits that open a node's volumes when its TPM does not.

As text it has systemd's form (systemd-cryptenroll(1), `--recovery-key`): 64 modhex characters in
8 groups of 8, 71 characters with the dashes. That text, without a line feed, is the passphrase.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

SIZE = 32
TEXT_SIZE = 71
MODHEX = b"cbdefghijklnrtuv"
"""Sixteen letters that lie in the same place on most keyboards."""
_GROUP = 8


class RecoveryKey:
    """A recovery key, in memory only, never in repr. `wipe` overwrites what Python can reach."""

    __slots__ = ("_text",)

    def __init__(self, secret: bytes) -> None:
        """From `SIZE` random bytes. Raises ValueError for any other length."""
        if len(secret) != SIZE:
            raise ValueError(f"a recovery key has {SIZE} bytes")
        letters = bytearray()
        for index, byte in enumerate(secret):
            if index and index * 2 % _GROUP == 0:
                letters += b"-"
            letters += bytes((MODHEX[byte >> 4], MODHEX[byte & 15]))
        self._text = letters

    @classmethod
    def new(cls, random: Callable[[int], bytes] = secrets.token_bytes) -> RecoveryKey:
        """A fresh key from the system's random numbers."""
        return cls(random(SIZE))

    @classmethod
    def from_passphrase(cls, text: bytes) -> RecoveryKey:
        """The key with this text. Raises ValueError if it is none."""
        letters = text.replace(b"-", b"")
        if len(letters) != 2 * SIZE or any(letter not in MODHEX for letter in letters):
            raise ValueError("not a recovery key")
        digits = [MODHEX.index(letter) for letter in letters]
        pairs = zip(digits[::2], digits[1::2], strict=True)
        key = cls(bytes(high << 4 | low for high, low in pairs))
        if key.passphrase != text:
            raise ValueError("not a recovery key")
        return key

    @property
    def passphrase(self) -> bytes:
        """The text as ASCII. Raises ValueError once wiped, so that no empty key is ever used."""
        if not self._text:
            raise ValueError("this recovery key was wiped")
        return bytes(self._text)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that tell keys apart and say nothing of them: for the journal."""
        return hashlib.sha256(b"EP1-recovery-key" + self.passphrase).hexdigest()[:16]

    def wipe(self) -> None:
        """Overwrite the key. Best effort: copies made from `passphrase` are the caller's."""
        for index in range(len(self._text)):
            self._text[index] = 0
        self._text.clear()

    def __repr__(self) -> str:
        return "RecoveryKey(...)"
