"""The native token: what the QR code on a node's screen says.

    byte 0      version (high 4 bits, 1) and flags (low 4 bits: FLAG_* below)
    32 bytes    the node's Ed25519 public key, new at every boot
    16 bytes    a one-time secret S, known to the screen and whoever photographs it
    6 bytes     IPv4 address and port, if FLAG_IPV4
    18 bytes    IPv6 address and port, if FLAG_IPV6
    4 bytes     id of the relay where the node waits, if FLAG_RELAY
    2 bytes     SHA-256 of all the above, cut

As text: `EP1:` and base45, upper case only, so a QR code holds it in alphanumeric mode: version 4
(33 modules) at level M with an IPv4 hint. Test vectors: `tests/data/tokens.json`.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass, field

from pairing import base45, errors, tokenbytes
from pairing.tokenbytes import (
    CHECK_SIZE,
    FIELDS,
    FLAG_IPV4,
    FLAG_IPV6,
    FLAG_RELAY,
    FLAG_SIGNED,
    KEY_SIZE,
    PREFIX,
    SECRET_SIZE,
    VERSION,
    check_bytes,
    size_of,
)
from pairing.transport.base import Address

__all__ = ["PREFIX", "SECRET_SIZE", "Token", "parse", "to_text"]

TEXT_LIMIT = 160
"""Characters of the longest text that is looked at."""


@dataclass(frozen=True, slots=True)
class Token:
    """A node's key, one-time secret and hints. `signed`: its fleet's operators only."""

    key: bytes
    secret: bytes = field(repr=False)
    ipv4: Address | None = None
    ipv6: Address | None = None
    relay: bytes = b""
    signed: bool = False

    @property
    def id(self) -> bytes:
        """32 bytes that name key and secret. The hints are outside: an older photo stays valid."""
        return hashlib.sha256(b"EP1-token" + self.key + self.secret).digest()

    @property
    def name(self) -> str:
        """What journals and logs may hold instead of the token."""
        return self.id.hex()[:8]

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The hints to dial."""
        return tuple(a for a in (self.ipv4, self.ipv6) if a)


def to_text(token: Token) -> str:
    """The text that the QR code holds."""
    flags, hints = 0, b""
    if token.ipv4:
        flags |= FLAG_IPV4
        hints += ipaddress.IPv4Address(token.ipv4.host).packed + token.ipv4.port.to_bytes(2, "big")
    if token.ipv6:
        flags |= FLAG_IPV6
        hints += ipaddress.IPv6Address(token.ipv6.host).packed + token.ipv6.port.to_bytes(2, "big")
    if token.relay:
        flags |= FLAG_RELAY
        hints += token.relay
    if token.signed:
        flags |= FLAG_SIGNED
    body = bytes([VERSION << 4 | flags]) + token.key + token.secret + hints
    return PREFIX + base45.encode(body + check_bytes(body))


def parse(text: str, *, loopback: bool = False) -> Token:
    """Read a token's text; white space around it is forgiven, nothing else.

    `loopback` accepts hints that point to the operator's own machine (demo and tests).
    Raises errors.TokenInvalid.
    """
    try:
        data = base45.decode(_payload(text))
    except ValueError as wrong:
        raise errors.TokenInvalid(f"({wrong})") from None
    if fault := tokenbytes.fault(data):
        raise errors.TokenInvalid(f"({fault})")
    return _fields(data[:-CHECK_SIZE], loopback)


def _payload(text: str) -> str:
    stripped = text.strip()
    if len(stripped) > TEXT_LIMIT or not stripped.startswith(PREFIX):
        raise ValueError("it does not start with EP1: or is too long")
    payload = stripped[len(PREFIX) :]
    if len(payload) < 3:
        raise ValueError("too short")
    flags = base45.decode(payload[:3])[0] & 15
    size = size_of(flags)
    # A space is a base45 character that copying drops at the end of a line.
    return payload.ljust(size // 2 * 3 + size % 2 * 2)


def _fields(body: bytes, loopback: bool) -> Token:
    flags = body[0] & 15
    key, secret = body[1 : 1 + KEY_SIZE], body[1 + KEY_SIZE : 1 + KEY_SIZE + SECRET_SIZE]
    rest = body[1 + KEY_SIZE + SECRET_SIZE :]
    parts: dict[int, bytes] = {}
    for flag, size in FIELDS:
        if flags & flag:
            parts[flag], rest = rest[:size], rest[size:]
    return Token(
        key=key,
        secret=secret,
        ipv4=_address(parts.get(FLAG_IPV4), loopback),
        ipv6=_address(parts.get(FLAG_IPV6), loopback),
        relay=parts.get(FLAG_RELAY, b""),
        signed=bool(flags & FLAG_SIGNED),
    )


def _address(packed: bytes | None, loopback: bool) -> Address | None:
    if packed is None:
        return None
    host, port = ipaddress.ip_address(packed[:-2]), int.from_bytes(packed[-2:], "big")
    if host.version == 6 and host.ipv4_mapped:
        raise errors.TokenInvalid("(an IPv4 address in the place of an IPv6 one)")
    strange = (
        host.is_multicast or host.is_unspecified or host == ipaddress.ip_address("255.255.255.255")
    )
    if strange or port == 0 or (host.is_loopback and not loopback):
        raise errors.TokenInvalid(f"(the address {host} in it cannot be a node's)")
    return Address(str(host), port)
