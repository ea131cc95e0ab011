"""Finding an error by its name; the first one in a group."""

from __future__ import annotations

from collections.abc import Iterator

from pairing.errors.base import KnownError
from pairing.errors.trust import PeerSaidUnknown
from pairing.errors.verdict import LockedError


def all_errors() -> Iterator[type[KnownError]]:
    """Every error class that has a number, in the order of the numbers."""

    def walk(parent: type[KnownError]) -> Iterator[type[KnownError]]:
        for child in parent.__subclasses__():
            yield child
            yield from walk(child)

    return iter(sorted((e for e in walk(KnownError) if e.number), key=lambda e: e.number))


def from_slug(slug: str, detail: str = "") -> KnownError:
    """The error that the other end named; `PeerSaidUnknown` for a name we do not have."""
    for error in all_errors():
        if error.slug == slug:
            return error(detail)
    return PeerSaidUnknown(detail or slug)


def locked(code: str, text: str) -> KnownError:
    """Why a node is locked, by the slug that it gave; the plain `LockedError` for any other."""
    named = from_slug(code, text)
    return named if isinstance(named, LockedError) else LockedError(text)


def first_known(group: BaseExceptionGroup[KnownError]) -> KnownError:
    """What trio's nurseries have wrapped, however often."""
    inner = group.exceptions[0]
    return first_known(inner) if isinstance(inner, BaseExceptionGroup) else inner
