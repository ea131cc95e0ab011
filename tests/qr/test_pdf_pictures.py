"""Pictures in PDFs: every usual colour space, depth, mask and compression, and what is drawn."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageOps

from pairing.qr import pdf, pdfpicture, photo
from pairing.qr.read import PhotoReader, token_from
from pairing.qr.unpack import unpack
from tests.qr import pdfs
from tests.qr.pdfs import TOKENS, black, code, jpeg, same, shown


@pytest.fixture(autouse=True, scope="module")
def _loaded() -> None:
    photo.preload()


def profile(parts: int) -> list[Any]:
    return ["/ICCBased", pdfs.stream(b"no profile that anybody reads", N=parts)]


# --- colour spaces ------------------------------------------------------------------------------

GRAYS = (200, 30, 90, 255, 0, 140)
"""What the palettes hold, as gray."""


def palette(base: str, *, as_stream: bool = False) -> tuple[list[Any], list[int]]:
    """A palette in `base`, and the gray of its entries."""
    spaces: dict[str, tuple[Any, Any]] = {
        "gray": ("/DeviceGray", lambda level: bytes([level])),
        "rgb": ("/DeviceRGB", lambda level: bytes([level] * 3)),
        "icc": (profile(3), lambda level: bytes([level] * 3)),
        "cal": (["/CalRGB", {"/WhitePoint": [0.95, 1.0, 1.09]}], lambda level: bytes([level] * 3)),
        "cmyk": ("/DeviceCMYK", lambda level: bytes([0, 0, 0, 255 - level])),
        "ink": (["/Separation", "/Spot", "/DeviceCMYK", None], lambda level: bytes([255 - level])),
    }  # fmt: skip
    space, entry = spaces[base]
    table = b"".join(entry(level) for level in GRAYS)
    lookup = pdfs.stream(table) if as_stream else table
    return ["/Indexed", space, len(GRAYS) - 1, lookup], list(GRAYS)


@pytest.mark.parametrize("as_stream", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("base", ["gray", "rgb", "icc", "cal", "cmyk", "ink"])
def test_palettes(base: str, bits: int, as_stream: bool) -> None:
    space, grays = palette(base, as_stream=as_stream)
    width, height = 67, 70
    dice = random.Random(bits)
    samples = [dice.randrange(min(1 << bits, len(grays))) for _ in range(width * height)]
    wanted = Image.new("L", (width, height))
    wanted.putdata([grays[sample] for sample in samples])
    data = zlib.compress(pdfs.packed_bits(samples, width, bits))
    one = pdfs.picture(data, (width, height), bits, space, Filter="/FlateDecode")
    (found,) = shown(pdfs.single(one))
    assert same(found, wanted, within=1)


def pixel(kind: str, level: int, no_ink: int, top: int) -> list[int]:
    """Samples of a pixel of this gray; of inks only the black one is used."""
    if kind == "/DeviceCMYK":
        return [no_ink] * 3 + [top - level]
    return [level] * (3 if kind == "/DeviceRGB" else 1)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_gray_is_what_the_samples_say(data: st.DataObject) -> None:
    """Every depth, number of parts, /Decode and packing, against arithmetic for each pixel."""
    kind = data.draw(st.sampled_from(["/DeviceGray", "/DeviceRGB", "/DeviceCMYK"]))
    bits = data.draw(st.sampled_from([1, 2, 4, 8, 16]))
    parts = {"/DeviceGray": 1, "/DeviceRGB": 3, "/DeviceCMYK": 4}[kind]
    width, height = data.draw(st.integers(64, 71)), 65
    turned = data.draw(st.sampled_from([None, 0, 1]))
    dice, top = random.Random(data.draw(st.integers(0, 999))), (1 << bits) - 1
    levels = [dice.randint(0, top) for _ in range(width * height)]
    samples = [
        sample for level in levels for sample in pixel(kind, level, top if turned else 0, top)
    ]
    decode = None if turned is None else [turned, 1 - turned] * parts
    wanted = [(top - level if turned else level) / top * 255 for level in levels]
    raw = pdfs.packed_bits(samples, width * parts, bits)
    how = data.draw(st.sampled_from(["", "/FlateDecode", "png", "/ASCIIHexDecode", "hex+flate"]))
    content, said = packed(raw, how, (width, height), parts, bits)
    one = pdfs.picture(content, (width, height), bits, kind, Decode=decode, **said)
    (found,) = shown(pdfs.single(one))
    assert max(abs(a - b) for a, b in zip(found.tobytes(), wanted, strict=True)) <= 2


def packed(raw: bytes, how: str, size: tuple[int, int], parts: int, bits: int) -> Any:
    """Content packed in this way, and what its object then says."""
    if how == "/FlateDecode":
        return zlib.compress(raw), {"Filter": how}
    if how == "/ASCIIHexDecode":
        return raw.hex().encode() + b">", {"Filter": how}
    if how == "hex+flate":
        return zlib.compress(raw).hex().encode() + b">", {
            "Filter": ["/ASCIIHexDecode", "/FlateDecode"],
            "DecodeParms": [None, {"/Predictor": 1}],
        }
    if how == "png":
        step = len(raw) // size[1]
        rows = b"".join(b"\0" + raw[at : at + step] for at in range(0, len(raw), step))
        form = {"/Predictor": 15, "/Columns": size[0], "/Colors": parts, "/BitsPerComponent": bits}
        return zlib.compress(rows), {"Filter": "/FlateDecode", "DecodeParms": form}
    return raw, {}


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_rows_that_a_png_filtered(mode: str) -> None:
    """As programs do that put a PNG's content into a PDF as it is."""
    image = code().rotate(7, expand=True, fillcolor=255).convert(mode)
    file = io.BytesIO()
    image.save(file, "PNG")
    data = file.getvalue()
    body, place = b"", 8
    while place < len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        body += data[place + 8 : place + 8 + length] if name == b"IDAT" else b""
        place += length + 12
    bits, colour = data[24], data[25]
    parts = {0: 1, 2: 3, 3: 1}[colour]
    table = bytes((image.getpalette() or [])[: 3 << bits])
    space = {0: "/DeviceGray", 2: "/DeviceRGB",
             3: ["/Indexed", "/DeviceRGB", len(table) // 3 - 1, table]}[colour]  # fmt: skip
    form = {"/Predictor": 15, "/Columns": image.width, "/Colors": parts, "/BitsPerComponent": bits}
    one = pdfs.picture(body, image.size, bits, space, Filter="/FlateDecode", DecodeParms=form)
    (found,) = shown(pdfs.single(one))
    assert same(found, image, within=1)


@pytest.mark.parametrize(
    ("space", "dark", "light"),
    [
        (["/Separation", "/Black", "/DeviceCMYK", None], b"\xff", b"\0"),
        (["/DeviceN", ["/Cyan", "/Black"], "/DeviceCMYK", None], b"\0\xff", b"\0\0"),
        (["/DeviceN", ["/A", "/B", "/C"], "/DeviceRGB", None], b"\x80\x80\0", b"\0\0\0"),
        (["/Lab", {"/WhitePoint": [0.95, 1.0, 1.09]}], b"\0\x80\x80", b"\xff\x80\x80"),
        (profile(1), b"\0", b"\xff"),
        (profile(4), b"\0\0\0\xff", b"\0\0\0\0"),
        (["/CalGray", {"/WhitePoint": [0.95, 1.0, 1.09]}], b"\0", b"\xff"),
    ],
)
def test_other_spaces(space: Any, dark: bytes, light: bytes) -> None:
    image = code()
    data = b"".join(light if level else dark for level in image.tobytes())
    (found,) = shown(pdfs.single(pdfs.picture(data, image.size, 8, space)))
    assert same(found, image, within=1)


def test_a_palette_whose_decode_turns_it() -> None:
    image = code(mode="1")
    space = ["/Indexed", "/DeviceRGB", 1, b"\0\0\0\xff\xff\xff"]
    plain = pdfs.picture(image.tobytes(), image.size, 1, space)
    turned = pdfs.picture(image.tobytes(), image.size, 1, space, Decode=[1, 0])
    assert same(shown(pdfs.single(plain))[0], image)
    assert same(shown(pdfs.single(turned))[0], ImageOps.invert(image.convert("L")))


# --- masks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("decode", [None, [0, 1], [1, 0]])
def test_a_stencil_is_painted_black(decode: list[int] | None) -> None:
    image = code(mode="1")
    bits = ImageOps.invert(image.convert("L")).convert("1") if decode == [1, 0] else image
    one = pdfs.picture(bits.tobytes(), image.size, 1, None, ImageMask=True, Decode=decode)
    assert same(shown(pdfs.single(one))[0], image)


@pytest.mark.parametrize("level", [0, 255])
def test_a_soft_mask_leaves_out(level: int) -> None:
    """A black sheet whose mask is the code; and a white one, as of a dark page."""
    image = code()
    alpha = pdfs.picture(ImageOps.invert(image).tobytes(), image.size, 8, "/DeviceGray")
    sheet = bytes([level]) * (image.width * image.height)
    one = pdfs.picture(sheet, image.size, 8, "/DeviceGray", SMask=alpha)
    assert same(shown(pdfs.single(one))[0], image)


def test_a_mask_of_another_size() -> None:
    alpha = pdfs.picture(b"\xff\0\xff\0", (2, 2), 8, "/DeviceGray")
    (found,) = shown(pdfs.single(black((100, 100), SMask=alpha)))
    assert (found.getpixel((5, 50)), found.getpixel((95, 50))) == (0, 255)


def test_a_mask_of_bits_hides_where_it_is_one() -> None:
    image = code(mode="1")
    mask = pdfs.picture(image.tobytes(), image.size, 1, None, ImageMask=True)
    assert same(shown(pdfs.single(black(image.size, Mask=mask)))[0], image)


def test_a_colour_that_is_hidden() -> None:
    space, grays = palette("rgb")
    one = pdfs.picture(bytes([0, 1, 2, 3] * 1100), (80, 55 + 0), 8, space, Mask=[1, 2])
    found = photo.open_gray(pdf._content(pdfpicture.picture(one)))
    assert list(found.tobytes()[:4]) == [grays[0], 255, 255, grays[3]]


# --- compressions -------------------------------------------------------------------------------


@pytest.mark.parametrize("adobe", [True, False])
def test_cmyk_jpegs_with_inks_both_ways(adobe: bool) -> None:
    """Adobe stores them turned and says so in /Decode; what comes with none means what it says."""
    image = code()
    inks = Image.merge("CMYK", (*[Image.new("L", image.size, 0)] * 3, ImageOps.invert(image)))
    stored = inks if adobe else ImageChops.invert(inks)  # Pillow writes them turned
    decode = [1, 0] * 4 if adobe else None
    one = pdfs.picture(jpeg(stored, quality=95), image.size, 8, "/DeviceCMYK",
                       Filter="/DCTDecode", Decode=decode)  # fmt: skip
    assert same(shown(pdfs.single(one))[0], image, within=12)


def test_a_jpeg_of_bare_colours_is_given_as_it_is() -> None:
    data = jpeg(code(mode="RGB"))
    for space in ("/DeviceRGB", profile(3), None):
        one = pdfs.picture(data, (403, 351), 8, space, Filter="/DCTDecode")
        (found,) = pdf.pictures(pdfs.single(one))
        assert found.data == data


def test_a_jpeg_that_decode_turns() -> None:
    one = pdfs.picture(jpeg(code(), quality=95), (403, 351), 8, "/DeviceGray",
                       Filter="/DCTDecode", Decode=[1, 0])  # fmt: skip
    assert same(shown(pdfs.single(one))[0], ImageOps.invert(code()), within=12)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_jpeg_2000(mode: str) -> None:
    one = pdfs.picture(jpeg(code(mode=mode), "JPEG2000"), (403, 351), 8, None, Filter="/JPXDecode")
    assert same(shown(pdfs.single(one))[0], code(), within=1)


def fax(image: Image.Image, compression: str) -> bytes:
    """The content of a TIFF of one strip."""
    file = io.BytesIO()
    image.save(file, "TIFF", compression=compression, tiffinfo={262: 0, 278: image.height})
    read = Image.open(file)
    tags: Any = getattr(read, "tag_v2")  # noqa: B009  (only TIFFs have it)
    (start,), (length,) = tags[273], tags[279]
    return file.getvalue()[start : start + length]


@pytest.mark.parametrize("black_is_one", [False, True])
@pytest.mark.parametrize(("compression", "k"), [("group4", -1), ("group3", 0)])
def test_faxes(compression: str, k: int, black_is_one: bool) -> None:
    image = code(mode="1")
    form = {"/K": k, "/Columns": image.width, "/BlackIs1": black_is_one}
    said: dict[str, Any] = {"Filter": "/CCITTFaxDecode", "DecodeParms": form}
    content = fax(image, compression)
    if black_is_one:
        said["Decode"] = [1, 0]
    one = pdfs.picture(content, image.size, 1, "/DeviceGray", **said)
    assert same(shown(pdfs.single(one))[0], image)


def test_a_fax_packed_twice() -> None:
    image = code(mode="1")
    form = {"/K": -1, "/Columns": image.width}
    one = pdfs.picture(zlib.compress(fax(image, "group4")), image.size, 1, "/DeviceGray",
                       Filter=["/FlateDecode", "/CCITTFaxDecode"],
                       DecodeParms=[None, form])  # fmt: skip
    assert same(shown(pdfs.single(one))[0], image)


def test_what_is_not_read_is_named() -> None:
    one = pdfs.picture(b"\0" * 90, (403, 351), 1, "/DeviceGray", Filter="/JBIG2Decode")
    (found,) = pdf.pictures(pdfs.single(one))
    assert found.wrong is not None
    assert "JBIG2" in found.wrong.sentence
    one = pdfs.picture(bytes(403 * 351), (403, 351), 8, ["/Pattern"])
    (found,) = pdf.pictures(pdfs.single(one))
    assert found.wrong is not None
    assert "colours" in found.wrong.sentence


def test_every_compression_in_the_locked_child() -> None:
    """All that a decoder needs was loaded before the lock."""
    image, bits = code(), code(mode="1")
    size, raw = image.size, image.tobytes()
    form = {"/K": -1, "/Columns": image.width}
    png, png_said = packed(raw, "png", size, 1, 8)
    space = ["/Indexed", "/DeviceRGB", 1, b"\0\0\0\xff\xff\xff"]
    alpha = pdfs.picture(ImageOps.invert(image).tobytes(), size, 8, "/DeviceGray")
    made = [
        pdfs.picture(jpeg(image, "JPEG2000"), size, 8, "/DeviceGray", Filter="/JPXDecode"),
        pdfs.picture(jpeg(code(mode="CMYK")), size, 8, "/DeviceCMYK", Filter="/DCTDecode",
                     Decode=[1, 0] * 4),
        pdfs.picture(fax(bits, "group4"), size, 1, "/DeviceGray", Filter="/CCITTFaxDecode",
                     DecodeParms=form),
        pdfs.picture(png, size, 8, "/DeviceGray", **png_said),
        pdfs.picture(zlib.compress(bits.tobytes()), size, 1, space, Filter="/FlateDecode"),
        black(size, SMask=alpha),
    ]  # fmt: skip
    pages = ((pdfs.drawn("A", 0, 0, 300, 300), {"A": one}) for one in made)
    found = unpack(pdfs.document(*pages), "scan.pdf")
    with PhotoReader() as reader:
        read = [token_from(reader.read(one.data, name=one.name)).text for one in found]
    assert read == [TOKENS[0]] * len(made)
