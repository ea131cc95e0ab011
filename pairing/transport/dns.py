"""DNS messages as mDNS uses them: bytes to records and back. Pure, strict, bounded.

RFC 1035 section 4 (wire format), RFC 2782 (SRV), RFC 3596 (AAAA), RFC 6762 section 18 (what mDNS
changes). Record types that nobody here needs come out as raw bytes.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Name = tuple[bytes, ...]
"""A name's labels without the root, as they were sent. Compare with `same`."""

A, PTR, TXT, AAAA, SRV, ANY = 1, 12, 16, 28, 33, 255
IN = 1
RESPONSE = 0x8400
"""Flags of an mDNS response: QR and AA (RFC 6762 section 18)."""
MESSAGE_LIMIT = 9000
"""RFC 6762 section 17."""
NAME_LIMIT = 255
LABEL_LIMIT = 63
COUNT_LIMIT = 256
"""Questions and records of one message that we are willing to look at."""
_TOP = 0x8000
"""Top bit of the class: unicast answer wanted, or cache flush (RFC 6762 sections 5.4, 10.2)."""


class Malformed(ValueError):
    """These bytes are not a DNS message, or a larger one than we look at."""


@dataclass(frozen=True, slots=True)
class Service:
    """SRV: where a service listens."""

    port: int
    target: Name
    priority: int = 0
    weight: int = 0


Data = ipaddress.IPv4Address | ipaddress.IPv6Address | Name | Service | bytes


@dataclass(frozen=True, slots=True)
class Question:
    name: Name
    kind: int
    unicast: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A resource record of class IN. `ttl` in seconds, 0 says goodbye.

    `data` is an address for A and AAAA, a Name for PTR, a Service for SRV, else raw bytes.
    """

    name: Name
    kind: int
    ttl: int
    data: Data
    flush: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """A query or a response. Answers, authorities and additionals come in one sequence."""

    response: bool
    questions: Sequence[Question] = ()
    records: Sequence[Record] = ()


def name(text: str) -> Name:
    """The labels of a dotted ASCII name."""
    return tuple(label.encode("ascii") for label in text.split("."))


def same(one: Name, other: Name) -> bool:
    """Whether two names are equal: ASCII letters without case (RFC 6762 section 16)."""
    return [label.lower() for label in one] == [label.lower() for label in other]


def encode(message: Message) -> bytes:
    """The message on the wire, without name compression. Raises Malformed if it cannot be one."""
    if len(message.questions) > COUNT_LIMIT or len(message.records) > COUNT_LIMIT:
        raise Malformed("too many entries")
    flags = RESPONSE if message.response else 0
    counts = (len(message.questions), len(message.records), 0, 0)
    parts = [struct.pack("!HHHHHH", 0, flags, *counts)]
    for question in message.questions:
        top = _TOP if question.unicast else 0
        parts.append(_encode_name(question.name) + struct.pack("!HH", question.kind, IN | top))
    parts += [_encode_record(record) for record in message.records]
    whole = b"".join(parts)
    if len(whole) > MESSAGE_LIMIT:
        raise Malformed("too long")
    return whole


def decode(data: bytes) -> Message:
    """Read one message. Raises Malformed, and nothing else, whatever the bytes are."""
    if len(data) > MESSAGE_LIMIT:
        raise Malformed("too long")
    reader = _Reader(data)
    _, flags, *counts = reader.numbers("!HHHHHH")
    if sum(counts) > COUNT_LIMIT:
        raise Malformed("too many entries")
    questions = [question for _ in range(counts[0]) for question in reader.question()]
    records = [record for _ in range(sum(counts[1:])) for record in reader.record()]
    return Message(bool(flags & 0x8000), tuple(questions), tuple(records))


def _encode_name(labels: Name) -> bytes:
    if any(not 0 < len(label) <= LABEL_LIMIT for label in labels):
        raise Malformed("label length")
    whole = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    if len(whole) > NAME_LIMIT:
        raise Malformed("name length")
    return whole


def _encode_record(record: Record) -> bytes:
    data = _encode_data(record.data)
    top = _TOP if record.flush else 0
    if len(data) > 0xFFFF or not 0 <= record.ttl < 2**31:
        raise Malformed("record")
    head = struct.pack("!HHIH", record.kind, IN | top, record.ttl, len(data))
    return _encode_name(record.name) + head + data


def _encode_data(data: Data) -> bytes:
    if isinstance(data, Service):
        head = struct.pack("!HHH", data.priority, data.weight, data.port)
        return head + _encode_name(data.target)
    if isinstance(data, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return data.packed
    return data if isinstance(data, bytes) else _encode_name(data)


class _Reader:
    """A position in a message. Every read checks its bounds."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def numbers(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))

    def question(self) -> Iterator[Question]:
        """The next question, or nothing if its class is not IN."""
        labels = self._name()
        kind, klass = self.numbers("!HH")
        if klass & ~_TOP in (IN, ANY):
            yield Question(labels, kind, bool(klass & _TOP))

    def record(self) -> Iterator[Record]:
        """The next record, or nothing if its class is not IN."""
        labels = self._name()
        kind, klass, ttl, length = self.numbers("!HHIH")
        end = self._at + length
        data = self._record_data(kind, length)
        if self._at != end:
            raise Malformed("record data has another length than announced")
        if klass & ~_TOP == IN:
            yield Record(labels, kind, min(ttl, 2**31 - 1), data, bool(klass & _TOP))

    def _record_data(self, kind: int, length: int) -> Data:
        if kind == A and length == 4:
            return ipaddress.IPv4Address(self._take(4))
        if kind == AAAA and length == 16:
            return ipaddress.IPv6Address(self._take(16))
        if kind in (A, AAAA):
            raise Malformed("address length")
        if kind == PTR:
            return self._name()
        if kind == SRV:
            priority, weight, port = self.numbers("!HHH")
            return Service(port, self._name(), priority, weight)
        return self._take(length)

    def _name(self) -> Name:
        """A name; pointers may only lead backwards, so there is no loop (RFC 1035 4.1.4)."""
        labels: list[bytes] = []
        size, at, limit, after = 1, self._at, len(self._data), -1
        while True:
            length = self._byte(at)
            if length >= 0xC0:
                target = (length & 0x3F) << 8 | self._byte(at + 1)
                after = at + 2 if after < 0 else after
                if target >= min(at, limit):
                    raise Malformed("a pointer that does not lead backwards")
                at = limit = target
                continue
            if length > LABEL_LIMIT:
                raise Malformed("label type")
            at += 1
            if length == 0:
                self._at = at if after < 0 else after
                return tuple(labels)
            label = self._data[at : at + length]
            size += length + 1
            if len(label) < length or size > NAME_LIMIT:
                raise Malformed("name length")
            labels.append(label)
            at += length

    def _byte(self, at: int) -> int:
        if at >= len(self._data):
            raise Malformed("ends too early")
        return self._data[at]

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise Malformed("ends too early")
        self._at += count
        return taken
