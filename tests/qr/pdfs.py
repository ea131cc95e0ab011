"""PDFs as programs write them, made by hand, and what their pictures should look like."""

from __future__ import annotations

import io
import random
import zlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import pypdf
from PIL import Image, ImageChops
from pypdf.generic import (
    ArrayObject,
    BooleanObject,
    ByteStringObject,
    DecodedStreamObject,
    DictionaryObject,
    EncodedStreamObject,
    FloatObject,
    IndirectObject,
    NameObject,
    NullObject,
    NumberObject,
    StreamObject,
)

from pairing.qr import pdf, photo, render
from pairing.testing.tokens import random_token

TOKENS = [random_token(random.Random(number)) for number in range(3)]


def value(said: Any) -> Any:
    """A plain value as a PDF has it; texts that begin with a stroke are names."""
    if isinstance(said, bool):
        return BooleanObject(said)
    if isinstance(said, int):
        return NumberObject(said)
    if isinstance(said, float):
        return FloatObject(said)
    if isinstance(said, str):
        return NameObject(said)
    if type(said) is bytes:
        return ByteStringObject(said)
    if type(said) in (list, tuple):
        return ArrayObject(value(part) for part in said)
    if type(said) is dict:
        return DictionaryObject({NameObject(name): value(part) for name, part in said.items()})
    return NullObject() if said is None else said


def stream(data: bytes, **said: Any) -> StreamObject:
    """An object with content that is packed already, as its Filter says."""
    made = EncodedStreamObject() if said.get("Filter") else DecodedStreamObject()
    made._data = data
    for name, part in said.items():
        made[NameObject(f"/{name}")] = value(part)
    return made


def picture(data: bytes, size: tuple[int, int], bits: int, space: Any, **said: Any) -> StreamObject:
    said = {"Type": "/XObject", "Subtype": "/Image", "Width": size[0], "Height": size[1],
            "BitsPerComponent": bits, "ColorSpace": space, **said}  # fmt: skip
    return stream(data, **{name: part for name, part in said.items() if part is not None})


def form(drawing: bytes, objects: dict[str, StreamObject] | None = None) -> StreamObject:
    resources = {"/XObject": {f"/{name}": one for name, one in (objects or {}).items()}}
    return stream(drawing, Type="/XObject", Subtype="/Form", BBox=[0, 0, 600, 800],
                  Resources=resources)  # fmt: skip


def document(*pages: tuple[bytes | None, dict[str, StreamObject]]) -> bytes:
    """Of each page its drawing, None for pictures that are only at hand, and its objects."""
    writer = pypdf.PdfWriter()
    known: dict[int, Any] = {}

    def kept(one: Any) -> Any:
        if isinstance(one, IndirectObject):
            return one
        if id(one) not in known:
            for key, part in list(one.items()):
                if isinstance(part, StreamObject):
                    one[NameObject(key)] = kept(part)
            inner = one.get("/Resources", {}).get("/XObject", {})
            for key, part in list(inner.items()):
                inner[NameObject(key)] = kept(part)
            known[id(one)] = writer._add_object(one)
        return known[id(one)]

    for drawing, objects in pages:
        page = writer.add_blank_page(600, 800)
        named = {NameObject(f"/{name}"): kept(one) for name, one in objects.items()}
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/XObject"): DictionaryObject(named)}
        )
        if drawing is not None:
            page[NameObject("/Contents")] = writer._add_object(stream(drawing))
    return written(writer)


def written(writer: pypdf.PdfWriter) -> bytes:
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def drawn(name: str, left: float, bottom: float, width: float, height: float) -> bytes:
    return f"q {width} 0 0 {height} {left} {bottom} cm /{name} Do Q\n".encode()


def single(one: StreamObject) -> bytes:
    return document((drawn("Im0", 50, 300, 500, 400), {"Im0": one}))


def packed_bits(samples: Sequence[int], row: int, bits: int) -> bytes:
    """Samples as bits, each row padded to whole bytes."""
    out = bytearray()
    for start in range(0, len(samples), row):
        number = 0
        for sample in samples[start : start + row]:
            number = number << bits | sample
        padding = -row * bits % 8
        out += (number << padding).to_bytes((row * bits + padding) // 8, "big")
    return bytes(out)


@cache
def code(token: str = TOKENS[0], mode: str = "L") -> Image.Image:
    """A code on a sheet, all of it black and white; its width is no multiple of eight."""
    sheet = Image.new("L", (403, 351), 255)
    sheet.paste(Image.open(io.BytesIO(render.png(render.modules(token), 5))).convert("L"), (20, 9))
    return sheet.convert(mode)


def jpeg(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def shown(data: bytes) -> list[Image.Image]:
    found = list(pdf.pictures(data))
    assert [one.wrong for one in found] == [None] * len(found)
    return [photo.open_gray(one.data) for one in found]


def same(found: Image.Image, wanted: Image.Image, within: int = 0) -> bool:
    assert found.size == wanted.size
    difference = ImageChops.difference(found, wanted.convert("L"))
    return not any(difference.histogram()[within + 1 :])


def black(size: tuple[int, int], **said: Any) -> StreamObject:
    return picture(bytes(size[0] * size[1]), size, 8, "/DeviceGray", **said)


def plain(token: str = TOKENS[0]) -> StreamObject:
    image = code(token)
    return picture(zlib.compress(image.tobytes()), image.size, 8, "/DeviceGray",
                        Filter="/FlateDecode")  # fmt: skip
