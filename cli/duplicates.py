"""Several photos of one machine in one call: it is gone for once, with the newest photo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cli.sources import Source, native_token
from pairing import errors
from pairing.qr.reading import Kind, PhotoToken, kind_of


@dataclass(frozen=True, slots=True)
class Machine:
    """One to register: the source to use, and those that show the same machine."""

    source: Source
    others: tuple[Source, ...] = ()


def machines(read: Iterable[Source], *, loopback: bool) -> Iterator[Machine]:
    """Each machine once, in the order in which they appear; sources without a token stay alone.

    All are read before the first comes, because a later photo may be a newer one: the code's
    secret changes while a machine waits. An interruption while reading is all that comes.
    """
    found: list[list[Source]] = []
    places: dict[bytes | str, list[Source]] = {}
    for source in read:
        if isinstance(source.wrong, errors.Interrupted):
            yield Machine(source)
            return
        known = _machine(source, loopback=loopback)
        if known is not None and known in places:
            places[known].append(source)
            continue
        found.append([source])
        if known is not None:
            places[known] = found[-1]
    for group in found:
        newest = max(reversed(group), key=lambda source: source.taken)
        yield Machine(newest, tuple(source for source in group if source is not newest))


def _machine(source: Source, *, loopback: bool) -> bytes | str | None:
    """What tells its machine from others: the key of the node, else the text of its code."""
    text = source.text.strip()
    if not text:
        return None
    code = PhotoToken(kind_of(text) or Kind.NATIVE, text)
    try:
        return native_token(code, source.name, loopback=loopback).key
    except errors.KnownError:
        return text
