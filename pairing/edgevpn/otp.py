"""edgevpn's time-based one-time names.

Source: RFC 6238 with SHA-256, whose result is not cut to decimal digits but base64 and cut.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

MAX_DIGITS = 44
"""All of base64(SHA-256). Stock edgevpn panics beyond."""


def totp(key: str, digits: int, interval: int, unix: int) -> str:
    """The name that `key` gives at `unix` (seconds); it changes every `interval` seconds.

    Raises ValueError where stock edgevpn would panic: more than 44 digits, an interval below 1.
    """
    if not 1 <= digits <= MAX_DIGITS or interval < 1 or unix < 0:
        raise ValueError("no one-time name can be made of this")
    counter = (unix // interval).to_bytes(8, "big")
    code = hmac.new(key.encode(), counter, hashlib.sha256).digest()
    return base64.b64encode(code).decode()[:digits]


def md5_hex(text: str) -> str:
    """How edgevpn shortens names and makes keys of them. Not our choice."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
