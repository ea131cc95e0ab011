"""Frames and canonical JSON: the bytes on the wire, and the bytes that get signed.

A frame is a 4-byte big-endian length and that many bytes of canonical JSON: one object.
Canonical is RFC 8785 without floats: sorted keys, no white space, shortest escapes, whole numbers
within +-(2^53 - 1). What is not canonical is refused, so one message has exactly one encoding.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from pairing import errors

FRAME_LIMIT = 64 * 1024
"""Bytes of JSON in one frame."""
PROOFLESS_LIMIT = 4 * 1024
"""The same before the other end has proved anything."""
_HEAD = 4
_SAFE = 2**53


def canonical(body: Mapping[str, Any]) -> bytes:
    """The one encoding of `body`. Raises ValueError for floats, huge numbers, lone surrogates."""
    _check(body)
    text = json.dumps(
        body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
    )
    return text.encode("utf-8")


def _check(value: Any) -> None:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) and key.isascii() for key in value):
            raise ValueError("keys must be ASCII text")
        for item in value.values():
            _check(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item)
    elif isinstance(value, float):
        raise ValueError("floats have no canonical form here")
    elif isinstance(value, int) and not -_SAFE < value < _SAFE:
        raise ValueError("number out of range")


def decode(data: bytes) -> dict[str, Any]:
    """The object in a frame's bytes. Raises errors.ProtocolBroken for anything not canonical."""
    try:
        body = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_refuse,
            parse_constant=_refuse,
        )
        same = isinstance(body, dict) and canonical(body) == data
    except (ValueError, RecursionError):
        raise errors.ProtocolBroken("A frame is not canonical JSON.") from None
    if not same:
        raise errors.ProtocolBroken("A frame is not canonical JSON.")
    return dict(body)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise ValueError("duplicate key")
    return body


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not allowed")


def encode_frame(body: Mapping[str, Any]) -> bytes:
    """A whole frame. Raises ValueError if it would be longer than `FRAME_LIMIT`."""
    data = canonical(body)
    if len(data) > FRAME_LIMIT:
        raise ValueError(f"frame of {len(data)} bytes")
    return len(data).to_bytes(_HEAD, "big") + data


class FrameReader:
    """Bytes in, objects out. Holds at most one frame; `limit` may be raised after the proof."""

    def __init__(self, limit: int = PROOFLESS_LIMIT) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Every object that is complete now. Raises errors.ProtocolBroken.

        The limit is read anew for each frame: a caller that raises it between two objects means
        the ones behind.
        """
        self._buffer += data
        while len(self._buffer) >= _HEAD:
            size = int.from_bytes(self._buffer[:_HEAD], "big")
            if not 0 < size <= self.limit:
                raise errors.ProtocolBroken(f"A frame of {size} bytes; at most {self.limit}.")
            if len(self._buffer) < _HEAD + size:
                return
            frame = bytes(self._buffer[_HEAD : _HEAD + size])
            del self._buffer[: _HEAD + size]
            yield decode(frame)
