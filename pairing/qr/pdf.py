"""The pictures of a PDF, page by page, as its pages draw them (ISO 32000-1, 8.4, 8.8 to 8.10).

Each is given once, on the first page that draws it. Printers and scanners cut pictures into strips
and tiles: those that touch one another are put together. Of a page only its pictures count, not
what is written or drawn around them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pairing import errors
from pairing.qr import pdfpicture, photo, tiles
from pairing.qr.pdfpicture import entry

if TYPE_CHECKING:
    from PIL import Image
    from pypdf import PageObject, PdfReader

PAGES_LIMIT = 200
PIECES_LIMIT = 2_000
"""Pictures on one page, strips counted one by one."""
_SMALLEST_SIDE = 64
"""Pixels; smaller ones are logos and lines."""
_LOGO = 16
"""So many times smaller than the page's largest picture in area are logos too."""
_DRAWING_LIMIT = 4 * 1000 * 1000
"""Bytes of a page's drawing that are looked through, which takes about 10 s of CPU."""

_Matrix = tuple[float, float, float, float, float, float]
_UPRIGHT: _Matrix = (1, 0, 0, 1, 0, 0)


@dataclass(frozen=True, slots=True)
class Found:
    """A picture: its page, from 1, its number among that page's `of`, and the content or why there
    is none."""

    page: int
    number: int
    of: int
    data: bytes = field(default=b"", repr=False)
    wrong: errors.PhotoError | None = None


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A picture object and where it stands: the unit square's place on the page."""

    stream: Any = field(repr=False)
    matrix: _Matrix | None = None
    """None: not known."""


def pictures(data: bytes) -> Iterator[Found]:
    """All of them, in order. Raises errors.ContainerRefused, and what pypdf does."""
    import pypdf

    document = pypdf.PdfReader(io.BytesIO(data))
    if document.is_encrypted and not document.decrypt(""):
        raise errors.ContainerRefused("A password protects it.")
    given: set[tuple[int, int]] = set()
    for number, page in enumerate(document.pages, 1):
        if number > PAGES_LIMIT:
            raise errors.ContainerRefused(f"It has more than {PAGES_LIMIT} pages.")
        groups = _groups(_once(_on_page(document, page), given))
        for count, group in enumerate(groups, 1):
            yield _found(Found(number, count, len(groups)), group)


def _once(drawn: Iterator[_Drawn], given: set[tuple[int, int]]) -> list[_Drawn]:
    """Those that were not drawn before. Raises errors.ContainerRefused for too many."""
    here = []
    for one in drawn:
        at = getattr(one.stream, "indirect_reference", None)
        number = (at.idnum, at.generation) if at is not None else None
        if number is None or number not in given:
            here.append(one)
        if number is not None:
            given.add(number)
        if len(here) > PIECES_LIMIT:
            raise errors.ContainerRefused(f"A page has more than {PIECES_LIMIT:,} pictures.")
    return here


# --- what a page draws --------------------------------------------------------------------------


def _on_page(document: PdfReader, page: PageObject) -> Iterator[_Drawn]:
    """What its drawing names, with places; where there is too much drawing or it is damaged, all
    that is at hand for it."""
    resources = _resources(page)
    try:
        drawn = list(_Drawing(document).of(page.get("/Contents"), resources, _UPRIGHT))
    except Exception:  # any complaint about a stranger's bytes
        drawn = []
    yield from drawn or _at_hand(resources, {})
    for note in entry(page, "/Annots") or []:
        form = entry(entry(note.get_object(), "/AP"), "/N")
        if hasattr(form, "get_data"):  # a stamp
            yield from _at_hand(_resources(form), {})


@dataclass(slots=True)
class _Drawing:
    """Looks through what a page draws, and through each form once: forms within forms within forms
    are a bomb otherwise."""

    document: PdfReader
    left: int = field(default_factory=lambda: _DRAWING_LIMIT)
    forms: dict[int, Any] = field(default_factory=dict)

    def of(self, contents: Any, resources: Any, place: _Matrix) -> Iterator[_Drawn]:
        """The pictures. Raises ValueError for too much, and what pypdf does."""
        from pypdf.generic import ContentStream

        if contents is None:
            return
        drawing = ContentStream(contents, self.document)
        self.left -= len(drawing.get_data())
        if self.left < 0:
            raise ValueError
        objects: dict[str, Any] = _objects(resources)
        saved: list[_Matrix] = []
        for operands, operator in drawing.operations:
            if operator == b"q":
                saved.append(place)
            elif operator == b"Q" and saved:
                place = saved.pop()
            elif operator == b"cm":
                place = _times(_matrix(operands), place)
            elif operator == b"INLINE IMAGE":
                yield from _sized(pdfpicture.inline(operands, resources), place)
            elif operator == b"Do":
                yield from self._named(objects.get(str(operands[0])), resources, place)

    def _named(self, named: Any, resources: Any, place: _Matrix) -> Iterator[_Drawn]:
        if named is None:
            return
        if named.get("/Subtype") == "/Image":
            yield from _sized(named, place)
        elif id(named) not in self.forms:
            self.forms[id(named)] = named  # kept: then no other has its number
            inner = _times(_matrix(named.get("/Matrix", _UPRIGHT)), place)
            yield from self.of(named, _resources(named) or resources, inner)


def _at_hand(resources: Any, forms: dict[int, Any]) -> Iterator[_Drawn]:
    for stream in _objects(resources).values():
        kind = stream.get("/Subtype")
        if kind == "/Form" and id(stream) not in forms:
            forms[id(stream)] = stream
            yield from _at_hand(_resources(stream), forms)
        elif kind == "/Image":
            yield from _sized(stream, None)


def _sized(stream: Any, place: _Matrix | None) -> Iterator[_Drawn]:
    if min(pdfpicture.size(stream)) > 0:
        yield _Drawn(stream, place)


def _resources(owner: Any) -> Any:
    return entry(owner, "/Resources") or {}


def _objects(resources: Any) -> dict[str, Any]:
    named = entry(resources, "/XObject") or {}
    objects = {str(name): value.get_object() for name, value in named.items()}
    return {name: value for name, value in objects.items() if hasattr(value, "get_data")}


def _matrix(said: Any) -> _Matrix:
    a, b, c, d, e, f = (float(value) for value in said)
    return a, b, c, d, e, f


def _times(first: _Matrix, then: _Matrix) -> _Matrix:
    a, b, c, d, e, f = first
    g, h, i, j, k, m = then
    return (a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j,
            e * g + f * i + k, e * h + f * j + m)  # fmt: skip


# --- pieces put together ------------------------------------------------------------------------


def _groups(drawn: list[_Drawn]) -> list[list[_Drawn]]:
    """Pictures that are one, without logos."""
    pieces = [tiles.piece(pdfpicture.size(one.stream), one.matrix) for one in drawn]
    groups = [[drawn[place] for place in group] for group in tiles.groups(pieces)]
    areas = [sum(_area(one) for one in group) for group in groups]
    largest = max(areas, default=0)
    return [
        group
        for group, area in zip(groups, areas, strict=True)
        if area * _LOGO >= largest and (len(group) > 1 or _is_large(group[0]))
    ]


def _area(one: _Drawn) -> int:
    width, height = pdfpicture.size(one.stream)
    return width * height


def _is_large(one: _Drawn) -> bool:
    return min(pdfpicture.size(one.stream)) >= _SMALLEST_SIDE


def _found(found: Found, group: list[_Drawn]) -> Found:
    try:
        if len(group) == 1:
            return replace(found, data=_content(pdfpicture.picture(group[0].stream)))
        return replace(found, data=_content(_joined(group)))
    except errors.PhotoError as wrong:
        return replace(found, wrong=wrong)
    except MemoryError:
        return replace(found, wrong=errors.PictureTooLarge("There is not enough memory for it."))


def _joined(group: list[_Drawn]) -> Image.Image:
    from PIL import Image

    pieces = [tiles.piece(pdfpicture.size(one.stream), one.matrix) for one in group]
    size, places = tiles.layout([piece for piece in pieces if piece is not None])
    photo.check_size(*size)
    whole = Image.new("L", size, 255)
    for one, place in zip(group, places, strict=True):
        part = pdfpicture.picture(one.stream)
        whole.paste(photo.open_gray(part) if isinstance(part, bytes) else part, place)
    return whole


def _content(picture: bytes | Image.Image) -> bytes:
    """A file of it. Raises errors.PictureTooLarge."""
    if isinstance(picture, bytes):
        content = picture
    else:
        out = io.BytesIO()
        picture.save(out, "PNG", compress_level=1)
        content = out.getvalue()
        if len(content) > photo.FILE_LIMIT:  # noise of a large photo
            out = io.BytesIO()
            picture.save(out, "JPEG", quality=90)
            content = out.getvalue()
    if len(content) > photo.FILE_LIMIT:
        raise errors.PictureTooLarge
    return content
