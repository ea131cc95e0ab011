"""Photos in, readings out: the door that commands use. Loads no picture library itself."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from pairing import errors
from pairing.qr import replies
from pairing.qr.photo import FILE_LIMIT, check_format
from pairing.qr.reading import (
    Code,
    Kind,
    PhotoToken,
    Place,
    Reading,
    Sum,
    Tried,
    kind_of,
    token_from,
)
from pairing.worker import Protection, Worker

__all__ = ["Code", "PhotoReader", "PhotoToken", "Reading", "Sum", "token_from"]

PLACES_LIMIT = 4
"""Located codes that the grid reader looks at, the first seen first."""

GRID = "pairing.qr.gridworker"
UNREAD_LIMIT = 256
"""Unread codes whose bits, 55 kB at most, are kept for `together`; the earliest go first."""
SHOWN_LIMIT = 256
"""The latest codes that unread photos are compared with, which takes 7 ms for each."""

_FLAGS = os.O_RDONLY
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)  # not every system has every flag


class PhotoReader:
    """Reads photos in sandboxed child processes. Use as context manager; threads take turns.

    The second child, with the grid reader, starts with the first photo that needs it.
    """

    def __init__(self, *, any_text: bool = False, hard: bool = False, picture: int = 0) -> None:
        """`any_text`: go on until every code in sight is read. `hard`: no budget of CPU time.

        `picture`: readings have the photo's pixels too, its longer side at most so many.
        """
        self._request = {"any": any_text, "hard": hard, "picture": picture}
        self._worker, self._grid = Worker(), Worker(module=GRID)
        self._unread: deque[tuple[str, bytes]] = deque(maxlen=UNREAD_LIMIT)
        self._shown: dict[str, str] = {}
        self._turn = threading.Lock()

    def read(self, photo: str | Path | bytes, *, name: str = "") -> Reading:
        """Read one photo: a file's path or its content. `name` is for messages.

        Raises errors.PhotoError and its children: NotAPicture, PictureTooLarge, PhotoWorkerFailed;
        errors.NoSuchSource. That no token was found is no error here: ask `token_from`.
        """
        name = name or ("" if isinstance(photo, bytes) else str(photo))
        try:
            data = photo if isinstance(photo, bytes) else load(photo)
            check_format(data)
            with self._turn:
                return self._read(name, data)
        except errors.KnownError as wrong:
            wrong.element = wrong.element or name
            raise

    def _read(self, name: str, data: bytes) -> Reading:
        reply = self._worker.ask(self._request, data)
        with replies.checked():
            if wrong := replies.refused(reply):
                raise wrong
            reading, places = replies.reading(name, reply)
        enough = self._request["any"] and reading.codes and not self._request["hard"]
        if not reading.tokens and not enough:
            reading = self._read_by_grid(reading, places, data)
        if not reading.tokens:
            self._unread.extend((name, soft) for soft in reading.soft)
        for token in reading.tokens:
            self._shown.setdefault(token, name)
        while len(self._shown) > SHOWN_LIMIT:
            del self._shown[next(iter(self._shown))]
        return reading

    def _read_by_grid(self, first: Reading, places: Sequence[Place], data: bytes) -> Reading:
        """`first`, and what the grid reader found; its failure takes nothing away."""
        known = [[place.corners, place.version] for place in places[:PLACES_LIMIT]]
        try:
            reply = self._grid.ask({**self._request, "do": "read", "places": known}, data)
            with replies.checked():
                if "failed" in reply:
                    raise errors.PhotoWorkerFailed(replies.text(reply["failed"], 100))
                return replies.with_grid(first, reply)
        except errors.PhotoWorkerFailed as failure:
            return replace(first, tried=(*first.tried, Tried(f"grid: {failure.detail}")))

    def keeps(self, name: str) -> bool:
        """Whether bits of this unread photo wait for `together`."""
        return any(photo == name for photo, _ in self._unread)

    def together(self, *, keep: bool = False) -> tuple[Sum, ...]:
        """What unread photos so far show: codes that several give together, and codes of ours that
        another photo gave. With `keep`, the others wait for more photos of their screens.

        Raises errors.PhotoWorkerFailed; then no bits are kept.
        """
        with self._turn:
            unread, self._unread = list(self._unread), deque(maxlen=UNREAD_LIMIT)
            shown = [text for text in self._shown if kind_of(text) is Kind.NATIVE]
            names = list(dict.fromkeys(name for name, _ in unread))
            if not names or (len(names) < 2 and not shown):
                self._unread.extend(unread if keep else ())
                return ()
            request = {
                **self._request,
                "do": "sum",
                "photos": [names.index(name) for name, _ in unread],
                "sizes": [len(soft) for _, soft in unread],
                "shown": shown,
            }
            reply = self._grid.ask(request, b"".join(soft for _, soft in unread))
            with replies.checked():
                found = replies.sums(reply, len(names), shown)
            if keep:
                read = {names[photo] for _, photos in found for photo in photos}
                self._unread.extend((name, soft) for name, soft in unread if name not in read)
        return tuple(
            Sum(text, tuple(names[photo] for photo in photos), self._shown.get(text, ""))
            for text, photos in found
        )

    def protection(self) -> Protection:
        """What keeps the child from harm; starts it. Raises errors.PhotoWorkerFailed."""
        with self._turn:
            return self._worker.protection()

    def grid_protection(self) -> Protection:
        """The same of the second child."""
        with self._turn:
            return self._grid.protection()

    @property
    def grid_started(self) -> bool:
        """Whether a photo so far needed the second child."""
        return self._grid.running

    def close(self) -> None:
        """End the children."""
        with self._turn:
            self._worker.stop()
            self._grid.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def load(path: str | Path, limit: int = FILE_LIMIT) -> bytes:
    """The content of a plain file: no link, pipe, device or folder, at most `limit` bytes.

    Raises errors.NoSuchSource, errors.NotAPicture, errors.PictureTooLarge.
    """
    element = str(path)
    try:
        handle = os.open(path, _FLAGS)
    except FileNotFoundError:
        raise errors.NoSuchSource(element=element) from None
    except (OSError, ValueError) as wrong:
        raise errors.NotAPicture(_refused(wrong), element=element) from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise errors.NotAPicture(f"It is {_what(status.st_mode)}.", element=element)
        if status.st_size > limit:
            raise errors.PictureTooLarge(element=element)
        with os.fdopen(os.dup(handle), "rb") as file:
            return file.read(limit + 1)
    finally:
        os.close(handle)


def _refused(wrong: OSError | ValueError) -> str:
    if isinstance(wrong, OSError) and wrong.errno == errno.ELOOP:
        return "It is a symbolic link: name the file itself."
    return f"It cannot be opened ({getattr(wrong, 'strerror', 'bad name')})."


def _what(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    return "a device or socket"
