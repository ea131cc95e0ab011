"""Pictures out of zips and PDFs, in a sandboxed child process. Loads no picture library itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pairing import errors
from pairing.qr import replies
from pairing.qr.photo import CONTAINERS, FILE_LIMIT, format_of
from pairing.qr.read import load
from pairing.worker import Worker

CONTAINER_LIMIT = 256 * 1000 * 1000
"""Bytes of a zip or PDF; each picture inside has the limits of a photo."""
ENDINGS = frozenset({".zip", ".pdf"})
_MODULE = "pairing.qr.unpackworker"
_PICTURES_LIMIT = 2_000
_START = 64


@dataclass(frozen=True, slots=True)
class Picture:
    """One of the pictures in a file: its content, or why it cannot be taken out."""

    name: str
    data: bytes = field(default=b"", repr=False)
    wrong: errors.PhotoError | None = None


def is_container(data: bytes) -> bool:
    """Whether a file that begins so has pictures inside."""
    return format_of(data) in CONTAINERS


def is_container_file(path: Path) -> bool:
    """The same of a plain file; False for one that cannot be read."""
    try:
        if not path.is_file():  # a pipe would not end
            return False
        with path.open("rb") as file:
            return is_container(file.read(_START))
    except (OSError, ValueError):
        return False


def unpack(file: Path | bytes, name: str) -> list[Picture]:
    """The pictures inside, called `NAME/inner/name.jpg` or `NAME page 2`, in order.

    Raises errors.ContainerRefused, errors.PictureTooLarge, errors.PhotoWorkerFailed,
    errors.NotAPicture, errors.NoSuchSource.
    """
    worker = Worker(module=_MODULE)
    try:
        data = file if isinstance(file, bytes) else load(file, CONTAINER_LIMIT)
        if len(data) > CONTAINER_LIMIT:
            raise errors.ContainerRefused("It is larger than 256 MB.")
        return list(_pictures(worker, data, name))
    except errors.PictureTooLarge:
        raise errors.ContainerRefused("It is larger than 256 MB.", element=name) from None
    except errors.KnownError as wrong:
        wrong.element = wrong.element or name
        raise
    finally:
        worker.stop()


def _pictures(worker: Worker, data: bytes, name: str) -> Iterator[Picture]:
    for count, (said, content) in enumerate(worker.ask_many({}, data, FILE_LIMIT)):
        with replies.checked():
            wrong = replies.refused(said)
            if count > _PICTURES_LIMIT:
                raise ValueError
        if "end" in said:
            if wrong is not None:
                raise wrong
            return
        yield _picture(said, content, wrong, name)


def _picture(
    said: dict[str, Any], content: bytes, wrong: errors.PhotoError | None, name: str
) -> Picture:
    with replies.checked():
        inner = replies.text(said["name"], 300)
    whole = name + "".join(letter if letter.isprintable() else "?" for letter in inner)
    if wrong is not None:
        wrong.element = whole
    return Picture(whole, content, wrong)
