"""Network tokens: what stock programs read, what we write, and what makes them panic."""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pairing import errors, keys
from pairing.edgevpn import nettoken
from pairing.edgevpn.names import accepted_at, names_at
from pairing.edgevpn.nettoken import NativePart, NetworkToken, Otp
from pairing.edgevpn.otp import totp
from pairing.transport.base import Address

KEY = keys.SigningKey(b"k" * 32).public
TEXT = st.text([chr(c) for c in range(33, 127)], min_size=1, max_size=60)
MDNS = st.from_regex(r"[A-Za-z0-9_-]{1,63}", fullmatch=True)
OTPS = st.builds(Otp, TEXT, st.integers(22, 44), st.integers(1, 2**63 - 1))
ADDRESSES = st.sampled_from([Address("192.0.2.7", 4917), Address("2001:db8::7", 65535)])
TOKENS = st.builds(
    NetworkToken,
    crypto=OTPS,
    room=TEXT,
    rendezvous=TEXT,
    mdns=MDNS,
    dht=st.none() | OTPS,
    max_message_size=st.integers(1, 2**63 - 1),
    native=st.none() | st.builds(NativePart, st.just(KEY), st.none() | ADDRESSES),
)
GOOD = (
    "otp: {{crypto: {{key: bbbbbbbbbbbbbbbbbbbbbb, length: {length}, interval: {interval}}}}}\n"
    "room: cccccccccc\nrendezvous: dddddddddd\nmdns: eeeeeeee\nmax_message_size: 20971520\n{more}"
)


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def token_text(length: object = 43, interval: object = 9999999999, more: str = "") -> str:
    return encode(GOOD.format(length=length, interval=interval, more=more))


def chance(seed: int) -> Any:
    return random.Random(seed).randbytes


@given(TOKENS)
def test_round_trips(token: NetworkToken) -> None:
    short, full = nettoken.to_text(token), nettoken.to_full_text(token)
    assert nettoken.parse(short) == token
    assert nettoken.parse(f" {full}\n").crypto == token.crypto
    assert nettoken.parse(full).dht == token.dht
    assert nettoken.looks_like(short)
    assert nettoken.looks_like(full)


@given(TOKENS)
def test_another_reader_of_yaml_agrees(token: NetworkToken) -> None:
    """PyYAML's own loader; numbers with an exponent only yaml.v2 reads as whole."""
    for text in (nettoken.to_text(token), nettoken.to_full_text(token)):
        body = yaml.safe_load(base64.b64decode(text))
        assert str(body["room"]) == token.room
        assert str(body["otp"]["crypto"]["key"]) == token.crypto.key
        assert int(float(body["otp"]["crypto"]["length"])) == token.crypto.length


def test_the_short_form_fits_a_code_of_57_modules() -> None:
    """QR version 10 at level M holds 213 bytes (ISO/IEC 18004, table 7)."""
    sizes = {len(nettoken.to_text(nettoken.fresh(chance(n)))) for n in range(300)}
    assert sizes == {212}
    token = nettoken.fresh(chance(1))
    assert len(token.crypto.key) == 22
    assert not token.rotates
    assert "dht" not in base64.b64decode(nettoken.to_text(token)).decode()


def test_both_worlds_in_one_code() -> None:
    """Version 13 at level M (69 modules) holds 331 bytes."""
    native = NativePart(KEY, Address("192.168.100.100", 49170))
    token = nettoken.fresh(chance(1))
    both = NetworkToken(
        token.crypto, token.room, token.rendezvous, token.mdns, None, 2 * 10**7, native
    )
    assert len(nettoken.to_text(both)) <= 331
    assert nettoken.parse(nettoken.to_text(both)) == both


def test_the_full_form_is_as_long_as_kairos_own() -> None:
    for seed in range(50):
        token = nettoken.fresh(chance(seed), full=True)
        assert len(nettoken.to_full_text(token)) == 548
        assert token.crypto.interval == 2**63 - 1
    assert nettoken.fresh(chance(1), rotate_seconds=9000).rotates


def test_fresh_tokens_differ_and_use_every_letter() -> None:
    found = [nettoken.fresh(chance(seed), full=True) for seed in range(200)]
    assert len({token.crypto.key for token in found}) == len(found)
    assert len(set("".join(token.room for token in found))) == 62


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(token_text(length=45), id="a length that panics edgevpn"),
        pytest.param(token_text(interval=0), id="an interval that panics edgevpn"),
        pytest.param(token_text(length=0), id="few digits"),
        pytest.param(token_text(length=21), id="too few digits"),
        pytest.param(token_text(length=-1), id="negative length"),
        pytest.param(token_text(interval=-30), id="negative interval"),
        pytest.param(token_text(interval=2**63), id="beyond 64 bits"),
        pytest.param(token_text(interval="1.5"), id="half a second"),
        pytest.param(token_text(interval=".inf"), id="for ever"),
        pytest.param(token_text(interval=".nan"), id="no number"),
        pytest.param(token_text(interval="'30'"), id="text for a number"),
        pytest.param(token_text(interval="[30]"), id="list for a number"),
        pytest.param(token_text(length="true"), id="boolean for a number"),
        pytest.param(token_text(more="room: other\n"), id="duplicate key"),
        pytest.param(token_text(more="x: &a [1]\ny: *a\n"), id="anchor"),
        pytest.param(token_text(more="<<: {room: x}\nx: !!str y\n"), id="tag"),
        pytest.param(token_text(more="---\na: b\n"), id="two documents"),
        pytest.param(token_text(more="x: " + "[" * 400 + "]" * 400 + "\n"), id="deep"),
        pytest.param(token_text(more="x: [" + "1," * 200 + "]\n"), id="wide"),
        pytest.param(token_text(more="x: " + "y" * 129 + "\n"), id="long value"),
        pytest.param(token_text(more="[a]: b\n"), id="list as key"),
        pytest.param(token_text(more="ep1: [AAAA]\n"), id="short node key"),
        pytest.param(token_text(more="ep1: x\n"), id="no native part"),
        pytest.param(token_text(more="x: é\n"), id="other letters"),
        pytest.param(token_text() + "AAAA", id="after the padding"),
        pytest.param(token_text()[:-40], id="cut"),
        pytest.param("A" * 5000, id="long"),
        pytest.param(encode("[1, 2]"), id="list"),
        pytest.param(encode("otp: {crypto: ~}"), id="no crypto"),
        pytest.param(encode("otp: {crypto: {key: ~}}\nroom: x"), id="null key"),
        pytest.param(encode("a: b"), id="other map"),
        pytest.param("", id="empty"),
        pytest.param("EP1:ABC", id="our own"),
        pytest.param("é" * 200, id="not ASCII"),
        pytest.param("\ud800" * 200, id="half a character"),
    ],
)
def test_hostile_texts_are_refused(text: str) -> None:
    assert nettoken.parse(token_text()).mdns == "eeeeeeee"  # the positive control
    with pytest.raises(errors.NetworkTokenInvalid):
        nettoken.parse(text)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:1", "0.0.0.0:1", "224.0.0.1:1", "192.0.2.1:0", "192.0.2.1:65536", "host:1",
        "192.0.2.1", "'[fe80::1%eth0]:1'", "192.0.2.1:+1", "255.255.255.255:1",
    ],
)  # fmt: skip
def test_hostile_addresses_are_refused(address: str) -> None:
    key = base64.urlsafe_b64encode(KEY).decode().rstrip("=")
    assert nettoken.parse(token_text(more=f"ep1: [{key}, 192.0.2.1:4917]\n")).native
    with pytest.raises(errors.NetworkTokenInvalid):
        nettoken.parse(token_text(more=f"ep1: [{key}, {address}]\n"))
    if address.startswith("127"):
        assert nettoken.parse(token_text(more=f"ep1: [{key}, {address}]\n"), loopback=True).native


def test_keys_stay_text() -> None:
    """As yaml.v2 gives them to Go: what looks like a number is the text that stood there."""
    numbers = encode(
        "otp: {crypto: {key: 12345678901234567890, length: 43, interval: 1e10}}\n"
        "room: 0x10\nrendezvous: 1e5\nmdns: 007\nmax_message_size: 2e7\nunknown: {a: [1]}"
    )
    token = nettoken.parse(numbers)
    assert token.crypto == Otp("12345678901234567890", 43, 10**10)
    assert (token.room, token.rendezvous, token.mdns) == ("0x10", "1e5", "007")
    assert token.max_message_size == 20_000_000


def test_nothing_secret_in_repr_or_error() -> None:
    token = nettoken.fresh(chance(1))
    for secret in (token.crypto.key, token.room, token.rendezvous, token.mdns):
        assert secret not in repr(token)
    assert names_at(token, 0).seal_key.decode() not in repr(names_at(token, 0))
    with pytest.raises(errors.NetworkTokenInvalid) as refused:
        nettoken.parse(token_text(length="bbbbbbbbbbbbbbbbbbbbbb"))
    assert "bbbb" not in str(refused.value)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda b: base64.b64encode(b).decode()))
def test_only_the_named_error_comes_out(text: str) -> None:
    nettoken.looks_like(text)
    try:
        nettoken.parse(text)
    except errors.NetworkTokenInvalid:
        return


@given(st.text(st.sampled_from("otp:{}[],\n crypto key'\"&*!-%?|>1e0"), max_size=200))
def test_only_the_named_error_comes_out_of_near_yaml(text: str) -> None:
    try:
        nettoken.parse(encode(text))
    except errors.NetworkTokenInvalid:
        return


@given(TOKENS, st.data())
def test_broken_tokens(token: NetworkToken, data: st.DataObject) -> None:
    text = nettoken.to_full_text(token)
    at = data.draw(st.integers(0, len(text) - 1))
    try:
        nettoken.parse(text[:at] + data.draw(st.text(max_size=5)) + text[at + 1 :])
    except errors.NetworkTokenInvalid:
        return


# --- names and windows --------------------------------------------------------------------------


@given(st.integers(1, 2**31), st.integers(0, 2**33))
def test_previous_and_next_window_are_honoured(interval: int, unix: int) -> None:
    token = NetworkToken(Otp("k", 43, interval), "r", "v", "m", Otp("d", 43, interval))
    accepted = accepted_at(token, unix)
    assert accepted[0] == names_at(token, unix)
    assert names_at(token, unix + interval) in accepted
    if unix >= interval:
        assert names_at(token, unix - interval) in accepted
        assert len(accepted) == 3
    if unix >= 2 * interval:
        assert names_at(token, unix - 2 * interval) not in accepted
    assert names_at(token, unix + 2 * interval) not in accepted


def test_a_pairing_token_has_one_window_for_ever() -> None:
    token = nettoken.fresh(chance(3))
    assert accepted_at(token, 0) == accepted_at(token, 2**32) == (names_at(token, 1),)
    assert names_at(token, 5).rendezvous == token.rendezvous


@pytest.mark.parametrize(("digits", "interval"), [(45, 30), (43, 0), (0, 30), (43, -1)])
def test_one_time_names_never_panic(digits: int, interval: int) -> None:
    with pytest.raises(ValueError, match="one-time"):
        totp("key", digits, interval, 0)
