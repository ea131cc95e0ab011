"""Join tokens of k3s, taken apart."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from node.providers.k3s.token import authority_hash, parse
from node.testing.certificates import Authority
from pairing import errors

HASH = "a" * 64
BOOTSTRAP = "abcdef.0123456789abcdef"


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"node:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("text", "authority", "authorization"),
    [
        ("word", "", basic("word")),
        ("a word:with, all :: in it", "", basic("a word:with, all :: in it")),
        (f"K10{HASH}::server:word", HASH, basic("word")),
        (f"K10{HASH}::server:wo::rd\n", HASH, basic("wo::rd")),
        ("K10::node:word", "", basic("word")),
        ("K10server:word", "", basic("word")),
        (BOOTSTRAP, "", f"Bearer {BOOTSTRAP}"),
        (f"K10{HASH}::{BOOTSTRAP}", HASH, f"Bearer {BOOTSTRAP}"),
    ],
)
def test_a_token_taken_apart(text: str, authority: str, authorization: str) -> None:
    token = parse(text)
    assert (token.authority, token.authorization) == (authority, authorization)
    assert token.expires is authorization.startswith("Bearer")


@pytest.mark.parametrize("text", ["", "K10", f"K10{HASH}::", "K10abc::node:x", f"K10{HASH}::node:"])
def test_a_token_that_was_cut_off(text: str) -> None:
    with pytest.raises(errors.JoinTokenRefused):
        parse(text)


@given(st.text(max_size=80))
def test_any_text_is_a_token_or_refused_by_name(text: str) -> None:
    try:
        token = parse(text)
    except errors.JoinTokenRefused:
        return
    assert token.authorization
    assert token.secret not in repr(token)


def test_the_hash_of_one_certificate_is_that_of_its_file() -> None:
    pem = Authority.new().pem.encode()
    assert authority_hash(pem) == hashlib.sha256(pem).hexdigest()
    assert parse(f"K10{authority_hash(pem)}::server:x").names(pem)
    assert not parse(f"K10{HASH}::server:x").names(pem)


def test_the_hash_of_a_chain_is_that_of_its_root() -> None:
    root, other = Authority.new("root"), Authority.new("other")
    chain = (root.pem + other.pem).encode()
    der = root.certificate.public_bytes(serialization.Encoding.DER)
    assert authority_hash(chain) == hashlib.sha256(der).hexdigest()


def test_no_certificate_has_no_hash() -> None:
    with pytest.raises(ValueError, match="PEM"):
        authority_hash(b"<html>")
