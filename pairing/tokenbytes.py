"""The bytes of a native token and what makes them whole (`pairing.peertoken` has the layout).

Without any key or network library: the sandboxed process that reads photos judges with it.
"""

from __future__ import annotations

import hashlib

PREFIX = "EP1:"
VERSION = 1
FLAG_IPV4, FLAG_IPV6, FLAG_RELAY, FLAG_SIGNED = 1, 2, 4, 8
KEY_SIZE, SECRET_SIZE, RELAY_SIZE, CHECK_SIZE = 32, 16, 4, 2
FIELDS = ((FLAG_IPV4, 6), (FLAG_IPV6, 18), (FLAG_RELAY, RELAY_SIZE))
"""Flag and bytes of each hint, in the order in which they stand."""
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


def size_of(flags: int) -> int:
    """Bytes of a token with these flags."""
    hints = sum(length for flag, length in FIELDS if flags & flag)
    return 1 + KEY_SIZE + SECRET_SIZE + hints + CHECK_SIZE


def check_bytes(body: bytes) -> bytes:
    """What stands after `body`."""
    return hashlib.sha256(body).digest()[:CHECK_SIZE]


def is_point(key: bytes) -> bool:
    """Whether these 32 bytes encode a point of the curve (RFC 8032, 5.1.3): half of all do."""
    y = int.from_bytes(key, "little") & (2**255 - 1)
    if len(key) != KEY_SIZE or y >= _P:
        return False
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    return x_squared == 0 or pow(x_squared, (_P - 1) // 2, _P) == 1


def fault(data: bytes) -> str:
    """Why these bytes are no token; empty if they are one. The hints are not looked at."""
    if not data or data[0] >> 4 != VERSION:
        return "another version: update this program"
    if len(data) != size_of(data[0] & 15) or check_bytes(data[:-CHECK_SIZE]) != data[-CHECK_SIZE:]:
        return "a character is wrong or missing"
    if not is_point(data[1 : 1 + KEY_SIZE]):
        return "the key in it is no key"
    return ""
