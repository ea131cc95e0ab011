"""Zips and PDFs: what is taken out, what is refused, and that it happens in a locked child."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pypdf.generic import (
    DecodedStreamObject,
    DictionaryObject,
    NameObject,
    NumberObject,
    StreamObject,
)

from cli.sources import sources
from pairing import errors
from pairing.qr import containers, render
from pairing.qr import pdf as pdf_pages
from pairing.qr.read import PhotoReader, token_from
from pairing.qr.unpack import Picture, unpack
from pairing.testing.tokens import random_token

TOKENS = [random_token(random.Random(number)) for number in range(4)]


def page(token: str, mode: str = "RGB") -> Image.Image:
    code = Image.open(io.BytesIO(render.png(render.modules(token), 6)))
    sheet = Image.new("RGB", (500, 400), "white")
    sheet.paste(code, (60, 40))
    return sheet.convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def pdf(*pages: Image.Image) -> bytes:
    return encoded(pages[0], "PDF", save_all=True, append_images=list(pages[1:]))


def read_all(found: list[Picture]) -> list[str]:
    with PhotoReader() as reader:
        return [token_from(reader.read(picture.data, name=picture.name)).text for picture in found]


# --- what is read -------------------------------------------------------------------------------


def test_a_zip_of_a_messenger() -> None:
    data = zipped(
        {
            "WhatsApp Chat/_chat.txt": b"29/11/26, 10:02 - Shop: here it is\n",
            "WhatsApp Chat/IMG-2.jpg": encoded(page(TOKENS[1]), "JPEG"),
            "WhatsApp Chat/IMG-1.png": encoded(page(TOKENS[0])),
            "WhatsApp Chat/VID-1.mp4": b"\0\0\0\x18ftypmp42" + bytes(100),
            "__MACOSX/._IMG-1.png": b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(60),
            "WhatsApp Chat/scan.pdf": pdf(page(TOKENS[2])),
            "WhatsApp Chat/inner.zip": zipped({"a.png": encoded(page(TOKENS[3]))}),
        }
    )
    found = unpack(data, "export.zip")
    assert [picture.name for picture in found] == [
        "export.zip/WhatsApp Chat/IMG-1.png",
        "export.zip/WhatsApp Chat/IMG-2.jpg",
        "export.zip/WhatsApp Chat/scan.pdf page 1",
    ]
    assert read_all(found) == TOKENS[:3]


def test_a_pdf_with_pages_of_every_kind() -> None:
    modes = ("RGB", "L", "1", "CMYK")
    data = pdf(*(page(TOKENS[0], mode) for mode in modes))
    found = unpack(data, "scan.pdf")
    assert [picture.name for picture in found] == [f"scan.pdf page {n}" for n in range(1, 5)]
    assert read_all(found) == [TOKENS[0]] * 4


def packed(image: Image.Image) -> StreamObject:
    """A picture object as programs other than scanners write it: deflated pixels."""
    plain = DecodedStreamObject()
    plain.set_data(image.tobytes())
    stream = plain.flate_encode()
    space = {"RGB": "/DeviceRGB", "L": "/DeviceGray"}[image.mode]
    for name, value in (("/Type", "/XObject"), ("/Subtype", "/Image"), ("/ColorSpace", space)):
        stream[NameObject(name)] = NameObject(value)
    for name, number in (("/Width", image.width), ("/Height", image.height)):
        stream[NameObject(name)] = NumberObject(number)
    stream[NameObject("/BitsPerComponent")] = NumberObject(8)
    return stream


@pytest.mark.parametrize("password", [None, "AES-256", "RC4-128"])
def test_several_pictures_on_a_page(password: str | None) -> None:
    """Also behind the empty password that "no copying" sets."""
    writer = pypdf.PdfWriter()
    objects = DictionaryObject()
    small = Image.new("RGB", (40, 40), "black")
    for number, image in enumerate((page(TOKENS[0]), small, page(TOKENS[1], "L"))):
        objects[NameObject(f"/Im{number}")] = writer._add_object(packed(image))
    sheet = writer.add_blank_page(500, 400)
    sheet[NameObject("/Resources")] = DictionaryObject({NameObject("/XObject"): objects})
    if password:
        writer.encrypt("", "owner", algorithm=password)
    out = io.BytesIO()
    writer.write(out)
    found = unpack(out.getvalue(), "scan.pdf")
    assert [picture.name for picture in found] == [
        "scan.pdf page 1 picture 1",
        "scan.pdf page 1 picture 2",
    ]
    assert read_all(found) == TOKENS[:2]


def test_sources_are_the_pictures_inside(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(
        zipped({"x/1.png": encoded(page(TOKENS[0])), "x/2.heic": b"\0\0\0\x18ftypheic" + bytes(9)})
    )
    (tmp_path / "c.pdf").write_bytes(pdf(page(TOKENS[1])))
    (tmp_path / "a.png").write_bytes(encoded(page(TOKENS[2])))
    (tmp_path / "d.zip").write_bytes(zipped({"readme.txt": b"no picture"}))
    found = sources([str(tmp_path)])
    assert [source.name.removeprefix(f"{tmp_path}/") for source in found] == [
        "a.png", "b.zip/x/1.png", "b.zip/x/2.heic", "c.pdf page 1", "d.zip",
    ]  # fmt: skip
    with PhotoReader() as reader:
        read = [source.code(reader).text for source in (found[0], found[1], found[3])]
        assert read == [TOKENS[2], TOKENS[0], TOKENS[1]]
        with pytest.raises(errors.NotAPicture, match=r"2\.heic"):
            found[2].code(reader)
        with pytest.raises(errors.ContainerRefused, match="no picture"):
            found[4].code(reader)


# --- what is refused ----------------------------------------------------------------------------


def encrypted_zip() -> bytes:
    data = bytearray(zipped({"a.png": encoded(page(TOKENS[0]))}))
    data[6] |= 1  # the flag in the local header and in the directory (APPNOTE 4.4.4)
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def locked_pdf() -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(page(TOKENS[0]))))
    writer.encrypt("secret", algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (zipped({}), "no picture|damaged"),
        (zipped({"a/b.txt": b"text", "c/": b""}), "no picture"),
        (zipped({"a.png": encoded(page(TOKENS[0]))})[:-30], "damaged"),
        (b"PK\x03\x04" + bytes(100), "damaged"),
        (b"%PDF-1.7\n", "damaged"),
        (b"%PDF-1.7\n" + bytes(1000), "damaged"),
        (locked_pdf(), "password"),
    ],
)
def test_no_pictures_inside(data: bytes, said: str) -> None:
    with pytest.raises(errors.ContainerRefused, match=said) as raised:
        unpack(data, "shop.zip")
    assert "shop.zip" in raised.value.sentence


def test_a_member_behind_a_password_is_named() -> None:
    (found,) = unpack(encrypted_zip(), "shop.zip")
    assert found.wrong is not None
    assert "shop.zip/a.png" in found.wrong.sentence
    assert "password" in found.wrong.sentence


def test_a_member_that_unpacks_too_large_is_refused_alone() -> None:
    huge = encoded(page(TOKENS[0])) + bytes(26 * 1000 * 1000)
    small = random.Random(1).randbytes(1_000_000)
    data = zipped({"b.png": huge, "c.png": encoded(page(TOKENS[1])), "noise.txt": small})
    first, second = unpack(data, "x.zip")
    assert isinstance(first.wrong, errors.PictureTooLarge)
    assert read_all([second]) == [TOKENS[1]]


def test_a_bomb_of_many_large_members() -> None:
    """20 MB of zeros behind a PNG's first bytes, many times: small each, too much together."""
    member = b"\x89PNG\r\n\x1a\n" + bytes(20_000_000)
    data = zipped({f"{number}.png": member for number in range(16)})
    assert len(data) < 400_000
    with pytest.raises(errors.ContainerRefused, match="larger than they should be"):
        unpack(data, "bomb.zip")


def test_limits_of_count(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped({f"{number}.png": encoded(page(TOKENS[0])) for number in range(4)})
    assert len(list(containers.pictures(data))) == 4  # the control
    monkeypatch.setattr(containers, "PICTURES_LIMIT", 3)
    with pytest.raises(errors.ContainerRefused, match="more than 3 pictures"):
        list(containers.pictures(data))
    monkeypatch.setattr(containers, "MEMBERS_LIMIT", 3)
    with pytest.raises(errors.ContainerRefused, match="more than 3 files"):
        list(containers.pictures(data))
    monkeypatch.setattr(pdf_pages, "PAGES_LIMIT", 1)
    with pytest.raises(errors.ContainerRefused, match="more than 1 pages"):
        list(containers.pictures(pdf(page(TOKENS[0]), page(TOKENS[1]))))


def test_a_picture_in_a_pdf_with_too_many_pixels() -> None:
    data = pdf(page(TOKENS[0], "P")).replace(b"/Width 500", b"/Width 900000")
    (found,) = unpack(data, "scan.pdf")
    assert isinstance(found.wrong, errors.PictureTooLarge)


def test_a_file_over_the_limit_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(10**10)  # sparse
    (found,) = sources([str(path)])
    assert isinstance(found.wrong, errors.ContainerRefused)
    assert "256 MB" in found.wrong.sentence


def test_names_inside_drive_no_terminal() -> None:
    (found,) = unpack(zipped({"\x1b[2J/../../etc/a.png": encoded(page(TOKENS[0]))}), "x.zip")
    assert found.name.isprintable()


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_damaged_files_are_pictures_or_named_errors(data: st.DataObject) -> None:
    original = data.draw(st.sampled_from([SMALL_ZIP, SMALL_PDF]))
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place] = data.draw(st.integers(0, 255))
    try:
        found = list(containers.pictures(bytes(changed)))
    except errors.PhotoError:
        return
    assert all(inside.data or inside.wrong for inside in found)


SMALL_ZIP = zipped({"a.png": encoded(page(TOKENS[0])), "b/c.pdf": pdf(page(TOKENS[1], "1"))})
SMALL_PDF = pdf(page(TOKENS[0], "P"), page(TOKENS[1]))
