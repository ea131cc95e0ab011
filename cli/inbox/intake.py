"""One photo at a time: read it once, say what it shows, remember that."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from cli.inbox.arrivals import Found
from cli.inbox.ledger import CONTAINER, Ledger, Photo
from cli.inbox.machines import Machine, Standing, machines
from cli.records import Records, now
from pairing import errors
from pairing.qr.read import PhotoReader, load, token_from
from pairing.qr.reading import Kind, PhotoToken
from pairing.qr.unpack import CONTAINER_LIMIT, is_container_file, unpack


class Result(StrEnum):
    """What a photo is, beside those that were there before."""

    NEW = "new"
    """The first photo of a machine."""
    NEWER = "newer"
    """A later photo of a machine: it counts from now on."""
    OLDER = "older"
    """An earlier photo of a machine, which came later."""
    COPY = "copy"
    """The same picture under another name."""
    UNREADABLE = "unreadable"
    KNOWN = "known"
    """Met by an earlier run. Its machine may still wait."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one picture. `wanted`: its machine waits, and this is the photo to use."""

    result: Result
    photo: Photo
    path: Path
    wanted: bool = False
    error: errors.KnownError | None = None


@dataclass(slots=True, kw_only=True)
class Intake:
    """Reads the pictures of one inbox. `again`: also those that could not be read before."""

    folder: Path
    ledger: Ledger
    reader: PhotoReader
    records: Records = field(default_factory=Records)
    again: bool = False
    clock: Callable[[], str] = now
    paths: dict[str, Path] = field(default_factory=dict)
    """Where each content lies now."""

    def take(self, found: Found) -> Iterator[Taken]:
        """Look at a picture, or at those in a zip or PDF; each is read unless it was before.

        Raises errors.StoreUnwritable.
        """
        if is_container_file(found.path):
            yield from self._inside(found)
        else:
            yield self._one(found)

    def _inside(self, found: Found) -> Iterator[Taken]:
        name = str(found.path.relative_to(self.folder))
        photo = Photo(at=self.clock(), taken=_utc(found.taken), name=name, digest="")
        try:
            data = load(found.path, CONTAINER_LIMIT)
            photo = replace(photo, digest=hashlib.sha256(data).hexdigest())
            if photo.digest in self.ledger.containers and not self.again:
                yield from self._known(photo.digest)
                return
            pictures = unpack(data, name)
        except errors.KnownError as wrong:
            yield _unread(photo, found.path, wrong)
            return
        for picture in pictures:
            one = replace(photo, name=picture.name, digest="", within=photo.digest)
            path = self.folder / picture.name
            if picture.wrong is not None:
                yield _unread(one, path, picture.wrong)
            else:
                yield self._content(one, picture.data, path)
        self.ledger.add(replace(photo, kind=CONTAINER))

    def _known(self, container: str) -> Iterator[Taken]:
        """The pictures of a zip or PDF that was opened before."""
        for photo in [one for one in self.ledger.photos if one.within == container]:
            self.paths[photo.digest] = self.folder / photo.name
            yield self._met(photo, photo, self.folder / photo.name)

    def _one(self, found: Found) -> Taken:
        name = str(found.path.relative_to(self.folder))
        photo = Photo(at=self.clock(), taken=_utc(found.taken), name=name, digest="")
        try:
            if not name.isprintable():
                raise errors.NotAPicture("Its name has characters that cannot be printed.")
            data = load(found.path)
        except errors.KnownError as wrong:
            return _unread(photo, found.path, wrong)
        return self._content(photo, data, found.path)

    def _content(self, photo: Photo, data: bytes, path: Path) -> Taken:
        photo = replace(photo, digest=hashlib.sha256(data).hexdigest())
        self.paths[photo.digest] = path
        earlier = self.ledger.known(photo.digest)
        if earlier and not (self.again and earlier.reason):
            return self._met(earlier, photo, path)
        return self._read(photo, data, path)

    def _met(self, earlier: Photo, photo: Photo, path: Path) -> Taken:
        if self.ledger.has(photo.digest, photo.name):
            machine = self.machine(earlier.node) if earlier.node else None
            newest = machine is not None and machine.newest.digest == earlier.digest
            wanted = newest and self._waits(earlier)
            return Taken(Result.KNOWN, earlier, path, wanted)
        copy = replace(earlier, name=photo.name, at=photo.at, within=photo.within)
        self.ledger.add(copy)
        return Taken(Result.COPY, copy, path, error=copy.error)

    def _read(self, photo: Photo, data: bytes, path: Path) -> Taken:
        try:
            shown = token_from(self.reader.read(data, name=photo.name))
            photo = replace(photo, **_machine_of(shown))
        except errors.KnownError as wrong:
            if isinstance(wrong, errors.PhotoError) and not _passing(wrong):
                where, detail = getattr(wrong, "where", ""), wrong.detail
                photo = replace(photo, reason=wrong.slug, detail=detail, where=where)
                self.ledger.add(photo)
            return _unread(photo, path, wrong)
        before = self.machine(photo.node)
        self.ledger.add(photo)
        result = Result.NEW
        if before:
            result = Result.NEWER if photo.taken > before.newest.taken else Result.OLDER
        return Taken(result, photo, path, result is not Result.OLDER and self._waits(photo))

    def _waits(self, photo: Photo) -> bool:
        machine = self.machine(photo.node)
        return machine is not None and machine.standing(self.records)[0] is Standing.WAITING

    def machine(self, node: str) -> Machine | None:
        """The machine with this fingerprint."""
        those = machines(photo for photo in self.ledger.photos if photo.node == node)
        return those[0] if those else None


def _machine_of(shown: PhotoToken) -> dict[str, str]:
    """Whose code it is, without its secret. Raises errors.TokenInvalid."""
    from cli.kairos.notes import name_of
    from pairing import keys, peertoken

    if shown.kind is Kind.KAIROS:
        name = name_of(shown.text)
        return {"kind": shown.kind.value, "code": name, "node": name}
    token = peertoken.parse(shown.text, loopback=True)
    return {
        "kind": shown.kind.value,
        "code": token.name,
        "node": keys.fingerprint(token.key),
    }


def _unread(photo: Photo, path: Path, wrong: errors.KnownError) -> Taken:
    wrong.element = photo.name
    return Taken(Result.UNREADABLE, replace(photo, reason=wrong.slug), path, error=wrong)


def _passing(wrong: errors.PhotoError) -> bool:
    """Failures that may be this station's own: the photo is read again after the next start."""
    return isinstance(wrong, errors.PhotoWorkerFailed)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def age(taken: str) -> float:
    """Seconds since a photo was taken; 0 if its time lies ahead or says nothing."""
    try:
        return max(0.0, time.time() - datetime.fromisoformat(taken).timestamp())
    except ValueError:
        return 0.0
