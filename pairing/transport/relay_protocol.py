"""The relay's protocol and its rules, without a socket: lines, proofs, limits, who waits where.

Both ends connect out to the relay and say one line. From `ok` on, the connection is a pipe: Noise
runs inside, end to end, and the relay reads none of it. `docs/relay.md` is the specification.

A node is waited for under an address, SHA-256 of its public key and a secret label. Whoever saw
the photo can compute the address and call it; only the owner of the key can wait there.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pairing import keys

GREETING = "EP1-relay/1"
LINE_LIMIT = 256
"""Bytes of a line, its line feed included."""
KEY_SIZE = LABEL_SIZE = NONCE_SIZE = 32
WAIT_DOMAIN = "relay-wait"
_ADDRESS_DOMAIN = b"EP1-relay\0"
_HEX = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")
_ACCESS_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,64}")


class Reason:
    """Why the relay says no: the word after `no` on the wire."""

    NOBODY = "nobody"
    """No node waits at this address."""
    BUSY = "busy"
    """The node's waiting connection was just taken, or it has too many circuits."""
    FULL = "full"
    """The relay is at a limit of its own."""
    LIMIT = "limit"
    """The caller's network is at its limit."""
    TOKEN = "token"
    """The access token is missing or wrong."""
    PROOF = "proof"
    """The signature is not the key owner's."""
    MALFORMED = "malformed"
    VERSION = "version"
    REPLACED = "replaced"
    """A newer connection proved the same key and label."""
    DRAIN = "drain"
    """The relay is stopping."""


class Refused(Exception):
    """The relay says no. `reason` is a word of `Reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one relay gives. Times in seconds, sizes in bytes; `per_ip` is per IPv4 or IPv6 /64."""

    waiting: int = 6000
    """Connections that wait: one per label. A node has up to three labels, so 2,000 nodes..."""
    waiting_per_ip: int = 600
    """...and 200 of them in one shop."""
    circuits: int = 1000
    circuits_per_ip: int = 200
    circuits_per_address: int = 4
    greeting: int = 1000
    """Connections that have not been accepted yet, in all..."""
    greeting_per_ip: int = 200
    connections_per_minute: int = 120
    """New connections per IP in the long run..."""
    connections_burst: int = 720
    """...and at once, so that a shop's nodes are all back seconds after a restart."""
    greeting_seconds: float = 10
    """TLS handshake, first line and proof together."""
    answer_seconds: float = 5
    """How long a waiting node may take to accept a call."""
    ping_seconds: float = 30
    """Between pings to a waiting node: below the shortest common NAT timeout."""
    pong_seconds: float = 10
    burst_bytes: int = 2 * 1024 * 1024
    """Bytes a circuit may carry at full speed, both directions together..."""
    bytes_per_second: int = 16 * 1024
    """...and in the long run. Above that it is slowed down, never cut."""
    idle_seconds: float = 90
    """Without one byte delivered, a circuit is cut. Heartbeats come every 10 s."""
    circuit_seconds: float = 3600
    """A circuit is cut after this; the session resumes on a new one."""
    drain_seconds: float = 5


@dataclass(frozen=True, slots=True)
class Wait:
    """A node wants to be called: its key, the label, and the access token it showed."""

    key: bytes
    label: bytes
    access_token: str = field(default="", repr=False)

    @property
    def address(self) -> bytes:
        return address(self.key, self.label)

    def line(self) -> str:
        words = (GREETING, "wait", self.key.hex(), self.label.hex(), self.access_token)
        return " ".join(words).rstrip()


@dataclass(frozen=True, slots=True)
class Call:
    """An operator wants the node that waits at this address."""

    address: bytes
    access_token: str = field(default="", repr=False)

    def line(self) -> str:
        return f"{GREETING} call {self.address.hex()} {self.access_token}".rstrip()


def address(key: bytes, label: bytes) -> bytes:
    """Where a node waits (32 bytes): tells nothing of key or label to who does not know both."""
    if len(key) != KEY_SIZE or len(label) != LABEL_SIZE:
        raise ValueError("key and label have 32 bytes each")
    return hashlib.sha256(_ADDRESS_DOMAIN + key + label).digest()


def proof(seed: bytes, nonce: bytes, where: bytes) -> bytes:
    """The signature by which a node shows that it may wait at the address `where`."""
    return keys.SigningKey(seed).sign(WAIT_DOMAIN, nonce + where)


def check_proof(wait: Wait, nonce: bytes, line: str) -> None:
    """Whether the owner of the key signed this nonce for this address. Raises Refused(PROOF)."""
    verb, _, signature = line.partition(" ")
    if verb != "proof" or not _SIGNATURE.fullmatch(signature):
        raise Refused(Reason.MALFORMED)
    if not keys.verified(wait.key, WAIT_DOMAIN, nonce + wait.address, bytes.fromhex(signature)):
        raise Refused(Reason.PROOF)


def parse_hello(line: str) -> Wait | Call:
    """Read the first line. Raises Refused(VERSION) or Refused(MALFORMED)."""
    greeting, *words = line.split(" ")
    if greeting != GREETING:
        raise Refused(Reason.VERSION if greeting.startswith("EP1-relay/") else Reason.MALFORMED)
    verb, values = (words[0], words[1:]) if words else ("", [])
    count = {"wait": 2, "call": 1}.get(verb)
    if count is None or not count <= len(values) <= count + 1:
        raise Refused(Reason.MALFORMED)
    fixed, token = values[:count], "".join(values[count:])
    if not all(_HEX.fullmatch(value) for value in fixed) or (token and not is_access_token(token)):
        raise Refused(Reason.MALFORMED)
    if verb == "wait":
        return Wait(bytes.fromhex(fixed[0]), bytes.fromhex(fixed[1]), token)
    return Call(bytes.fromhex(fixed[0]), token)


def is_access_token(text: str) -> bool:
    """Whether `text` can be an access token: 16 to 64 letters, digits, `-` or `_`."""
    return _ACCESS_TOKEN.fullmatch(text) is not None


def admits(expected: str, shown: str) -> bool:
    """Whether the access token opens this relay; an empty `expected` admits everybody."""
    return not expected or hmac.compare_digest(expected.encode(), shown.encode())


class Bucket:
    """A token bucket: `burst` at once, `rate` per second in the long run. Time is an argument."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._level, self._at = burst, now

    def level(self, now: float) -> float:
        """What is left; negative after an overdraft."""
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        return self._level

    def take(self, amount: float, now: float) -> float:
        """Take `amount`, into debt if need be; the seconds until the debt is paid."""
        self._level = self.level(now) - amount
        return max(0.0, -self._level / self._rate)

    def full(self, now: float) -> bool:
        return self.level(now) >= self._burst


class Doorkeeper:
    """Counts new and not yet accepted connections per IP. Remembers at most `_KEPT` networks."""

    _KEPT = 65536

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rate = limits.connections_per_minute / 60
        self._buckets: dict[str, Bucket] = {}
        self._visitors: Counter[str] = Counter()

    @contextlib.contextmanager
    def visit(self, ip: str, now: float) -> Iterator[bool]:
        """While a connection is not accepted yet: whether it is welcome, or is to hear that there
        are too many. Raises Refused where even telling it would cost too much (a TLS handshake).
        """
        welcome = self._knock(ip, now)
        self._visitors[ip] += 1
        try:
            yield welcome
        finally:
            _decrease(self._visitors, ip)

    def _knock(self, ip: str, now: float) -> bool:
        if self._visitors.total() >= self._limits.greeting:
            raise Refused(Reason.FULL)
        if self._visitors[ip] >= self._limits.greeting_per_ip:
            raise Refused(Reason.LIMIT)
        bucket = self._buckets.get(ip)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[ip] = Bucket(self._rate, self._limits.connections_burst, now)
        left = bucket.level(now)
        if left < -self._limits.connections_per_minute:
            raise Refused(Reason.LIMIT)
        bucket.take(1, now)
        return left >= 1

    def _forget(self, now: float) -> None:
        if len(self._buckets) < self._KEPT:
            return
        self._buckets = {ip: b for ip, b in self._buckets.items() if not b.full(now)}
        if len(self._buckets) >= self._KEPT:  # an attack from everywhere: start afresh
            self._buckets.clear()


End = TypeVar("End")


@dataclass(slots=True)
class _Place(Generic[End]):
    end: End
    ip: str


class Switchboard(Generic[End]):
    """Who waits where, and how many circuits there are. `End` is what the server makes of one."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._places: dict[bytes, _Place[End]] = {}
        self._waiting_by_ip: Counter[str] = Counter()
        self._circuits: Counter[bytes] = Counter()
        self._circuits_by_ip: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        return len(self._places)

    @property
    def circuits(self) -> int:
        return self._circuits.total()

    def everybody(self) -> Sequence[End]:
        """All that wait now."""
        return [place.end for place in self._places.values()]

    def join(self, where: bytes, ip: str, end: End) -> End | None:
        """Wait at an address; the proof has been checked. Returns whom it replaces: newest wins,
        because the older one is a half-open connection of the same node.

        Raises Refused(FULL) or Refused(LIMIT).
        """
        old = self._places.get(where)
        same_ip = old is not None and old.ip == ip
        if old is None and self.waiting >= self._limits.waiting:
            raise Refused(Reason.FULL)
        if not same_ip and self._waiting_by_ip[ip] >= self._limits.waiting_per_ip:
            raise Refused(Reason.LIMIT)
        if old is not None:
            self._remove(where)
        self._places[where] = _Place(end, ip)
        self._waiting_by_ip[ip] += 1
        return old.end if old else None

    def leave(self, where: bytes, end: End) -> None:
        """Stop waiting; nothing happens if another end waits there by now."""
        place = self._places.get(where)
        if place is not None and place.end is end:
            self._remove(where)

    def ring(self, where: bytes, ip: str) -> End:
        """Take the end that waits at an address for a circuit; `hang_up` when that is over.

        Raises Refused(NOBODY), Refused(BUSY), Refused(LIMIT) or Refused(FULL).
        """
        open_here = self._circuits[where]
        if open_here >= self._limits.circuits_per_address:
            raise Refused(Reason.BUSY)
        place = self._places.get(where)
        if place is None:
            raise Refused(Reason.BUSY if open_here else Reason.NOBODY)
        if self._circuits_by_ip[ip] >= self._limits.circuits_per_ip:
            raise Refused(Reason.LIMIT)
        if self.circuits >= self._limits.circuits:
            raise Refused(Reason.FULL)
        self._remove(where)
        self._circuits[where] += 1
        self._circuits_by_ip[ip] += 1
        return place.end

    def hang_up(self, where: bytes, ip: str) -> None:
        """A circuit that `ring` began is over."""
        _decrease(self._circuits, where)
        _decrease(self._circuits_by_ip, ip)

    def _remove(self, where: bytes) -> None:
        _decrease(self._waiting_by_ip, self._places.pop(where).ip)


Name = TypeVar("Name", bytes, str)


def _decrease(counter: Counter[Name], name: Name) -> None:
    counter[name] -= 1
    if counter[name] <= 0:
        del counter[name]
