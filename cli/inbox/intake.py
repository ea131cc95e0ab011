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
from cli.sources import JOINT
from pairing import errors
from pairing.qr.read import PhotoReader, load, token_from
from pairing.qr.reading import Kind, PhotoToken, Sum, kind_of
from pairing.qr.unpack import CONTAINER_LIMIT, is_container_file, unpack

RECALLED = 16
"""Unread photos of earlier runs, the latest, that are looked at again beside a new one."""


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
    SAME = "same"
    """It shows nothing alone, but the screen that other photos show."""
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
    waits: bool = False
    """It could not be read alone; perhaps it can with others, which `Intake.together` tells."""

    def source(self, folder: Path) -> str:
        """What `kairos-register` is to be given for it."""
        if not self.photo.sources:
            return str(self.path)
        return JOINT.join(str(folder / name) for name in self.photo.names)


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
    _alone: dict[str, Photo] = field(default_factory=dict)
    """Photos, by name, whose bits the reader keeps: as many as it keeps."""
    _recalled: bool = False

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
            return replace(_unread(photo, path, wrong), waits=self._keep(photo))
        before = self.machine(photo.node)
        self.ledger.add(photo)
        result = Result.NEW
        if before:
            result = Result.NEWER if photo.taken > before.newest.taken else Result.OLDER
        return Taken(result, photo, path, result is not Result.OLDER and self._waits(photo))

    # --- photos that show something only together ---------------------------------------------

    def together(self) -> Iterator[Taken]:
        """Photos that could not be read alone, as soon as others show the same screen: each with
        its machine, the newest as the one to use. The rest goes on waiting.

        Raises errors.StoreUnwritable.
        """
        if not self._alone:
            return
        self._recall()
        try:
            sums = self.reader.together(keep=True)
        except errors.PhotoWorkerFailed:
            sums = ()
        for found in sums:
            members = [self._alone.pop(name) for name in found.photos if name in self._alone]
            yield from self._joined(found, sorted(members, key=lambda one: one.taken))
        self._alone = {name: one for name, one in self._alone.items() if self.reader.keeps(name)}

    def _joined(self, found: Sum, members: list[Photo]) -> Iterator[Taken]:
        """`members`: the oldest first."""
        kind = kind_of(found.text)
        try:
            if kind is None:
                return
            machine = _machine_of(PhotoToken(kind, found.text))
        except errors.KnownError:
            return
        before = self.machine(machine["node"])
        sources = found.shown_by or JOINT.join(found.photos)
        photos = [replace(one, sources=sources, reason="", detail="", where="", **machine)
                  for one in members]  # fmt: skip
        for photo in photos:
            self.ledger.add(photo)
        for photo in reversed(photos):
            result = Result.SAME
            if photo is photos[-1] and not found.shown_by:
                result = Result.NEW if before is None else Result.NEWER
                if before and photo.taken <= before.newest.taken:
                    result = Result.OLDER
            wanted = result in (Result.NEW, Result.NEWER) and self._waits(photo)
            yield Taken(result, photo, self.folder / photo.name, wanted)

    def _keep(self, photo: Photo) -> bool:
        """Whether an unread photo may be read with others."""
        kept = self.reader.keeps(photo.name)
        if kept:
            self._alone[photo.name] = photo
        return kept

    def _recall(self) -> None:
        """Look again at unread photos of earlier runs, once, when there is a new one beside them:
        their bits were not written down, for they hold the code's secret."""
        if self._recalled:
            return
        self._recalled = True
        latest = {one.digest: one for one in self.ledger.photos}
        for photo in [one for one in latest.values() if self._may_wait(one)][-RECALLED:]:
            try:
                data = load(self.paths[photo.digest])
                if hashlib.sha256(data).hexdigest() == photo.digest:
                    self.reader.read(data, name=photo.name)
                    self._keep(photo)
            except errors.KnownError:
                continue

    def _may_wait(self, photo: Photo) -> bool:
        here = photo.digest in self.paths and not photo.within and photo.name not in self._alone
        return here and isinstance(photo.error, errors.CodeUnreadable)

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
