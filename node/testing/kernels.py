"""Kernel images of a few bytes: PE files with the sections that an upgrade looks at."""

from __future__ import annotations

import struct

KEY = b"-----BEGIN PUBLIC KEY-----\nours\n-----END PUBLIC KEY-----\n"
INSTALLED = b"quiet kairos.mode=installed"


def kernel(cmdline: bytes = INSTALLED, key: bytes = KEY, *, whole: bool = False) -> bytes:
    """With this kernel line and PCR policy key (PEM). `whole`: with the tables that a 64-bit
    program of the firmware has; nobody has signed it."""
    optional = struct.pack("<H58xI44xI128x", 0x20B, 0, 16) if whole else b""
    parts = ((b".cmdline", cmdline), (b".pcrpkey", key))
    start, table, body = 0x40, b"", b""
    place = start + 24 + len(optional) + 40 * len(parts)
    for name, data in parts:
        table += struct.pack("<8s4I16x", name, len(data), 0, len(data), place + len(body))
        body += data
    head = b"MZ" + bytes(0x3A) + struct.pack("<I", start)
    fields = struct.pack("<HH12xHH", 0x8664, len(parts), len(optional), 0)
    return head + b"PE\0\0" + fields + optional + table + body
