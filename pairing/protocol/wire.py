"""Typed fields of messages: how each kind of value looks in JSON, and its limits.

A message is a frozen dataclass whose fields carry a `Kind`. Bytes travel as base64url without
padding. Reading is strict about types and limits; whether unknown fields are refused or ignored is
the message's own choice (`STRICT`).
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pairing import errors


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value: `read` from JSON (raises ValueError), `write` to JSON."""

    read: Callable[[Any], Any]
    write: Callable[[Any], Any]


def blob(most: int, least: int | None = None) -> Kind:
    """Bytes; exactly `most` of them unless `least` is given."""
    smallest = most if least is None else least

    def read(value: Any) -> bytes:
        if not isinstance(value, str):
            raise ValueError("not base64url text")
        data = unbase64(value)
        if not smallest <= len(data) <= most:
            raise ValueError(f"{len(data)} bytes")
        return data

    return Kind(read, to_base64)


def to_base64(data: bytes) -> str:
    """base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unbase64(text: str) -> bytes:
    """The bytes of base64url text without padding, in its one encoding. Raises ValueError."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64url text") from None
    if to_base64(data) != text:
        raise ValueError("not canonical base64url")
    return data


def text(most: int) -> Kind:
    """A text of at most `most` characters."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or len(value) > most:
            raise ValueError(f"not a text of at most {most} characters")
        return value

    return Kind(read, str)


def number(most: int = 2**53 - 1) -> Kind:
    """A whole number from 0 to `most`."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise ValueError(f"not a whole number from 0 to {most}")
        return value

    return Kind(read, int)


def flag() -> Kind:
    """true or false."""

    def read(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError("not true or false")
        return value

    return Kind(read, bool)


def body() -> Kind:
    """Any JSON object; whoever uses it checks it."""

    def read(value: Any) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise ValueError("not an object")
        return value

    return Kind(read, dict)


def many(kind: Kind, most: int) -> Kind:
    """A list of at most `most` values."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > most:
            raise ValueError(f"not a list of at most {most}")
        return tuple(kind.read(item) for item in value)

    return Kind(read, lambda values: [kind.write(value) for value in values])


def wire(kind: Kind) -> Any:
    """A dataclass field that travels as `kind`."""
    return dataclasses.field(metadata={"kind": kind})


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Something with named fields that travels as a JSON object."""

    STRICT: ClassVar[bool] = True

    def to_json(self) -> dict[str, Any]:
        """The JSON object of this record."""
        fields = dataclasses.fields(self)
        return {f.name: f.metadata["kind"].write(getattr(self, f.name)) for f in fields}

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read the record. Raises ValueError naming the wrong field."""
        if not isinstance(value, dict):
            raise ValueError("not an object")
        fields = dataclasses.fields(cls)
        if cls.STRICT and (unknown := set(value) - {f.name for f in fields}):
            raise ValueError(f"unknown field {min(unknown)[:40]!r}")
        values: dict[str, Any] = {}
        for f in fields:
            if f.name not in value:
                raise ValueError(f"field {f.name!r} is missing")
            try:
                values[f.name] = f.metadata["kind"].read(value[f.name])
            except ValueError as wrong:
                raise ValueError(f"field {f.name!r}: {wrong}") from None
        return cls(**values)


def nested(record: type[Record], *, optional: bool = False) -> Kind:
    """A record inside a record; `optional` ones may be null."""

    def read(value: Any) -> Record | None:
        return None if optional and value is None else record.from_json(value)

    def write(value: Record | None) -> dict[str, Any] | None:
        return None if value is None else value.to_json()

    return Kind(read, write)


class Message(Record):
    """A record that is a frame of its own; `TYPE` names it on the wire."""

    TYPE: ClassVar[str] = ""


class AsideMessage(Message):
    """A message that changes nothing of the pairing: the machine passes it on to who knows it."""


def read_message(body: Mapping[str, Any], types: Mapping[str, type[Message]]) -> Message:
    """The message in a frame's object. Raises errors.ProtocolBroken naming what is wrong."""
    name = body.get("type")
    if not isinstance(name, str) or name not in types:
        raise errors.ProtocolBroken(f"Unknown frame type {str(name)[:40]!r}.")
    try:
        return types[name].from_json({key: item for key, item in body.items() if key != "type"})
    except ValueError as wrong:
        raise errors.ProtocolBroken(f"Frame {name!r}: {wrong}.") from None


def write_message(message: Message) -> dict[str, Any]:
    """The JSON object of a message's frame."""
    return {"type": message.TYPE, **message.to_json()}
