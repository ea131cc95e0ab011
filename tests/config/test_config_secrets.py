"""Secrets: hashed, replaced or hidden, and never shown."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from passlib.hash import sha512_crypt  # type: ignore[import-untyped]

from pairing import errors
from pairing.config.accounts import (
    accounts,
    parse_account_keys,
    with_account_keys,
)
from pairing.config.document import Document, from_plain, walk
from pairing.config.dump import dump
from pairing.config.load import load, load_file
from pairing.config.passwords import hash_passwords, is_hash
from pairing.config.problem import Mark
from pairing.config.redact import HIDDEN, redact
from pairing.config.sshkeys import flaw

H = "#cloud-config\n"
EXAMPLES = sorted((Path(__file__).parents[2] / "examples/configs").glob("*.yaml"))
CANARY = "zq7Canary"


# --- what is shown ------------------------------------------------------------------------------

SECRET_PLACES = (
    "users: [{{name: a, passwd: {0}}}]",
    "users: [{{name: a, passwd: [{0}]}}]",
    "users: [{{name: a, password: {0}}}]",
    "stages: {{boot: [{{users: {{a: {{passwd: {0}}}}}}}]}}",
    "stages: {{boot: [{{environment: {{MY_VAR: {0}}}}}]}}",
    "stages: {{boot: [{{commands: [login {0}]}}]}}",
    "stages: {{boot: [{{if: test {0}}}]}}",
    "stages: {{boot: [{{git: {{auth: {{password: {0}, private_key: {0}}}}}}}]}}",
    "stages: {{boot: [{{files: [{{path: /a, content: {0}}}]}}]}}",
    "kubernetes: {{token: {0}}}",
    "kubernetes: {{kubelet: {{args: [--provider-token={0}]}}}}",
    "k3s: {{env: {{K3S_TOKEN: {0}}}}}",
    "k3s: {{env: {{ANYTHING: {0}}}}}",
    "k3s: {{env: [X={0}]}}",
    "k3s: {{args: [--token={0}]}}",
    "k3s: {{args: [--token, {0}]}}",
    "k3s: {{args: ['--token {0}']}}",
    "k3s: {{args: [-t, {0}]}}",
    "k3s: {{args: [-t{0}]}}",
    "k3s: {{args: ['--datastore-endpoint=mysql://u:{0}@h/db']}}",
    "k3s: {{args: ['--server=https://u:{0}@h:6443']}}",
    "k3s: {{args: [--server, 'https://u:{0}@h:6443']}}",
    "k3s: {{args: [server, {0}]}}",
    "k3s: {{args: --token={0}}}",
    "k3s-agent: {{env: {{K3S_URL: 'https://u:{0}@h'}}}}",
    "environment: {{HTTPS_PROXY: 'http://u:{0}@proxy:3128'}}",
    "environment: {{AWS_SECRET_ACCESS_KEY: {0}}}",
    "p2p: {{network_token: {0}}}",
    "p2p: {{auto: {{ha: {{external_db: 'postgres://u:{0}@h/d'}}}}}}",
    "phonehome: {{registration_token: {0}}}",
    "write_files: [{{path: /a, content: {0}}}]",
    "write_files: [{{path: /a, content: 'x\n\n  {0}'}}]",
    "runcmd: [echo {0}]",
    "runcmd: [[echo, {0}]]",
    "config_url: https://h/c?x={0}",
    "x-mine: {{a: [{0}]}}",
    "install: {{encrypt: {{mode: tang, tang: 'http://u:{0}@h'}}}}",
    "install: {{encrypt: {{mode: tang, tang: 'http://h/a?key={0}'}}}}",
    "install: {{encrypt: {{passphrase: {0}}}}}",
    "grub_options: {{extra_cmdline: 'quiet rd.password={0} ro'}}",
    "hostname: '-----BEGIN RSA PRIVATE KEY----- {0}'",
    "users: [{{name: a, ssh_authorized_keys: ['-----BEGIN OPENSSH PRIVATE KEY----- {0}']}}]",
    "grub_options: {{extra: {{api-key: {0}, apikey: {0}, my_secret: {0}}}}}",
)


@pytest.mark.parametrize("place", SECRET_PLACES)
def test_a_secret_is_never_shown(place: str) -> None:
    document = load(H + place.format(CANARY) + "\n")
    assert CANARY in dump(document).decode(), "the canary must be there to begin with"
    shown = dump(redact(document)).decode()
    assert CANARY not in shown
    assert HIDDEN in shown


SECRET_KEYS = st.sampled_from(
    [
        "passwd",
        "password",
        "K3S_TOKEN",
        "token",
        "secret",
        "client_secret",
        "private_key",
        "api-key",
    ]
    + ["registration_token", "network_token", "passphrase", "credentials", "vpn_auth", "psk", "pin"]
)
PLAIN_KEYS = st.sampled_from(["a", "name", "users", "stages", "k3s", "path", "boot", "extra"])
LEAVES = st.one_of(st.just(CANARY), st.text(max_size=3).map(lambda text: text + CANARY))


@given(
    st.lists(PLAIN_KEYS | st.integers(0, 2), max_size=6),
    SECRET_KEYS,
    st.recursive(
        LEAVES, lambda below: st.lists(below, max_size=3) | st.dictionaries(PLAIN_KEYS, below)
    ),
)
def test_below_a_secret_key_nothing_is_shown(way: list[str | int], key: str, leaf: Any) -> None:
    value: Any = {key: leaf}
    for step in reversed(way):
        value = {step: value} if isinstance(step, str) else [None] * step + [value]
    top = value if isinstance(value, dict) else {"top": value}
    shown = redact(Document(from_plain(top, Mark("made", 1, 1)))).value
    assert CANARY not in str(shown)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_redaction_keeps_shape_and_is_final(path: Path) -> None:
    document = load_file(path)
    once = redact(document)
    assert list(once.value) == list(document.value)
    assert redact(once).value == once.value
    for place, node in walk(once.root):
        assert document.position(place) == node.mark


def test_what_helps_stays_readable() -> None:
    text = H + (
        "hostname: h\nusers: [{name: a, lock_passwd: true, ssh_authorized_keys: ['github:b']}]\n"
        "k3s: {enabled: true, args: [--disable=traefik, --cluster-init], env: {K3S_URL: 'https://k:1'}}\n"
        "install: {device: /dev/sda, encrypt: {mode: tang, tang: 'http://t:7500/x'}}\n"
    )
    document = load(text)
    assert redact(document).value == document.value


# --- passwords ----------------------------------------------------------------------------------


def test_a_plain_password_leaves_as_a_hash() -> None:
    text = (
        H
        + "users: [{name: a, passwd: kairos}]\npasswd: y\n"
        + "stages: {boot: [{users: {b: {passwd: x}}}]}\n"
    )
    document = load(text, "c.yaml")
    done = hash_passwords(document)
    first = done.value["users"][0]["passwd"]
    assert sha512_crypt.verify("kairos", first)
    assert not sha512_crypt.verify("other", first)
    assert sha512_crypt.verify("x", done.value["stages"]["boot"][0]["users"]["b"]["passwd"])
    assert done.value["passwd"] == "y", "only login passwords are hashed"
    assert "kairos" not in dump(done).decode()
    assert done.position(("users", 0, "passwd")) == document.position(("users", 0, "passwd"))
    assert hash_passwords(done).value == done.value, "a hash is not hashed again"


def test_the_hash_is_what_openssl_makes() -> None:
    """A vector of crypt(5)'s SHA-512, from Drepper's specification."""
    known = (
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoE"
        "OfaS35inz1"
    )
    assert is_hash(known)
    assert sha512_crypt.verify("Hello world!", known)


@pytest.mark.parametrize(
    ("text", "hashed"),
    [
        ("$y$j9T$MdCpA4Xqc9vQ2hPWmAiXL/$" + "a" * 43, True),
        ("$2b$12$" + "a" * 53, True),
        ("$6$rounds=5000$salt$" + "a" * 86, True),
        ("!", True),
        ("*", True),
        ("!!", True),
        ("$6$salt$" + "a" * 85, False),
        ("$6$salt$" + "a" * 86 + "\n", False),
        ("kairos", False),
        ("", False),
        ("$money$", False),
    ],
)
def test_what_is_a_hash(text: str, hashed: bool) -> None:
    assert is_hash(text) is hashed


# --- ssh keys -----------------------------------------------------------------------------------


def public(key: Any) -> str:
    encoded: bytes = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return encoded.decode()


@functools.cache
def keys() -> tuple[str, ...]:
    kinds = [ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)]
    curves = [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]
    return tuple(public(key) for key in [*kinds, *map(ec.generate_private_key, curves)])


@pytest.mark.parametrize("number", range(5))
def test_real_keys_are_fine_and_damaged_ones_are_not(number: int) -> None:
    key = keys()[number]
    kind, body = key.split()
    assert flaw(key) == ""
    assert flaw(f"{key} some comment") == ""
    assert flaw(f'no-pty,command="echo \\"hi\\"" {key} me') == ""
    assert "cut short" in flaw(f"{kind} {body[:-8]}")
    assert "damaged" in flaw(f"ssh-rsa {body}") or kind == "ssh-rsa"
    assert flaw(body)
    assert flaw(f"{key}\n{key}")


def test_accounts_become_keys_at_their_place() -> None:
    one, two = keys()[:2]
    text = H + (
        f"users:\n- name: a\n  ssh_authorized_keys:\n  - github:bob\n  - {one}\n  - github:al-ice\n"
        "ssh_authorized_keys: [github:bob]\n"
        "stages: {boot: [{authorized_keys: {u: [github:carl]}}]}\n"
    )
    document = load(text, "c.yaml")
    assert accounts(document) == ("bob", "al-ice", "carl")
    done = with_account_keys(document, {"bob": (one, two), "al-ice": (two,), "carl": (one,)})
    assert done.value["users"][0]["ssh_authorized_keys"] == [one, two]
    assert done.value["ssh_authorized_keys"] == [one, two]
    assert done.value["stages"]["boot"][0]["authorized_keys"]["u"] == [one]
    assert accounts(done) == ()
    assert done.position(("users", 0, "ssh_authorized_keys", 1)) == Mark("c.yaml", 5, 5)


@pytest.mark.parametrize(
    "body",
    [b"", b"\n\n", b"Not Found", b"<html>", b"\xff", b"ssh-rsa AAAA\n", b"x" * 70_000, b"\0"],
)
def test_an_answer_that_is_no_list_of_keys(body: bytes) -> None:
    with pytest.raises(errors.AccountKeysUnavailable):
        parse_account_keys(body, "bob")


def test_too_many_keys() -> None:
    with pytest.raises(errors.AccountKeysUnavailable):
        parse_account_keys(f"{keys()[0]}\n".encode() * 65, "bob")
