"""One code for both channels: what the native one makes of a network token."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import keys, peertoken
from pairing.edgevpn import nettoken
from pairing.edgevpn.native import native_token, secret_of, with_native
from pairing.edgevpn.nettoken import NetworkToken, Otp
from pairing.transport.base import Address

VECTOR = NetworkToken(crypto=Otp("b" * 43), room="c" * 43, rendezvous="d" * 43, mdns="e" * 43)
KEY = keys.generate().public


def test_the_secret_is_hkdf_of_the_crypto_key_alone() -> None:
    """By RFC 5869's two lines, with the standard library only."""
    extracted = hmac.digest(bytes(32), b"b" * 43, hashlib.sha256)
    expected = hmac.digest(extracted, b"EP1-secret-of-network-token\x01", hashlib.sha256)
    assert secret_of(VECTOR) == expected[:16]
    assert secret_of(replace(VECTOR, room="x" * 22, mdns="y")) == secret_of(VECTOR)
    other = replace(VECTOR, crypto=Otp("b" * 42 + "B"))
    assert secret_of(other) != secret_of(VECTOR)


@pytest.mark.parametrize("host", ["192.168.20.131", "2001:db8::17"])
def test_both_ends_make_the_same_native_token(host: str) -> None:
    token = nettoken.fresh(secrets.token_bytes)
    shown = nettoken.to_text(with_native(token, KEY, Address(host, 4917)))
    read = native_token(nettoken.parse(shown))
    assert read is not None
    assert (read.key, read.secret) == (KEY, secret_of(token))
    assert read.addresses == (Address(host, 4917),)
    assert not read.signed
    assert peertoken.parse(peertoken.to_text(read)) == read


def test_without_an_address_it_is_found_by_its_label() -> None:
    read = native_token(with_native(VECTOR, KEY, None))
    assert read is not None
    assert read.addresses == ()


def test_a_stock_token_has_no_native_part() -> None:
    assert native_token(VECTOR) is None
    assert native_token(nettoken.parse(nettoken.to_full_text(VECTOR))) is None


@given(st.integers(0, 2**32 - 1), st.integers(1, 65535))
def test_the_code_never_grows_beyond_what_a_screen_shows(number: int, port: int) -> None:
    """65 modules at level L, which is 37 rows: a framebuffer of 800 x 600."""
    octets = number.to_bytes(4, "big")
    address = Address(".".join(map(str, octets)), port)
    text = nettoken.to_text(with_native(nettoken.fresh(secrets.token_bytes), KEY, address))
    assert len(text) <= 328
