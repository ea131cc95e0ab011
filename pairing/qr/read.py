"""Photos in, readings out: the door that commands use. Loads no picture library itself."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pairing import errors
from pairing.qr.photo import FILE_LIMIT, check_format
from pairing.qr.reading import Code, Corners, PhotoToken, Place, Reading, Tried, token_from
from pairing.worker import Protection, Worker

__all__ = ["Code", "PhotoReader", "PhotoToken", "Reading", "token_from"]

_REPLIES = (errors.NotAPicture, errors.PictureTooLarge)
"""The errors that a worker may name; anything else from it is a failure of its own."""


_FLAGS = os.O_RDONLY
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)  # not every system has every flag


class PhotoReader:
    """Reads photos in a sandboxed child process. Use as context manager; threads take turns."""

    def __init__(self, *, any_text: bool = False, hard: bool = False) -> None:
        """`any_text`: go on until every code in sight is read. `hard`: no budget of CPU time."""
        self._request = {"any": any_text, "hard": hard}
        self._worker = Worker()
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
                reply = self._worker.ask(self._request, data)
            return _reading(name, reply)
        except errors.KnownError as wrong:
            wrong.element = wrong.element or name
            raise

    def protection(self) -> Protection:
        """What keeps the child from harm; starts it. Raises errors.PhotoWorkerFailed."""
        with self._turn:
            return self._worker.protection()

    def close(self) -> None:
        """End the child."""
        with self._turn:
            self._worker.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def load(path: str | Path) -> bytes:
    """The content of a plain file: no link, pipe, device or folder, at most FILE_LIMIT bytes.

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
        if status.st_size > FILE_LIMIT:
            raise errors.PictureTooLarge(element=element)
        with os.fdopen(os.dup(handle), "rb") as file:
            return file.read(FILE_LIMIT + 1)
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


def _reading(name: str, reply: dict[str, Any]) -> Reading:
    """A Reading from the worker's words, every one checked."""
    if "error" in reply:
        for kind in _REPLIES:
            if kind.slug == reply["error"]:
                raise kind(_text(reply.get("detail", ""), 200))
    try:
        return Reading(
            photo=name,
            format=_text(reply["format"], 8),
            width=_number(reply["width"]),
            height=_number(reply["height"]),
            codes=tuple(_code(*code) for code in _list(reply["codes"])),
            unreadable=tuple(_place(*place).corners for place in _list(reply["unread"])),
            tried=tuple(_tried(*step) for step in _list(reply["tried"])),
            cpu_ms=_number(reply["cpu_ms"]),
        )
    except (KeyError, TypeError, ValueError):
        raise errors.PhotoWorkerFailed("(its answer makes no sense)") from None


def _code(text: object, step: object, corners: object) -> Code:
    return Code(_text(text, 8192), _corners(corners), _text(step, 64))


def _place(corners: object, version: object) -> Place:
    return Place(_corners(corners), None if version is None else _number(version))


def _tried(step: object, ms: object, read: object, located: object) -> Tried:
    return Tried(_text(step, 64), _number(ms), _number(read), _number(located))


def _list(value: object) -> list[Any]:
    if not isinstance(value, list) or len(value) > 64:
        raise ValueError
    return value


def _text(value: object, limit: int) -> str:
    if not isinstance(value, str) or len(value) > limit:
        raise ValueError
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 10**9:
        raise ValueError
    return value


def _corners(value: object) -> Corners:
    return tuple((_number(x), _number(y)) for x, y in _list(value))
