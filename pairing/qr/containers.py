"""The pictures inside a zip or a PDF. Runs inside a locked child (`pairing.qr.unpackworker`).

A zip is what messengers export: photos among texts and videos, in folders. In a PDF only the
pictures count, not what is drawn: a photo printed or scanned to PDF is a picture on its page.
"""

from __future__ import annotations

import codecs
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

from pairing import errors
from pairing.qr import pdf, photo

MEMBERS_LIMIT = 20_000
"""Entries of a zip, folders and texts included."""
PICTURES_LIMIT = 2_000
TOTAL_LIMIT = 256 * 1000 * 1000
"""Bytes of all pictures."""
RATIO_LIMIT = 100
"""Bytes of all pictures for one of the file: pictures are compressed already."""


@dataclass(frozen=True, slots=True)
class Inside:
    """A picture: what comes after the file's name in its own, its content, or why there is none."""

    name: str
    data: bytes = b""
    wrong: errors.PhotoError | None = None


def pictures(data: bytes) -> Iterator[Inside]:
    """Every picture inside, in order. Raises errors.ContainerRefused, for too much too."""
    found, total = 0, 0
    for inside in _inside(data):
        found, total = found + 1, total + len(inside.data)
        if found > PICTURES_LIMIT:
            raise errors.ContainerRefused(f"There are more than {PICTURES_LIMIT:,} pictures in it.")
        if total > min(TOTAL_LIMIT, RATIO_LIMIT * len(data) + photo.FILE_LIMIT):
            raise errors.ContainerRefused("Its pictures are larger than they should be.")
        yield inside
    if not found:
        raise errors.ContainerRefused("There is no picture in it.")


def _inside(data: bytes) -> Iterator[Inside]:
    try:
        yield from _of_pdf(data) if photo.format_of(data) == "PDF" else _of_zip(data)
    except errors.KnownError:
        raise
    except MemoryError:
        raise errors.ContainerRefused("There is not enough memory for it.") from None
    except Exception as broken:  # any parser's complaint about a stranger's bytes
        detail = f"Its content is damaged ({type(broken).__name__})."
        raise errors.ContainerRefused(detail) from None


def _of_zip(data: bytes) -> Iterator[Inside]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if len(members) > MEMBERS_LIMIT:
            raise errors.ContainerRefused(f"There are more than {MEMBERS_LIMIT:,} files in it.")
        for member in sorted(members, key=lambda member: member.filename):
            if not member.is_dir():
                yield from _of_member(archive, member)


def _of_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[Inside]:
    name = f"/{member.filename}"
    if member.flag_bits & 1:
        yield Inside(name, wrong=errors.NotAPicture("A password protects it."))
        return
    with archive.open(member) as file:
        start = file.read(64)
        kind = photo.format_of(start)
        if kind not in (*photo.ALLOWED, "PDF"):
            return  # a text, a video, what a Mac adds
        whole = start + file.read(photo.FILE_LIMIT + 1 - len(start))
    if len(whole) > photo.FILE_LIMIT:
        yield Inside(name, wrong=errors.PictureTooLarge())
    elif kind == "PDF":
        for inside in _of_pdf(whole):
            yield Inside(name + inside.name, inside.data, inside.wrong)
    else:
        yield Inside(name, whole)


def _of_pdf(data: bytes) -> Iterator[Inside]:
    for found in pdf.pictures(data):
        name = f" page {found.page}" + (f" picture {found.number}" if found.of > 1 else "")
        yield Inside(name, found.data, found.wrong)


_CODECS = ("cp437", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "latin-1", "cp1252")
"""Of names in zips and texts in PDFs; Python loads each from a file when first asked for it."""


def preload() -> None:
    """Load all that `pictures` may need, by taking pictures out of a document made for it."""
    from PIL import Image

    photo.preload()
    for name in _CODECS:
        codecs.lookup(name)
    modes, out = ("L", "1", "P", "RGB"), io.BytesIO()
    first, *others = (Image.new(mode, (64, 64)) for mode in modes)
    first.save(out, "PDF", save_all=True, append_images=others)
    for inside in _of_pdf(out.getvalue()):
        assert inside.wrong is None, inside
