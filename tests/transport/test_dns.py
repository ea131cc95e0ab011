"""DNS messages: what we write is read back, and no bytes whatever do harm."""

from __future__ import annotations

import contextlib
import ipaddress
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pairing.transport import dns

labels = st.binary(min_size=1, max_size=63)
names = st.lists(labels, max_size=6).map(tuple).filter(lambda n: sum(map(len, n)) + len(n) < 255)
addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address),
    st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address),
)
services = st.builds(
    dns.Service,
    port=st.integers(0, 65535),
    target=names,
    priority=st.integers(0, 65535),
    weight=st.integers(0, 65535),
)


@st.composite
def records(draw: st.DrawFn) -> dns.Record:
    kind, data = draw(
        st.one_of(
            addresses.map(lambda a: (dns.A if a.version == 4 else dns.AAAA, a)),
            names.map(lambda n: (dns.PTR, n)),
            services.map(lambda s: (dns.SRV, s)),
            st.binary(max_size=300).map(lambda b: (dns.TXT, b)),
        )
    )
    ttl = draw(st.integers(0, 2**31 - 1))
    return dns.Record(draw(names), kind, ttl, data, draw(st.booleans()))


questions = st.builds(dns.Question, names, st.integers(0, 65535), st.booleans())
messages = st.builds(
    dns.Message,
    st.booleans(),
    st.lists(questions, max_size=4).map(tuple),
    st.lists(records(), max_size=6).map(tuple),
)


@given(messages)
def test_what_is_written_is_read_back(message: dns.Message) -> None:
    assert dns.decode(dns.encode(message)) == message


HEADER = struct.pack("!HHHHHH", 0, 0, 1, 0, 0, 0)


@given(st.binary(max_size=600))
@example(HEADER + b"\xc0\x0c\0\x0c\0\1")
@example(HEADER + b"\xc0\xff\0\x0c\0\1")
@example(HEADER + b"\x01a\xc0\x0c\0\x0c\0\1")
@example(HEADER + b"\x80\0\0\0\0")
@example(b"")
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    with contextlib.suppress(dns.Malformed):
        dns.decode(data)


@given(messages, st.data())
def test_a_damaged_message_is_a_message_or_malformed(
    message: dns.Message, data: st.DataObject
) -> None:
    whole = bytearray(dns.encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(dns.Malformed):
        dns.decode(bytes(whole))


def test_a_pointer_leads_back_to_an_earlier_name() -> None:
    name = b"\x04node\x05local\0"
    body = name + b"\0\1\0\1" + b"\xc0\x0c\0\x1c\0\1" + b"\x02my\xc0\x11\0\1\0\1"
    message = dns.decode(struct.pack("!HHHHHH", 0, 0, 3, 0, 0, 0) + body)
    assert [q.name for q in message.questions] == [
        (b"node", b"local"),
        (b"node", b"local"),
        (b"my", b"local"),
    ]


@pytest.mark.parametrize(
    "name",
    [b"\xc0\x0c", b"\x01a\xc0\x0c", b"\x01a\xc0\x0e", b"\xc0\x20", b"\x3f" + b"a" * 10],
    ids=["itself", "own start", "own middle", "forwards", "beyond the end"],
)
def test_compression_loops_are_refused(name: bytes) -> None:
    with pytest.raises(dns.Malformed):
        dns.decode(HEADER + name + b"\0\1\0\1")


def test_a_chain_of_pointers_ends_at_255_bytes() -> None:
    """Each name points at the one before and adds a label: 30 of them would be 600 bytes."""
    parts, start = [b"\x13" + b"a" * 19 + b"\0" + b"\0\1\0\1"], 12
    for _ in range(30):
        parts.append(b"\x13" + b"a" * 19 + struct.pack("!H", 0xC000 | start) + b"\0\1\0\1")
        start += len(parts[-2])
    data = struct.pack("!HHHHHH", 0, 0, len(parts), 0, 0, 0) + b"".join(parts)
    with pytest.raises(dns.Malformed):
        dns.decode(data)


def test_too_much_is_refused() -> None:
    with pytest.raises(dns.Malformed):
        dns.decode(struct.pack("!HHHHHH", 0, 0, 65535, 65535, 0, 0))
    with pytest.raises(dns.Malformed):
        dns.decode(bytes(dns.MESSAGE_LIMIT + 1))
    with pytest.raises(dns.Malformed):
        dns.encode(dns.Message(False, (dns.Question((b"a" * 64,), 1),)))


def test_names_are_equal_without_case() -> None:
    assert dns.same(dns.name("Node.LOCAL"), (b"node", b"local"))
    assert not dns.same(dns.name("node.local"), (b"node",))
