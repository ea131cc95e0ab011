"""Opening untrusted pictures (security T7): what is refused, by what name, and at what cost."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image, ImageDraw

from pairing import errors
from pairing.qr import render
from pairing.qr.read import PhotoReader, load, token_from
from pairing.testing.tokens import random_token
from tests.qr.turned import TURNED

TOKEN = random_token(random.Random(1))


@pytest.fixture(scope="module")
def reader() -> Iterator[PhotoReader]:
    with PhotoReader() as reader:
        yield reader


def clean(scale: int = 6) -> Image.Image:
    return Image.open(io.BytesIO(render.png(render.modules(TOKEN), scale))).convert("RGB")


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def bomb(side: int) -> bytes:
    """A small PNG file of `side` x `side` black pixels, made without having them."""
    packer, packed = zlib.compressobj(9), bytearray()
    row = bytes(side // 8 + 2)[: 1 + (side + 7) // 8]
    for _ in range(side):
        packed += packer.compress(row)
    packed += packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", bytes(packed)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff_header(width: int, height: int) -> bytes:
    """A bilevel TIFF file's first directory, and none of its pixels (TIFF 6.0, section 3)."""
    tags = ((256, width), (257, height), (258, 1), (259, 1), (262, 1), (273, 8), (277, 1), (279, 9))
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + bytes(4)


# --- what is read -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_allowed_formats(kind: str, reader: PhotoReader) -> None:
    reading = reader.read(encoded(clean(), kind))
    assert token_from(reading).text == TOKEN
    assert reading.format.upper() == kind
    assert (reading.width, reading.height) == clean().size


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png_modes(mode: str, reader: PhotoReader) -> None:
    image = clean()
    if mode == "I;16":
        gray = image.convert("I").point(lambda value: value * 256.0)
        image = gray.convert("I;16")
    else:
        image = image.convert(mode)
    assert token_from(reader.read(encoded(image))).text == TOKEN


def test_transparent_background_counts_as_white(reader: PhotoReader) -> None:
    black = Image.new("L", clean().size, 0)
    opaque = clean().convert("L").point(lambda value: 255 - value)
    image = Image.merge("RGBA", (black, black, black, opaque))
    assert token_from(reader.read(encoded(image))).text == TOKEN


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str, reader: PhotoReader) -> None:
    assert token_from(reader.read(encoded(clean().convert("CMYK"), kind))).text == TOKEN


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "I", "F", "LAB", "YCbCr"])
def test_tiff_modes(mode: str, reader: PhotoReader) -> None:
    image = clean()
    if mode in ("I;16", "I"):
        image = image.convert("I").point(lambda value: value * 256.0).convert(mode)
    elif mode == "LAB":
        image = Image.merge("LAB", (image.convert("L"), *[Image.new("L", image.size, 128)] * 2))
    else:
        image = image.convert(mode)
    assert token_from(reader.read(encoded(image, "TIFF"))).text == TOKEN


@pytest.mark.parametrize("top", [1.0, 255.0, 4095.0, 65535.0, 1e9])
def test_fractions_and_large_numbers_are_scaled(top: float, reader: PhotoReader) -> None:
    image = clean().convert("F").point(lambda value: value * (top / 255))
    assert token_from(reader.read(encoded(image, "TIFF"))).text == TOKEN


@pytest.mark.parametrize(
    "compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "group4"]
)
def test_tiff_compressions(compression: str, reader: PhotoReader) -> None:
    image = clean().convert("1" if compression == "group4" else "RGB")
    assert token_from(reader.read(encoded(image, "TIFF", compression=compression))).text == TOKEN


@pytest.mark.parametrize("kind", ["GIF", "TIFF"])
def test_of_several_frames_the_first_counts(kind: str, reader: PhotoReader) -> None:
    blank = Image.new("RGB", clean().size, "white")
    data = encoded(clean(), kind, save_all=True, append_images=[blank])
    assert token_from(reader.read(data)).text == TOKEN


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(orientation: int, kind: str, reader: PhotoReader) -> None:
    """Stored turned or mirrored as the tag says, the code comes out where it was: top left."""
    page = Image.new("RGB", (900, 600), "white")
    page.paste(clean(), (0, 0))
    stored = page.transpose(TURNED[orientation]) if orientation in TURNED else page
    exif = Image.Exif()
    exif[0x0112] = orientation
    reading = reader.read(encoded(stored, kind, exif=exif))
    assert (reading.width, reading.height) == page.size
    assert token_from(reading).text == TOKEN
    (x, y), *_ = reading.codes[0].corners
    assert abs(x - 24) <= 3
    assert abs(y - 24) <= 3


def test_broken_exif_does_not_matter(reader: PhotoReader) -> None:
    data = encoded(clean(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert token_from(reader.read(data)).text == TOKEN


def test_a_file_cut_short_gives_what_is_there(reader: PhotoReader) -> None:
    page = Image.new("RGB", (300, 1200), "white")
    page.paste(clean(), (0, 0))
    data = encoded(page, "JPEG", quality=90)
    assert token_from(reader.read(data[: len(data) * 95 // 100])).text == TOKEN


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"just a text, no picture\n" * 10, "none"),
        (b"#cloud-config\nusers: []\n", "config file"),
        (bytes(1000), "none"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\0\x18ftypavif" + bytes(100), "AVIF"),
        (b"BM" + bytes(100), "damaged"),
        (b"GIF89a" + bytes(100), "damaged"),
        (b"II*\0" + bytes(100), "damaged"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "damaged"),
        (b"RIFF\x40\0\0\0WEBPVP8 " + bytes(40), "pixels"),
        (b"RIFF\x40\0\0\0WEBPjunk" + bytes(40), "damaged"),
    ],
)
def test_no_picture(data: bytes, said: str, reader: PhotoReader) -> None:
    with pytest.raises(errors.NotAPicture, match=said):
        reader.read(data, name="x")


def test_without_its_library_a_heic_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with PhotoReader() as reader, pytest.raises(errors.HeicMissing) as raised:
        reader.read(b"\0\0\0\x18ftypheic" + bytes(100), name="IMG_1.HEIC")
    assert "IMG_1.HEIC" in raised.value.sentence
    assert "make install HEIC=1" in raised.value.hint
    assert raised.value.exit_code == 9


def test_a_bomb_is_refused_at_its_header(reader: PhotoReader) -> None:
    side = 13_000
    data = bomb(side)
    assert len(data) < 200_000
    reader.read(encoded(clean()))  # warm
    with pytest.raises(errors.PictureTooLarge, match="13000 x 13000"):
        reader.read(data)
    # The control: the same file costs plain Pillow the pixels it claims to have.
    script = (
        "import io, resource, sys; from PIL import Image; Image.MAX_IMAGE_PIXELS = None;"
        "Image.open(io.BytesIO(sys.stdin.buffer.read())).convert('L');"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], input=data, capture_output=True, check=True
    )
    assert int(run.stdout) * 1024 > side * side


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 6, 0, 0, 0)),
        b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff\xff\xff" * 2 + bytes(20),
        b"RIFF\x40\0\0\0WEBPVP8L\x0a\0\0\0\x2f\xff\xff\xff\x0f" + bytes(20),
        b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03\x01\x22\0\x02\x11\x01\x03\x11\x01",
        b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08" + bytes(9),
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 60_000, 60_000, 1, 24, *[0] * 6),
        tiff_header(60_000, 60_000),
    ],
    ids=["png", "webp-extended", "webp-lossless", "jpeg", "gif", "bmp", "tiff"],
)
def test_huge_dimensions(data: bytes, reader: PhotoReader) -> None:
    with pytest.raises(errors.PictureTooLarge):
        reader.read(data)


def test_a_file_over_the_limit_is_not_even_sent(reader: PhotoReader) -> None:
    with pytest.raises(errors.PictureTooLarge):
        reader.read(b"\xff\xd8\xff" + bytes(25_000_001))


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_the_largest_allowed_picture_is_read(mode: str, reader: PhotoReader) -> None:
    page = Image.new(mode, (8000, 5000), "white")
    page.paste(clean(8).convert(mode), (4000, 2000))
    assert token_from(reader.read(encoded(page))).text == TOKEN


def test_the_worker_survives_refusals(reader: PhotoReader) -> None:
    protection = reader.protection()
    with pytest.raises(errors.NotAPicture):
        reader.read(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert reader.protection() == protection
    assert token_from(reader.read(encoded(clean()))).text == TOKEN


# --- symbologies --------------------------------------------------------------------------------


def test_only_qr_codes_are_looked_for() -> None:
    """All on one page, which is read as hard as can be."""
    texts = {"EAN13": "4006381333931", "DataBar": "04006381333931"}
    kinds = ("Code128", "DataBar", "DataMatrix", "EAN13", "Aztec", "PDF417")
    drawn = []
    for kind in kinds:
        form = zxingcpp.barcode_format_from_str(kind)
        code = zxingcpp.create_barcode(texts.get(kind, TOKEN), form)
        drawn.append(Image.fromarray(zxingcpp.write_barcode_to_image(code, scale=2)))
    width, height = max(code.width for code in drawn), sum(code.height + 60 for code in drawn)
    page, top = Image.new("L", (width + 80, height), 255), 30
    for code_image in drawn:
        page.paste(code_image, (40, top))
        top += code_image.height + 60
    legible = {found.format.name for found in zxingcpp.read_barcodes(page)}
    assert len(legible) == len(kinds), "the control"
    with PhotoReader(any_text=True, hard=True) as everything:
        assert everything.read(encoded(page)).texts == ()


def test_several_codes_in_one_picture(reader: PhotoReader) -> None:
    page = Image.new("RGB", (900, 900), "white")
    foreign = Image.open(io.BytesIO(render.png(render.modules("https://example.org/menu"), 6)))
    page.paste(foreign, (500, 40))
    page.paste(clean(), (40, 500))
    page.paste(clean(), (500, 500))
    reading = reader.read(encoded(page))
    assert set(reading.texts) == {TOKEN, "https://example.org/menu"}
    assert len(reading.codes) == 3
    assert token_from(reading).text == TOKEN
    other = render.png(render.modules(random_token(random.Random(9))), 6)
    page.paste(Image.open(io.BytesIO(other)), (500, 500))
    with pytest.raises(errors.SeveralTokens):
        token_from(reader.read(encoded(page)))


def test_blank_photo(reader: PhotoReader) -> None:
    reading = reader.read(encoded(Image.new("RGB", (640, 480), (90, 90, 90)), "JPEG"))
    with pytest.raises(errors.NoCodeFound):
        token_from(reading)
    assert len(reading.steps) > 8


def test_unreadable_is_told_from_absent(reader: PhotoReader) -> None:
    image = clean(8)
    pen = ImageDraw.Draw(image)
    pen.rectangle((32 + 8 * 8, 32 + 8 * 9, 32 + 25 * 8, 32 + 30 * 8), fill="white")  # reflection
    reading = reader.read(encoded(image))
    assert reading.unreadable
    with pytest.raises(errors.CodeUnreadable):
        token_from(reading)


# --- files --------------------------------------------------------------------------------------


def test_a_file(tmp_path: Path, reader: PhotoReader) -> None:
    path = tmp_path / "shop.png"
    path.write_bytes(encoded(clean()))
    reading = reader.read(path)
    assert reading.photo == str(path)
    assert token_from(reading).text == TOKEN


def test_sources_that_are_no_plain_files(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(encoded(clean()))
    link, pipe = tmp_path / "link.png", tmp_path / "pipe.png"
    link.symlink_to(photo)
    os.mkfifo(pipe)
    refused = {link: "symbolic link", pipe: "pipe", tmp_path: "folder", Path("/dev/zero"): "device"}
    for path, said in refused.items():
        with pytest.raises(errors.NotAPicture, match=said) as raised:
            load(path)
        assert str(path) in raised.value.sentence
    assert load(photo) == photo.read_bytes()  # the control


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(errors.NoSuchSource):
        load(tmp_path / "none.png")
    with pytest.raises(errors.NotAPicture):
        load("nul\0byte.png")


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(10**12)  # sparse
    with pytest.raises(errors.PictureTooLarge):
        load(path)
