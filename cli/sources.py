"""What a SOURCE on the command line is: a photo, several in a folder, zip or PDF, a token.

Nothing is guessed: a path is a path, a token has the shape of one (ours begins with its prefix,
Kairos' is base64 of 200 characters and more), and anything else is an error.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pairing import errors
from pairing.qr.photo import FILE_LIMIT, format_of
from pairing.qr.read import PhotoReader, token_from
from pairing.qr.reading import NATIVE_PREFIX, Kind, PhotoToken, Reading, kind_of
from pairing.qr.unpack import CONTAINER_LIMIT, ENDINGS, is_container, is_container_file, unpack

if TYPE_CHECKING:
    from pairing.peertoken import Token

TEXT_LIMIT = 1600
"""Bytes on standard input up to which it may be a token's text; more must be a photo."""

PICTURES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".heic", ".heif", ".avif", ".gif", ".bmp"}
    | {".tif", ".tiff"}
)
"""Endings of files in a folder that are looked at; those we cannot read are named as errors."""

JOINT = " + "
"""Between the names of photos that are to be read together."""

_CONTAINER_END = re.compile(r"(?<=\.zip|\.pdf)(?=[/ ])", re.IGNORECASE)

_WORD = re.compile(r"[^/.\s]{40}")
"""Longer than words in a path are."""


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to register: a name for messages, and where the token is."""

    name: str
    photo: Path | bytes | None = field(default=None, repr=False)
    text: str = field(default="", repr=False)
    advice: str = ""
    wrong: errors.KnownError | None = None
    """Why there is no photo: it could not be taken out of its zip or PDF."""
    taken: float = field(default=math.inf, compare=False)
    """Seconds since 1970, as far as the file's time tells it; what is typed or piped is new."""

    def code(self, reader: PhotoReader) -> PhotoToken:
        """The text of its code, and whose it is by its shape. Raises errors.PhotoError."""
        if self.text:
            return PhotoToken(kind_of(self.text.strip()) or Kind.NATIVE, self.text.strip())
        return token_from(self.reading(reader))

    def reading(self, reader: PhotoReader) -> Reading:
        """What its photo shows. Raises errors.PhotoError, errors.NoSuchSource."""
        if self.wrong is not None:
            raise self.wrong
        if self.photo is None:
            raise errors.NotAPicture("It is the text of a token.", element=self.name)
        return reader.read(self.photo, name=self.name)

    def token(self, reader: PhotoReader, *, loopback: bool) -> Token:
        """Read it, for our own protocol. Raises errors.PhotoError, errors.KairosCode."""
        return native_token(self.code(reader), self.name, loopback=loopback)


def native_token(code: PhotoToken, name: str, *, loopback: bool) -> Token:
    """The token of a code for our own protocol; `name` is the photo's. A code may be for both.

    Raises errors.TokenInvalid, errors.NetworkTokenInvalid, errors.KairosCode.
    """
    from pairing.peertoken import parse

    if code.kind is Kind.NATIVE:
        return parse(code.text, loopback=loopback)
    from pairing.edgevpn import native, nettoken

    found = native.native_token(nettoken.parse(code.text, loopback=loopback))
    if found is None:
        raise errors.KairosCode(element=name)
    return found


def sources(given: Sequence[str]) -> list[Source]:
    """Every source that the arguments name, folders opened.

    Raises errors.NoSuchSource, errors.UsageError.
    """
    if list(given).count("-") > 1:
        raise errors.UsageError("Standard input (-) can be named once only.")
    return [source for text in given for source in _sources(text)]


def _sources(text: str) -> Iterator[Source]:
    if text == "-":
        yield from _standard_input()
    elif text.strip().startswith(NATIVE_PREFIX) or kind_of(text.strip()):
        advice = (
            "a token as argument is visible to other users of this machine; better pipe it to -"
        )
        yield Source("token", text=text, advice=advice)
    else:
        yield from _at(text)


def shown(text: str) -> str:
    """What may be said of an argument that names nothing: it may be a token with a typing error."""
    is_path = Path(text).suffix.lower() in PICTURES or (len(text) <= 80 and not _WORD.search(text))
    if not is_path:
        return f"{text[:8]}... ({len(text)} characters)"
    return text if len(text) <= 80 else text[:77] + "..."


def _at(text: str) -> Iterator[Source]:
    path = Path(text)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError):
        raise errors.NoSuchSource(element=shown(text)) from None
    if is_folder:
        yield from _folder(path)
    elif is_container_file(path):
        yield from _pictures(path, text, _time(path))
    elif exists or path.is_symlink():
        yield Source(text, photo=path, taken=_time(path))
    elif JOINT in text:
        for part in text.split(JOINT):
            yield from _at(part)
    else:
        yield _within(text)


def _within(text: str) -> Source:
    """One picture in a zip or PDF, named as messages name it: `export.zip/shop/IMG_1.jpg`."""
    for end in _CONTAINER_END.finditer(text):
        name = text[: end.start()]
        if is_container_file(Path(name)):
            for source in _pictures(Path(name), name, _time(Path(name))):
                if Path(source.name) == Path(text):
                    return source
    raise errors.NoSuchSource(element=shown(text))


def _folder(folder: Path) -> Iterator[Source]:
    try:
        found = sorted(path for path in folder.iterdir() if _is_photo(path))
    except OSError as wrong:
        raise errors.NoSuchSource(f"({wrong.strerror})", element=str(folder)) from None
    if not found:
        raise errors.NoSuchSource("There is no picture in this folder.", element=str(folder))
    for path in found:
        if is_container_file(path):
            yield from _pictures(path, str(path), _time(path))
        else:
            yield Source(str(path), photo=path, taken=_time(path))


def _time(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0  # opening it will say what is wrong


def _pictures(file: Path | bytes, name: str, taken: float = math.inf) -> Iterator[Source]:
    """Those inside a zip or PDF. One that cannot be opened is a source that says so when its
    turn comes: the others go on.
    """
    try:
        found = unpack(file, name)
    except errors.PhotoError as wrong:
        yield Source(name, wrong=wrong, taken=taken)
        return
    for picture in found:
        yield Source(picture.name, photo=picture.data, wrong=picture.wrong, taken=taken)


def _is_photo(path: Path) -> bool:
    return (
        path.suffix.lower() in PICTURES | ENDINGS
        and not path.name.startswith(".")
        and path.is_file()
    )


def _standard_input() -> Iterator[Source]:
    if sys.stdin.isatty():
        raise errors.UsageError("Standard input (-) is a terminal: pipe a photo or a token to it.")
    data = sys.stdin.buffer.read(FILE_LIMIT + 1)
    if is_container(data):
        yield from _pictures(data + sys.stdin.buffer.read(CONTAINER_LIMIT), "-")
    elif format_of(data) or len(data) > TEXT_LIMIT:
        yield Source("-", photo=data)
    else:
        yield _piped_text(data)


def _piped_text(data: bytes) -> Source:
    try:
        text = data.decode("ascii").strip()
    except UnicodeDecodeError:
        return Source("-", photo=data)
    if not text:
        raise errors.NoSuchSource("Standard input is empty.", element="-")
    return Source("-", text=text)
