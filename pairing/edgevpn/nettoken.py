"""Kairos' network token: base64 of YAML, what the large QR code on a stock node's screen says.

    otp: {crypto: {key, length, interval}, dht: {key, length, interval}}
    room, rendezvous, mdns: names; max_message_size: bytes
    ep1: [the node's Ed25519 key, its address]        ours; stock programs skip it

Whoever has it can read and write all that its holders say to each other. Stock programs take much
more than `parse` does, and panic at some of it (a length above 44, an interval of 0).
Source: edgevpn 0.35.3, pkg/node/options.go; docs/protocol.md.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from pairing import errors, tokenbytes
from pairing.edgevpn.limits import MAX_TOKEN
from pairing.edgevpn.otp import MAX_DIGITS
from pairing.edgevpn.tokentext import Map, Value, flow, read
from pairing.transport.base import Address

FOREVER = 2**63 - 1
"""The interval that Kairos writes into tokens of a pairing."""
_ROTATES_BELOW = 2**32
"""Seconds. A longer interval does not end before 2106."""
MIN_DIGITS = 22
"""Fewer characters of a one-time key than this, and its 128 bits could be guessed."""
MESSAGE_SIZE = 20 << 20
NATIVE_KEY = "ep1"
_BASE64 = re.compile(r"[A-Za-z0-9+/]{80,}={0,2}")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ALPHABET = _LETTERS + "0123456789"
_NAME = re.compile(r"[!-~]+")
_MDNS = re.compile(r"[A-Za-z0-9_-]{1,63}")
_SHORT = {"key": 22, "room": 12, "rendezvous": 13, "mdns": 12}
"""Characters: 131 bits for the key, 71 to 77 for names that need only be nobody else's. Together
212 characters of token, the most that a QR code of 57 modules holds at level M."""
_FULL = 43


@dataclass(frozen=True, slots=True)
class Otp:
    """A one-time name: `length` characters, new every `interval` seconds."""

    key: str = field(repr=False)
    length: int = _FULL
    interval: int = FOREVER

    @property
    def rotates(self) -> bool:
        """It changes in our time."""
        return self.interval < _ROTATES_BELOW


@dataclass(frozen=True, slots=True)
class NativePart:
    """Where our own protocol finds the node: its Ed25519 public key, its address if known."""

    key: bytes
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class NetworkToken:
    """What a token's holders share. `dht`: None if a DHT knows them by `rendezvous` itself."""

    crypto: Otp
    room: str = field(repr=False)
    rendezvous: str = field(repr=False)
    mdns: str = field(repr=False)
    dht: Otp | None = None
    max_message_size: int = MESSAGE_SIZE
    native: NativePart | None = None

    @property
    def rotates(self) -> bool:
        """Its names change with time: then it is no pairing's but most likely that of a mesh
        that lives for years, and gives away all that is in there."""
        return self.crypto.rotates or (self.dht is not None and self.dht.rotates)

    @property
    def crypto_secret(self) -> bytes:
        """The secret that everything confidential hangs on."""
        return self.crypto.key.encode()


def looks_like(text: str) -> bool:
    """It may be a network token; `parse` says whether it is one."""
    stripped = text.strip()
    if len(stripped) > MAX_TOKEN or len(stripped) % 4 or not _BASE64.fullmatch(stripped):
        return False
    inside = base64.b64decode(stripped)
    return b"crypto" in inside and b"room" in inside


def parse(text: str, *, loopback: bool = False) -> NetworkToken:
    """Read a token; white space around it is forgiven. Raises errors.NetworkTokenInvalid.

    `loopback` accepts a native address on the own machine (demo and tests).
    """
    try:
        return _token(read(_yaml(text)), loopback)
    except ValueError as wrong:
        raise errors.NetworkTokenInvalid(f"({wrong})") from None


def _yaml(text: str) -> str:
    stripped = text.strip()
    if len(stripped) > MAX_TOKEN:
        raise ValueError("it is too long")
    try:
        return base64.b64decode(stripped.encode("ascii"), validate=True).decode("ascii")
    except (binascii.Error, UnicodeError):
        raise ValueError("it is not base64 of plain text") from None


def _token(body: Map, loopback: bool) -> NetworkToken:
    otp = body.get("otp")
    crypto = _otp(otp.get("crypto"), "otp.crypto") if isinstance(otp, dict) else None
    if not isinstance(otp, dict) or crypto is None:
        raise ValueError("there is no otp.crypto.key in it")
    mdns = _string(body, "mdns")
    if not _MDNS.fullmatch(mdns):
        raise ValueError("its mdns is no name")
    size = _number(body, "max_message_size", 0)
    if not 1 <= size <= FOREVER:
        raise ValueError("its max_message_size forbids messages")
    return NetworkToken(
        crypto=crypto,
        room=_name(body, "room"),
        rendezvous=_name(body, "rendezvous"),
        mdns=mdns,
        dht=_otp(otp.get("dht"), "otp.dht"),
        max_message_size=size,
        native=_native(body[NATIVE_KEY], loopback) if NATIVE_KEY in body else None,
    )


def _otp(body: object, name: str) -> Otp | None:
    """`None` without a key. What stock programs panic at is a ValueError here."""
    if body is None or (isinstance(body, Value) and not body.string()):
        return None
    if not isinstance(body, dict):
        raise ValueError(f"its {name} is no map")
    if not _string(body, "key"):
        return None
    length, interval = _number(body, "length", 0), _number(body, "interval", 0)
    if not MIN_DIGITS <= length <= MAX_DIGITS:
        raise ValueError(f"its {name}.length is not from {MIN_DIGITS} to {MAX_DIGITS}")
    if not 1 <= interval <= FOREVER:
        raise ValueError(f"its {name}.interval is none")
    return Otp(_name(body, "key"), length, interval)


def _string(body: Map, key: str) -> str:
    value = body.get(key)
    return value.string() if isinstance(value, Value) else ""


def _name(body: Map, key: str) -> str:
    name = _string(body, key)
    if not _NAME.fullmatch(name):
        raise ValueError(f"its {key} is missing or no plain text")
    return name


def _number(body: Map, key: str, default: int) -> int:
    value = body.get(key)
    if value is None:
        return default
    number = value.number() if isinstance(value, Value) else None
    if number is None:
        raise ValueError(f"its {key} is no whole number")
    return number


def _native(body: object, loopback: bool) -> NativePart:
    values = body if isinstance(body, list) else []
    texts = [value.text for value in values if isinstance(value, Value)]
    if len(texts) != len(values) or not 1 <= len(texts) <= 2:
        raise ValueError("its part for our own protocol is damaged")
    try:
        key = base64.b64decode(texts[0] + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not tokenbytes.is_point(key):
        raise ValueError("the node's key in it is no key")
    return NativePart(key, _address(texts[1], loopback) if texts[1:] else None)


def _address(text: str, loopback: bool) -> Address:
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ip = ipaddress.ip_address(bare)
    except ValueError:
        raise ValueError("the node's address in it is none") from None
    known = port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536
    strange = ip.is_multicast or ip.is_unspecified or str(ip) == "255.255.255.255"
    if not known or strange or "%" in bare or (ip.is_loopback and not loopback):
        raise ValueError("the node's address in it cannot be a node's")
    return Address(str(ip), int(port))


def to_text(token: NetworkToken) -> str:
    """The shortest text that stock programs read as this token."""
    otp = f"crypto: {_otp_flow(token.crypto)}"
    if token.dht:
        otp += f",dht: {_otp_flow(token.dht)}"
    parts = [
        f"otp: {{{otp}}}",
        f"room: {flow(token.room)}",
        f"rendezvous: {flow(token.rendezvous)}",
        f"mdns: {flow(token.mdns)}",
        f"max_message_size: {_shortest(token.max_message_size)}",
    ]
    if token.native:
        address = token.native.address
        said = f",{_quoted(str(address))}" if address else ""
        key = base64.urlsafe_b64encode(token.native.key).decode().rstrip("=")
        parts.append(f"{NATIVE_KEY}: [{key}{said}]")
    return _base64("{" + ",".join(parts) + "}")


def _otp_flow(otp: Otp) -> str:
    interval = _shortest(otp.interval)
    return f"{{key: {flow(otp.key)},length: {otp.length},interval: {interval}}}"


def _quoted(address: str) -> str:
    return f'"{address}"' if address.startswith("[") else address


def _shortest(number: int) -> str:
    """`10000000000` as `1e10`, which yaml.v2 reads as a whole number."""
    digits = str(number)
    zeros = len(digits) - len(digits.rstrip("0"))
    short = f"{digits[: len(digits) - zeros]}e{zeros}"
    exact = float(short) == number and number < 2**53
    return short if exact and len(short) < len(digits) else digits


def to_full_text(token: NetworkToken) -> str:
    """The form that Kairos writes itself: 548 characters for names of 43."""
    lines = ["otp:"]
    for name, otp in (("dht", token.dht), ("crypto", token.crypto)):
        if otp:
            lines.append(f"  {name}:")
            lines.append(f"    interval: {otp.interval}")
            lines.append(f"    key: {flow(otp.key)}")
            lines.append(f"    length: {otp.length}")
    lines.append(f"room: {flow(token.room)}")
    lines.append(f"rendezvous: {flow(token.rendezvous)}")
    lines.append(f"mdns: {flow(token.mdns)}")
    lines.append(f"max_message_size: {token.max_message_size}")
    return _base64("\n".join(lines) + "\n")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def fresh(
    randbytes: Callable[[int], bytes], *, rotate_seconds: int | None = None, full: bool = False
) -> NetworkToken:
    """A new token. `randbytes`: `secrets.token_bytes`. `rotate_seconds`: for a mesh, not a pairing.

    `full`: as long as Kairos makes them, with names for the DHT that are one-time too; a token that
    rotates is always full. Otherwise `to_text` needs 212 characters.
    """
    size = (lambda _name: _FULL) if full or rotate_seconds else _SHORT.__getitem__
    new = {name: _random(randbytes, size(name)) for name in _SHORT}
    if not full and not rotate_seconds:
        interval, message_size, dht = 10**10, 2 * 10**7, None
    else:
        interval, message_size = rotate_seconds or FOREVER, MESSAGE_SIZE
        dht = Otp(_random(randbytes, _FULL), _FULL, interval)
    return NetworkToken(
        crypto=Otp(new["key"], _FULL, interval),
        room=new["room"],
        rendezvous=new["rendezvous"],
        mdns=new["mdns"],
        dht=dht,
        max_message_size=message_size,
    )


def _random(randbytes: Callable[[int], bytes], size: int) -> str:
    """So many random letters and digits, a letter first: no YAML takes that for a number."""
    # 16 bytes more than needed: what is left over is 2^-128 from evenly spread.
    number = int.from_bytes(randbytes(size + 16), "big")
    text = ""
    for alphabet in (_LETTERS, *[_ALPHABET] * (size - 1)):
        number, place = divmod(number, len(alphabet))
        text += alphabet[place]
    return text
