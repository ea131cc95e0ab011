"""A worker that was taken over says what it likes: the parent believes nothing it cannot check."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pairing import errors
from pairing.qr import render
from pairing.qr.read import PhotoReader, token_from
from pairing.testing.tokens import random_token
from pairing.worker import Worker

GOOD: dict[str, Any] = {
    "format": "PNG",
    "width": 100,
    "height": 100,
    "codes": [["hello", "raw", [[1, 2], [3, 4]]]],
    "unread": [],
    "tried": [["raw", 5, 1, 0]],
    "blur": 1.5,
    "blurs": [],
    "cpu_ms": 5,
}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def reading_of(reply: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(Worker, "ask", lambda self, request, data: reply)
    with PhotoReader() as reader:
        return reader.read(PNG)


def test_a_good_answer_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reading_of(GOOD, monkeypatch).texts == ("hello",)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 7},
        {"format": "A" * 9},
        {"width": "100"},
        {"width": True},
        {"height": 10**10},
        {"codes": [["hello", "raw"]]},
        {"codes": [[b"", 1, 2]]},
        {"codes": [["x" * 9000, "raw", []]]},
        {"codes": [["hello", "raw", [[1]]]]},
        {"codes": 5},
        {"codes": {}},
        {"unread": [[[[1, 2, 3]], 4]]},
        {"unread": [[[[0, 0]] * 65, 4]]},
        {"unread": [[[[0, 0]], "4"]]},
        {"unread": [[[0, 0]]]},
        {"tried": ["raw" * 100]},
        {"tried": [["raw", 5, 1]]},
        {"tried": [["raw", 5, 1, "0"]]},
        {"tried": None},
        {"cpu_ms": None},
        {"blur": float("nan")},
        {"blur": -1},
        {"blurs": [1.0]},
        {"unread": [[[[0, 0]], 4]], "blurs": ["1"]},
        {"error": "token-spent"},
        {"error": "usage", "detail": "x"},
    ],
)
def test_nonsense_is_a_named_error(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    reply = {**GOOD, **change}
    if "error" in change:
        reply = change
    with pytest.raises(errors.PhotoWorkerFailed):
        reading_of(reply, monkeypatch)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from([*GOOD, "error", "detail"]), json_values))
def test_any_answer_is_a_reading_or_a_named_error(reply: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        try:
            reading_of({**GOOD, **reply}, patch)
        except errors.PhotoError:
            return


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_damaged_pictures_are_readings_or_named_errors() -> None:
    """Bits flipped and pieces cut out of real files, all through one real worker."""
    chance = random.Random(7)
    image = Image.open(io.BytesIO(render.png(render.modules(random_token(chance)), 4)))
    originals = []
    for kind in ("PNG", "JPEG", "WEBP"):
        out = io.BytesIO()
        image.convert("RGB").save(out, kind)
        originals.append(out.getvalue())
    outcomes = set()
    with PhotoReader() as reader:
        for number in range(21):
            data = bytearray(originals[number % 3])
            for _ in range(chance.randint(1, 8)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            if chance.random() < 0.3:
                start = chance.randrange(len(data))
                del data[start : start + chance.randint(1, 200)]
            try:
                token_from(reader.read(bytes(data)))
                outcomes.add("read")
            except errors.PhotoError as wrong:
                outcomes.add(wrong.slug)
    assert "read" in outcomes
    assert "photo-format" in outcomes
