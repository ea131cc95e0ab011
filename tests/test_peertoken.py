"""The native token: one text per token, and nothing else is one."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import base45, errors, keys, peertoken
from pairing.peertoken import Token
from pairing.transport.base import Address

VECTORS = json.loads((Path(__file__).parent / "data" / "tokens.json").read_text())
SEEDS = st.binary(min_size=32, max_size=32)
PORTS = st.integers(1, 65535)


def usable(host: str) -> bool:
    try:
        peertoken.parse(peertoken.to_text(Token(KEY, b"s" * 16, Address(host, 1))))
    except errors.TokenInvalid:
        return False
    return True


KEY = keys.SigningKey(b"k" * 32).public
V4 = st.builds(Address, st.ip_addresses(v=4).map(str).filter(usable), PORTS)
TOKENS = st.builds(
    Token,
    key=SEEDS.map(lambda seed: keys.SigningKey(seed).public),
    secret=st.binary(min_size=16, max_size=16),
    ipv4=st.none() | V4,
    ipv6=st.none() | st.just(Address("2001:db8::7", 4917)),
    relay=st.just(b"") | st.binary(min_size=4, max_size=4),
    signed=st.booleans(),
)


@given(TOKENS)
def test_round_trip(token: Token) -> None:
    text = peertoken.to_text(token)
    assert peertoken.parse(text) == token
    assert peertoken.parse(f"  {text.rstrip()}\n") == token
    assert set(text) <= set(base45.ALPHABET)


@given(TOKENS, st.integers(4, 89), st.sampled_from(base45.ALPHABET))
def test_a_changed_character_is_noticed(token: Token, at: int, character: str) -> None:
    text = peertoken.to_text(token)
    changed = text[:at] + character + text[at + 1 :]
    if changed.rstrip() == text.rstrip():
        return
    try:
        other = peertoken.parse(changed)
    except errors.TokenInvalid:
        return
    # Two check bytes let one change in 65,536 pass; then it must not be the same token.
    assert other != token


@given(st.text(max_size=200))
def test_any_other_text_is_refused(text: str) -> None:
    for candidate in (text, "EP1:" + text):
        with pytest.raises(errors.TokenInvalid):
            peertoken.parse(candidate)


@given(st.binary(max_size=90))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(errors.TokenInvalid):
        peertoken.parse("EP1:" + base45.encode(data))


def test_sizes_that_the_screen_relies_on() -> None:
    hint = Token(KEY, b"s" * 16, Address("192.0.2.1", 4917))
    assert len(peertoken.to_text(hint)) == 90, "fills QR version 4 at level M to the last character"
    relayed = Token(KEY, b"s" * 16, Address("192.0.2.1", 4917), relay=b"rrrr")
    assert len(peertoken.to_text(relayed)) <= 122, "version 5"


def test_hints_are_outside_the_id() -> None:
    plain = Token(KEY, b"s" * 16)
    assert plain.id == Token(KEY, b"s" * 16, Address("192.0.2.1", 1), relay=b"rrrr").id
    assert plain.id != Token(KEY, b"t" * 16).id


def test_secrets_are_not_in_repr() -> None:
    assert "736563726574" not in repr(Token(KEY, b"secret" + b"s" * 10))
    assert "secret" not in repr(Token(KEY, b"secret" + b"s" * 10))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "224.0.0.251", "255.255.255.255"])
def test_addresses_that_cannot_be_a_nodes(host: str) -> None:
    text = peertoken.to_text(Token(KEY, b"s" * 16, Address(host, 4917)))
    with pytest.raises(errors.TokenInvalid):
        peertoken.parse(text)
    if host == "127.0.0.1":
        assert peertoken.parse(text, loopback=True).ipv4 == Address(host, 4917)


@pytest.mark.parametrize("host", ["::", "::1", "ff02::fb", "::ffff:192.0.2.1"])
def test_ipv6_addresses_that_cannot_be_a_nodes(host: str) -> None:
    text = peertoken.to_text(Token(KEY, b"s" * 16, ipv6=Address(host, 4917)))
    with pytest.raises(errors.TokenInvalid):
        peertoken.parse(text)


def test_a_key_that_is_no_point_is_refused() -> None:
    with pytest.raises(errors.TokenInvalid):
        peertoken.parse(peertoken.to_text(Token(b"\x02" + b"\0" * 31, b"s" * 16)))


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda v: v["name"])
def test_vectors(vector: dict[str, Any]) -> None:
    token = peertoken.parse(vector["text"], loopback=True)
    assert token.key.hex() == vector["key"]
    assert token.secret.hex() == vector["secret"]
    assert [str(a) for a in token.addresses] == vector["addresses"]
    assert token.relay.hex() == vector["relay"]
    assert token.signed is vector["signed"]
    assert token.id.hex() == vector["id"]
    assert peertoken.to_text(token) == vector["text"]


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda v: v["name"])
def test_invalid_vectors(vector: dict[str, Any]) -> None:
    with pytest.raises(errors.TokenInvalid):
        peertoken.parse(vector["text"], loopback=True)


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda v: v["name"])
def test_a_second_decoder_agrees(vector: dict[str, Any]) -> None:
    """From the format's description alone, importing nothing of ours."""
    import hashlib

    digits = {c: i for i, c in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")}
    text = vector["text"][4:]
    data = b""
    for i in range(0, len(text), 3):
        group = [digits[c] for c in text[i : i + 3]]
        number = sum(d * 45**k for k, d in enumerate(group))
        data += number.to_bytes(len(group) - 1, "big")
    assert data[0] >> 4 == 1
    assert hashlib.sha256(data[:-2]).digest()[:2] == data[-2:]
    assert data[1:33].hex() == vector["key"]
    assert data[33:49].hex() == vector["secret"]
    assert base64.b16encode(data[1:3]).decode().lower() == vector["key"][:4]
