"""One picture of a PDF as gray pixels, whatever its colours, masks and compression are.

Sources: ISO 32000-1, 7.4 (filters), 8.9.5 (pictures), 8.9.6 and 11.6.5 (masks). Pixels are
decoded a few rows at a time, or by Pillow's decoders, so that memory stays near that of the result.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pairing import errors
from pairing.qr import pdfcolour, photo
from pairing.qr.pdfcolour import Space

if TYPE_CHECKING:
    from PIL import Image

_STRIP_BYTES = 4 * 1000 * 1000
_BITS = (1, 2, 4, 8, 16)
_SHORT = {
    "/AHx": "/ASCIIHexDecode", "/A85": "/ASCII85Decode", "/LZW": "/LZWDecode",
    "/Fl": "/FlateDecode", "/RL": "/RunLengthDecode", "/CCF": "/CCITTFaxDecode",
    "/DCT": "/DCTDecode",
}  # fmt: skip
_ABBREVIATED = {
    "/W": "/Width", "/H": "/Height", "/BPC": "/BitsPerComponent", "/CS": "/ColorSpace",
    "/D": "/Decode", "/DP": "/DecodeParms", "/F": "/Filter", "/IM": "/ImageMask",
}  # fmt: skip
"""In pictures that stand among a page's drawing (ISO 32000-1, table 93)."""


def size(stream: Any) -> tuple[int, int]:
    """Width and height that a picture object says, in pixels; 0 for what is no number."""
    width, height = (stream.get(key, 0) for key in ("/Width", "/Height"))
    return (width, height) if isinstance(width, int) and isinstance(height, int) else (0, 0)


def entry(owner: Any, key: str) -> Any:
    """What a dictionary has there, wherever in the file it lies; None for nothing."""
    found: Any = owner.get(key) if hasattr(owner, "get") else None
    return found.get_object() if hasattr(found, "get_object") else found


def picture(stream: Any) -> bytes | Image.Image:
    """A JPEG that needs nothing done to it as it is, anything else in gray.

    Raises errors.NotAPicture, errors.PictureTooLarge.
    """
    photo.check_size(*size(stream))
    with photo.decoding():
        last, data, form = _packed(stream)
        if last == "/DCTDecode" and _is_plain(stream):
            return data
        image = _gray(stream, last, data, form)
        return _masked(image, stream)


def inline(said: Any, resources: Any) -> Any:
    """The picture object of a picture that stands among a page's drawing, as pypdf gives it.

    Its colour space may be one that the page's `resources` name.
    """
    from pypdf.generic import ArrayObject, EncodedStreamObject, NameObject

    stream = EncodedStreamObject()
    for key, value in said["settings"].items():
        stream[NameObject(_ABBREVIATED.get(key, key))] = value
    spaces, name = entry(resources, "/ColorSpace"), stream.get("/ColorSpace")
    if isinstance(name, str) and name in (spaces or {}):
        stream[NameObject("/ColorSpace")] = spaces[NameObject(name)]
    filters = [NameObject(_SHORT.get(one, one)) for one in _list(stream.get("/Filter"))]
    stream[NameObject("/Filter")] = ArrayObject(filters)
    stream._data = said["data"]
    return stream


def _packed(stream: Any) -> tuple[str, bytes, Any]:
    """The last filter, the content with all others undone, and that filter's parameters."""
    from pypdf.generic import ArrayObject, DictionaryObject, EncodedStreamObject, NameObject

    filters = _list(stream.get("/Filter"))
    forms = [form or {} for form in _list(stream.get("/DecodeParms"))]
    forms += [{}] * (len(filters) - len(forms))
    if not filters:
        return "", stream._data, {}
    last = str(filters[-1])
    if not filters[:-1]:
        return last, stream._data, forms[-1]
    before = EncodedStreamObject()  # the library undoes all filters or none
    before._data = stream._data
    before[NameObject("/Filter")] = ArrayObject(filters[:-1])
    before[NameObject("/DecodeParms")] = ArrayObject(
        form or DictionaryObject() for form in forms[:-1]
    )
    return last, bytes(before.get_data()), forms[-1]


def _list(said: Any) -> list[Any]:
    said = said.get_object() if said is not None else []
    parts = said if isinstance(said, list) else [said]
    return [part.get_object() for part in parts]


def _is_plain(stream: Any) -> bool:
    """Whether its pixels are what a reader of JPEG makes of it."""
    space = pdfcolour.space(stream.get("/ColorSpace"))
    known = space is None or space in (pdfcolour.GRAY, pdfcolour.RGB)
    given = [float(value) for value in _list(stream.get("/Decode"))]
    usual = not given or (space is not None and given == space.standard(255))
    return known and usual and not any(key in stream for key in ("/SMask", "/Mask"))


# --- samples ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Samples:
    """A picture's samples, one to a byte, a few rows at a time. `top`: the largest sample."""

    size: tuple[int, int]
    space: Space
    top: int
    strips: Iterator[Image.Image]


def _gray(stream: Any, last: str, data: bytes, form: Any) -> Image.Image:
    from PIL import Image

    if last == "/JPXDecode":
        found = _of_jpeg2000(stream, data)
    elif last == "/DCTDecode":
        found = _of_jpeg(stream, data)
    elif last == "/CCITTFaxDecode":
        found = _of_fax(stream, data, form)
    elif last == "/JBIG2Decode":
        raise errors.NotAPicture("It is packed as JBIG2, which is not read here.")
    else:
        found = _of_bits(stream, last, data, form)
    decode = [float(value) for value in _list(stream.get("/Decode"))]
    tables = pdfcolour.levels(found.space, found.top, decode)
    _hide(tables, found.space, _list(stream.get("/Mask")))
    image, row = Image.new("L", found.size, 255), 0
    for strip in found.strips:
        image.paste(pdfcolour.gray(found.space, strip, strip.height, tables), (0, row))
        row += strip.height
    return image


def _hide(tables: list[list[int]], space: Space, key: list[Any]) -> None:
    """Samples that a colour key hides are white; of pixels with several parts none is hidden."""
    if space.parts == 1 and len(key) == 2 and all(isinstance(end, int) for end in key):
        for sample in range(max(int(key[0]), 0), min(int(key[1]), 255) + 1):
            tables[0][sample] = 255


def _space(stream: Any, parts: int = 0) -> Space:
    """The one said. `parts`: of a pixel as the content has them, which is more than words."""
    said = pdfcolour.GRAY if _is_stencil(stream) else pdfcolour.space(stream.get("/ColorSpace"))
    if said is None or (parts and said.parts != parts):
        return pdfcolour.of_parts(parts or 1)
    return said


def _is_stencil(stream: Any) -> bool:
    """Its black (0) is painted, in a colour that we take for black; the rest is paper."""
    return bool(getattr(stream.get("/ImageMask", False), "value", False))


def _of_bits(stream: Any, last: str, data: bytes, form: Any) -> _Samples:
    width, height = size(stream)
    space = _space(stream)
    bits = 1 if _is_stencil(stream) else int(stream.get("/BitsPerComponent", 8))
    if bits not in _BITS:
        raise errors.NotAPicture("Its content is damaged (no such depth).")
    top = (1 << min(bits, 8)) - 1
    if last == "/FlateDecode" and (image := _as_png(data, form, (width, height), space, bits)):
        image.load()
        return _Samples((width, height), space, top, _cut(image))
    row = (width * space.parts * bits + 7) // 8
    piece = row * max(1, _STRIP_BYTES // row)
    if last == "/FlateDecode" and int(form.get("/Predictor", 1)) == 1:
        pieces = _inflated(data, piece, row * height)
    else:
        pieces = _sliced(stream.get_data(), piece, row * height)
    strips = _unpacked(pieces, width * space.parts, bits, row)
    return _Samples((width, height), space, top, strips)


def _sliced(data: bytes, piece: int, total: int) -> Iterator[bytes]:
    for start in range(0, min(len(data), total), piece):
        yield data[start : min(start + piece, total)]


def _inflated(data: bytes, piece: int, total: int) -> Iterator[bytes]:
    """At most `total` bytes, `piece` at a time: more is not unpacked. What is damaged ends it."""
    packer, given = zlib.decompressobj(), 0
    while given < total:
        try:
            found = packer.decompress(data, min(piece, total - given))
            while len(found) < piece and packer.unconsumed_tail and not packer.eof:
                found += packer.decompress(packer.unconsumed_tail, piece - len(found))
        except zlib.error:
            if not given:
                raise
            return
        data, given = packer.unconsumed_tail, given + len(found)
        if not found:
            return
        yield found


def _unpacked(pieces: Iterator[bytes], samples: int, bits: int, row: int) -> Iterator[Image.Image]:
    """Of rows of `row` bytes the samples, one to a byte."""
    from PIL import Image

    found = False
    for piece in pieces:
        rows = (len(piece) + row - 1) // row
        piece = piece.ljust(rows * row, b"\0")
        if bits == 16:
            piece = piece[::2]  # the low bytes do not show
        mode, raw = ("L", "L") if bits >= 8 else ("P", f"P;{bits}")
        found = True
        yield Image.frombytes(mode, (samples, rows), piece, "raw", raw)
    if not found:
        raise errors.NotAPicture("Its content is damaged (it is empty).")


_PNG_COLOURS = {1: 0, 3: 2, 4: 6}


def _as_png(
    data: bytes, form: Any, pixels: tuple[int, int], space: Space, bits: int
) -> Image.Image | None:
    """Content that is packed as in PNG, read as PNG; None where it is not or Pillow cannot.

    The library would undo the rows' filters in Python, which takes a minute for a photo.
    """
    said = [int(form.get(f"/{name}", usual)) for name, usual in
            (("Columns", 1), ("Colors", 1), ("BitsPerComponent", 8), ("Predictor", 1))]  # fmt: skip
    fits = said[:3] == [pixels[0], space.parts, bits] and 10 <= said[3] <= 15
    if not fits or space.parts not in _PNG_COLOURS or (bits != 8 and (bits > 8 or space.parts > 1)):
        return None
    colour = 3 if bits < 8 else _PNG_COLOURS[space.parts]
    head = struct.pack(">IIBBBBB", *pixels, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    if colour == 3:
        chunks.insert(1, (b"PLTE", bytes(3 << bits)))
    body = b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in chunks
    )
    return photo.reader("PNG")(io.BytesIO(b"\x89PNG\r\n\x1a\n" + body))


def _cut(image: Image.Image) -> Iterator[Image.Image]:
    """A decoded picture as strips of samples."""
    from PIL import Image

    parts = len(image.getbands())
    rows = max(1, _STRIP_BYTES // (image.width * parts))
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        yield Image.frombytes("L", (image.width * parts, strip.height), strip.tobytes())


# --- pictures packed as in files ----------------------------------------------------------------


def _of_jpeg(stream: Any, data: bytes) -> _Samples:
    from PIL import ImageChops

    image: Image.Image = photo.reader("JPEG")(io.BytesIO(data))
    photo.check_size(*image.size)
    image.load()
    if image.mode == "CMYK":
        image = ImageChops.invert(image)  # Pillow takes them for Adobe's, a PDF says so itself
    parts = len(image.getbands())
    return _Samples(image.size, _space(stream, parts), 255, _cut(image))


def _of_jpeg2000(stream: Any, data: bytes) -> _Samples:
    image: Image.Image = photo.reader("JPEG 2000")(io.BytesIO(data))
    photo.check_size(*image.size)
    image.load()
    if image.mode != "L":
        image, space = photo.gray_of(image), pdfcolour.GRAY
    else:
        space = _space(stream, 1)
    return _Samples(image.size, space, 255, _cut(image))


def _of_fax(stream: Any, data: bytes, form: Any) -> _Samples:
    """The content as a TIFF file of one strip (TIFF 6.0, sections 8, 10 and 11)."""
    width, height = int(form.get("/Columns", 1728)), size(stream)[1]
    photo.check_size(width, height)
    kind, aligned = int(form.get("/K", 0)), _said(form, "/EncodedByteAlign")
    if aligned and kind:
        raise errors.NotAPicture("It is packed as an unusual fax, which is not read here.")
    packing = 4 if kind < 0 else 2 if aligned else 3
    tags = [(256, width), (257, height), (258, 1), (259, packing), (262, 0), (273, 0), (277, 1),
            (278, height), (279, len(data))]  # fmt: skip
    if packing == 3:
        tags.append((292, int(kind > 0)))
    start = 8 + 2 + 12 * len(tags) + 4
    tags[5] = (273, start)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    head += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags) + bytes(4)
    image: Image.Image = photo.reader("TIFF")(io.BytesIO(head + data))
    image.load()
    black = int(_said(form, "/BlackIs1"))
    image = image.convert("L").point([black] * 128 + [1 - black] * 128)
    image = image.crop((0, 0, size(stream)[0], height))
    return _Samples(image.size, _space(stream, 1), 1, _cut(image))


def _said(form: Any, name: str) -> bool:
    return bool(getattr(form.get(name, False), "value", False))


# --- masks --------------------------------------------------------------------------------------


def _masked(image: Image.Image, stream: Any) -> Image.Image:
    """With what a mask leaves out in white, as on paper."""
    from PIL import Image, ImageOps

    mask = next((found for key in ("/SMask", "/Mask") if (found := _stream(stream, key))), None)
    if mask is None:
        return image
    photo.check_size(*size(mask))
    shows = _gray(mask, *_packed(mask))
    if _is_stencil(mask):
        shows = ImageOps.invert(shows)  # 1 hides
    if shows.size != image.size:
        shows = shows.resize(image.size)
    lowest, highest = image.getextrema()
    if lowest == highest == 255:
        return ImageOps.invert(shows)  # drawn in white: the mask is the picture
    return Image.composite(image, Image.new("L", image.size, 255), shows)


def _stream(owner: Any, key: str) -> Any | None:
    found = entry(owner, key)
    return found if hasattr(found, "get_data") else None
