"""How much of a stranger's input is looked at, and what is said of the rest."""

from __future__ import annotations

MAX_TOKEN = 4096
"""Characters of a network token; Kairos' own have 548."""
MAX_PAYLOAD = 256 * 1024
"""Bytes of JSON in one pairing. 700 KB do not get through gossip any more."""
MAX_DATA = 4 * 1024 * 1024
"""Bytes of one sealed message."""
MAX_PLAIN = 4 * 1024 * 1024
"""Bytes of one block once unpacked. A bomb of 522 KB unpacks to 512 MiB."""
MAX_ENTRIES = 10_000
MAX_NAME = 256
"""Characters of a bucket's or a key's name."""
MAX_INDEX = 2**40
"""Nobody writes so many blocks; near 2^63 the next honest one would overflow."""


class Unreadable(ValueError):
    """What came is not what this protocol says, or more of it than is looked at.

    Somebody else's rubbish, not the person's: it is ignored, at most counted. Never shown.
    """
