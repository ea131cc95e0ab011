"""Frames and canonical JSON."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import errors
from pairing.protocol import frames, messages, wire

KEYS = st.text(st.characters(max_codepoint=127), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
OBJECTS = st.dictionaries(KEYS, JSON, max_size=5)


@given(OBJECTS)
def test_what_goes_in_comes_out(body: dict[str, Any]) -> None:
    data = frames.encode_frame(body)
    assert list(frames.FrameReader(frames.FRAME_LIMIT).feed(data)) == [body]


@given(st.lists(OBJECTS, max_size=4), st.integers(1, 50))
def test_frames_may_arrive_in_any_pieces(bodies: list[dict[str, Any]], size: int) -> None:
    data = b"".join(map(frames.encode_frame, bodies))
    reader = frames.FrameReader(frames.FRAME_LIMIT)
    out: list[dict[str, Any]] = []
    for start in range(0, len(data), size):
        out += reader.feed(data[start : start + size])
    assert out == bodies


@given(st.binary(max_size=300))
def test_bytes_of_a_stranger_raise_one_error(data: bytes) -> None:
    with contextlib.suppress(errors.ProtocolBroken):
        list(frames.FrameReader().feed(data))


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}', '{"b":1,"a":1}', '{ "a":1}', '{"a":1.0}', '{"a":1e3}', '{"a":NaN}', "[]",
        '{"a":"\\u0041"}', '{"a":9007199254740992}', '{"é":1}', '{"a":"\\ud800"}', "{", "",
        '{"a":' + "[" * 2000 + "]" * 2000 + "}", "\ufeff{}",
    ],
)  # fmt: skip
def test_what_is_not_canonical_is_refused(text: str) -> None:
    data = text.encode()
    frame = len(data).to_bytes(4, "big") + data
    with pytest.raises(errors.ProtocolBroken):
        list(frames.FrameReader(frames.FRAME_LIMIT).feed(frame))


def test_a_large_frame_is_refused_at_its_length() -> None:
    with pytest.raises(errors.ProtocolBroken):
        list(frames.FrameReader().feed((frames.PROOFLESS_LIMIT + 1).to_bytes(4, "big")))


def test_canonical_form_of_rfc_8785() -> None:
    body = {"peach": '\u20ac$\u000f\nA\'B"\\"/', "a": [56, True, None], "1": {"f": {}}}
    expected = '{"1":{"f":{}},"a":[56,true,null],"peach":"€$\\u000f\\nA\'B\\"\\\\\\"/"}'
    assert frames.canonical(body) == expected.encode()


@given(OBJECTS)
def test_messages_of_a_stranger_raise_one_error(body: dict[str, Any]) -> None:
    for name in (*messages.FROM_OPERATOR, *messages.FROM_NODE):
        types = {**messages.FROM_OPERATOR, **messages.FROM_NODE}
        with contextlib.suppress(errors.ProtocolBroken):
            wire.read_message({**body, "type": name}, types)


def test_claims_refuse_unknown_fields_and_events_ignore_them() -> None:
    claim = wire.write_message(messages.Claim(version=1, commit=b"c" * 32, lease=b""))
    with pytest.raises(errors.ProtocolBroken, match="unknown field"):
        wire.read_message({**claim, "more": 1}, messages.FROM_OPERATOR)
    ping = wire.write_message(messages.Ping())
    assert wire.read_message({**ping, "more": 1}, messages.FROM_OPERATOR) == messages.Ping()


@given(st.text(st.sampled_from("AQgwQUJD-_=+/ \n"), max_size=12))
def test_bytes_have_one_text(text: str) -> None:
    try:
        data = wire.unbase64(text)
    except ValueError:
        return
    assert wire.to_base64(data) == text
    assert json.loads(json.dumps(text)) == text
