"""What is known of an inbox' photos: one durable line for each, so that none is read twice.

The file lies among the operator's records, not in the folder, which may be shared or read-only:
`inbox/NAME.jsonl` below the data folder, named after the folder's path. No token is in it, only
its name. A file that was damaged is set aside: then every photo is read again, which does no harm.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cli import folders
from cli.sources import JOINT
from node.journal import Journal
from pairing import errors

SCHEMA = 1
CONTAINER = "container"


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """One photo. `at` and `taken`: when (UTC) it was read, and the file's time.

    `digest` is the content's SHA-256, `name` the path within the folder. Of a token: `kind`,
    `code` (its name) and `node` (the machine's fingerprint). Of any other photo: the error's slug
    as `reason`, its `detail`, and `where` in the code. Of one in a zip or PDF: that file's digest
    as `within`; the file has a line too, with CONTAINER as `kind`, after those of its pictures.
    One that shows its code only together with others has a second line, with their names, its own
    too, as `sources`: what to register instead of it.
    """

    at: str
    taken: str
    name: str
    digest: str
    kind: str = ""
    code: str = ""
    node: str = ""
    reason: str = ""
    detail: str = ""
    where: str = ""
    within: str = ""
    sources: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What to register to get its code: itself, or several photos of one screen together."""
        return tuple(self.sources.split(JOINT)) if self.sources else (self.name,)

    @property
    def error(self) -> errors.KnownError | None:
        """Why it gave no token."""
        if not self.reason:
            return None
        found = errors.from_slug(self.reason, self.detail)
        found.element = self.name
        if isinstance(found, errors.CodeGlare | errors.CodeCutOff):
            found.where = self.where
        return found


class Ledger:
    """The photos of one folder, in the order in which they were read. One process at a time.

    Raises errors.StoreUnwritable, also when another process has it open.
    """

    def __init__(self, folder: Path, data: Path | None = None) -> None:
        home = (data or folders.data_folder()) / "inbox"
        folders.make_private(home)
        name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]
        self.path = home / f"{name}.jsonl"
        self._journal = self._open()
        self._lock()
        self.photos: list[Photo] = []
        self.containers: dict[str, Photo] = {}
        self._known: dict[str, Photo] = {}
        self._named: set[tuple[str, str]] = set()
        for photo in self._read():
            self._keep(photo)

    def _open(self) -> Journal:
        try:
            return Journal(self.path)
        except errors.JournalDamaged:
            self.path.rename(self.path.with_suffix(f".damaged-{int(time.time())}"))
            return Journal(self.path)
        except errors.NodeError as wrong:
            raise errors.StoreUnwritable(wrong.detail, element=str(self.path)) from None

    def _lock(self) -> None:
        self._held = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise errors.StoreUnwritable(
                "Another process is watching this inbox right now.", element=str(self.path)
            ) from None

    def _read(self) -> Iterator[Photo]:
        """Lines of another schema are left out: their photos are read again."""
        for body in self._journal.records:
            if body.get("schema") == SCHEMA:
                fields = {key: body.get(key, "") for key in Photo.__slots__}
                if all(isinstance(value, str) for value in fields.values()):
                    yield Photo(**fields)

    def known(self, digest: str) -> Photo | None:
        """What was found in this content earlier."""
        return self._known.get(digest)

    def has(self, digest: str, name: str) -> bool:
        """Whether this content was met under this name."""
        return (digest, name) in self._named

    def add(self, photo: Photo) -> None:
        """Remember a photo; it is on disk on return. Raises errors.StoreUnwritable."""
        body: dict[str, Any] = {"schema": SCHEMA, **asdict(photo)}
        try:
            self._journal.append(body)
        except errors.NodeError as wrong:
            raise errors.StoreUnwritable(wrong.detail, element=str(self.path)) from None
        self._keep(photo)

    def _keep(self, photo: Photo) -> None:
        if photo.kind == CONTAINER:
            self.containers[photo.digest] = photo
            return
        self.photos.append(photo)
        self._known[photo.digest] = photo
        self._named.add((photo.digest, photo.name))

    def close(self) -> None:
        """Close the file; calling it twice is fine."""
        self._journal.close()
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
