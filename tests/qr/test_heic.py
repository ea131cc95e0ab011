"""HEIC, what iPhones send as a file: which way is up, tiles, and files that lie or end early."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator

import pytest
from PIL import Image

from pairing import errors
from pairing.qr.read import PhotoReader, token_from
from pairing.qr.unpack import unpack
from tests.qr.pdfs import TOKENS, code
from tests.qr.turned import TURNED

heif = pytest.importorskip("pillow_heif", reason="HEIC's library is missing: make install HEIC=1")


@pytest.fixture(scope="module")
def reader() -> Iterator[PhotoReader]:
    with PhotoReader() as reader:
        yield reader


def page(width: int = 700, height: int = 560) -> Image.Image:
    """A code at the upper left of a sheet."""
    sheet = Image.new("RGB", (width, height), "white")
    sheet.paste(code().convert("RGB"), (0, 0))
    return sheet


def packed(image: Image.Image, orientation: int = 1, *, exif: bool = True, tile: int = 0) -> bytes:
    """A file that says twice how the camera was held: in its own properties and in EXIF, as
    iPhones' do. Without `exif` only in its properties."""
    tags, out = Image.Exif(), io.BytesIO()
    tags[0x0112] = orientation
    heif.from_pillow(image).save(out, exif=tags.tobytes(), tile_size=tile)
    return out.getvalue() if exif else with_exif(out.getvalue(), 1)


def with_exif(data: bytes, orientation: int) -> bytes:
    """The same file with another orientation in its EXIF block (EXIF 2.32, 4.6.4)."""
    byte_order, mark = ("big", b"MM\0*") if b"MM\0*" in data else ("little", b"II*\0")
    form = ">" if byte_order == "big" else "<"
    tag = data.index(struct.pack(f"{form}HHI", 0x0112, 3, 1), data.rindex(mark))
    return data[: tag + 8] + struct.pack(f"{form}H", orientation) + data[tag + 10 :]


def is_upright(reader: PhotoReader, data: bytes, size: tuple[int, int]) -> bool:
    reading = reader.read(data)
    assert token_from(reading).text == TOKENS[0]
    (x, y), *_ = reading.codes[0].corners
    return (reading.width, reading.height) == size and abs(x - 40) < 9 and abs(y - 29) < 9


@pytest.mark.parametrize("exif", [True, False], ids=["said twice", "said once"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_way_up(orientation: int, exif: bool, reader: PhotoReader) -> None:
    """Stored turned or mirrored, it comes out as it was, turned once: EXIF adds nothing."""
    whole = page()
    stored = whole.transpose(TURNED[orientation]) if orientation in TURNED else whole
    data = packed(stored, orientation, exif=exif)
    said = b"irot" in data or b"imir" in data
    assert said is (orientation != 1), "the control: the file's own properties say it"
    assert is_upright(reader, data, whole.size)


def test_exif_alone_turns_nothing(reader: PhotoReader) -> None:
    """Its properties say how to show a HEIC file, not EXIF (ISO 23000-22, 7.3.6.7)."""
    data = with_exif(packed(page()), 6)
    assert b"irot" not in data
    assert is_upright(reader, data, page().size)


def test_tiles_as_cameras_make_them(reader: PhotoReader) -> None:
    whole = page(1100, 1400)
    data = packed(whole.transpose(TURNED[6]), 6, tile=512)
    assert b"grid" in data
    assert is_upright(reader, data, whole.size)


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16"])
def test_other_depths(mode: str, reader: PhotoReader) -> None:
    image = page().convert("RGBA" if mode == "RGBA" else "L")
    if mode == "I;16":
        image = image.convert("I").point(lambda level: level * 256).convert("I;16")
    assert token_from(reader.read(packed(image))).text == TOKENS[0]


def test_in_a_zip(reader: PhotoReader) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("IMG_0001.HEIC", packed(page()))
    (found,) = unpack(out.getvalue(), "export.zip")
    assert token_from(reader.read(found.data, name=found.name)).text == TOKENS[0]


# --- files that lie or end early ----------------------------------------------------------------


def test_a_file_of_tiles_cut_short_gives_those_that_are_there(reader: PhotoReader) -> None:
    noise, out = Image.effect_noise((1024, 1024), 60).convert("RGB"), io.BytesIO()
    noise.paste(page(500, 400), (0, 0))
    heif.from_pillow(noise).save(out, tile_size=512)
    data = out.getvalue()
    assert token_from(reader.read(data[: len(data) * 7 // 10])).text == TOKENS[0]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_single_picture_cut_short_is_damaged_and_not_black(
    share: float, reader: PhotoReader
) -> None:
    data = packed(page())
    assert token_from(reader.read(data)).text == TOKENS[0]  # the control
    with pytest.raises(errors.NotAPicture, match="damaged"):
        reader.read(data[: int(len(data) * share)])


def test_no_heic_behind_its_first_bytes(reader: PhotoReader) -> None:
    with pytest.raises(errors.NotAPicture, match="damaged"):
        reader.read(b"\0\0\0\x18ftypheic" + bytes(100))


def sized(data: bytes, size: tuple[int, int]) -> bytes:
    """The same file that says another size everywhere (ISO 23008-12, 6.5.3)."""
    place = data.find(b"ispe")
    while place >= 0:
        data = data[: place + 8] + struct.pack(">II", *size) + data[place + 16 :]
        place = data.find(b"ispe", place + 4)
    return data


@pytest.mark.parametrize("tile", [0, 512])
@pytest.mark.parametrize("size", [(8000, 5001), (60_000, 60_000)])
def test_too_many_pixels_are_refused_at_the_header(
    size: tuple[int, int], tile: int, reader: PhotoReader
) -> None:
    with pytest.raises(errors.PictureTooLarge, match=f"{size[0]} x {size[1]}"):
        reader.read(sized(packed(page(), tile=tile), size))


def test_a_picture_that_is_larger_than_it_says(reader: PhotoReader) -> None:
    data = packed(page())
    with pytest.raises(errors.NotAPicture, match="damaged"):
        reader.read(sized(data, (64, 64)))
    assert token_from(reader.read(data)).text == TOKENS[0]
