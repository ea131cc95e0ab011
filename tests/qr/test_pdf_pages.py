"""What of a PDF's pages is taken out, and what stops the hostile ones."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pypdf.generic import NameObject

from pairing import errors
from pairing.qr import pdf, pdfpicture, photo
from pairing.qr.unpack import unpack
from tests.qr import pdfs
from tests.qr.pdfs import TOKENS, black, code, jpeg, plain, same, shown


@pytest.fixture(autouse=True, scope="module")
def _loaded() -> None:
    photo.preload()


# --- what a page draws --------------------------------------------------------------------------


def test_a_picture_among_text_and_logos() -> None:
    """An e-mail printed to PDF: a letterhead, text and the photo."""
    logo = pdfs.picture(bytes(90 * 70), (90, 70), 8, "/DeviceGray")
    drawing = b"BT /F1 12 Tf 50 700 Td (Here it is) Tj ET\n" + pdfs.drawn("L", 50, 750, 90, 30)
    drawing += pdfs.drawn("P", 50, 100, 400, 350) + b"0 0 50 50 re f\n"
    found = shown(pdfs.document((drawing, {"L": logo, "P": plain()})))
    assert len(found) == 1
    assert same(found[0], code())


def test_each_picture_once_on_the_page_that_draws_it() -> None:
    """Many programs give every page the pictures of all pages."""
    objects = {"A": plain(TOKENS[0]), "B": plain(TOKENS[1])}
    data = pdfs.document(
        (pdfs.drawn("B", 0, 0, 400, 350), objects),
        (pdfs.drawn("A", 0, 0, 400, 350) + pdfs.drawn("B", 0, 400, 40, 35), objects),
    )
    found = list(pdf.pictures(data))
    assert [(one.page, one.number, one.of) for one in found] == [(1, 1, 1), (2, 1, 1)]
    assert same(photo.open_gray(found[0].data), code(TOKENS[1]))
    assert same(photo.open_gray(found[1].data), code(TOKENS[0]))


def test_in_forms_and_in_damaged_drawings() -> None:
    for drawing in (b"/G Do", b"", b"/Missing Do", b"q BT (", None):
        inner = pdfs.form(pdfs.drawn("P", 0, 0, 400, 350), {"P": plain()})
        outer = pdfs.form(b"q 1 0 0 1 5 5 cm /F Do Q", {"F": inner})
        (found,) = shown(pdfs.document((drawing, {"G": outer})))
        assert same(found, code())


def test_a_picture_within_the_drawing() -> None:
    image = code(mode="1")
    head = b"q 400 0 0 350 50 50 cm BI /W %d /H %d /BPC 1 /CS /G /F /AHx ID " % image.size
    drawing = head + image.tobytes().hex().encode() + b"> EI Q"
    (found,) = shown(pdfs.document((drawing, {})))
    assert same(found, image)


@pytest.mark.parametrize(("across", "down"), [(1, 9), (3, 4), (4, 1)])
def test_strips_and_tiles_are_one_picture(across: int, down: int) -> None:
    """As print drivers write them; another picture beside them stays another."""
    image = code()
    xs = [image.width * n // across for n in range(across + 1)]
    ys = [image.height * n // down for n in range(down + 1)]
    objects, drawing = {"Other": plain(TOKENS[1])}, pdfs.drawn("Other", 30, 420, 320, 280)
    scale = 0.71
    for row in range(down):
        for column in range(across):
            box = xs[column], ys[row], xs[column + 1], ys[row + 1]
            part = image.crop(box)
            name = f"T{row}x{column}"
            objects[name] = pdfs.picture(part.tobytes(), part.size, 8, "/DeviceGray")
            drawing += pdfs.drawn(name, 30 + box[0] * scale, 400 - box[3] * scale,
                                  part.width * scale, part.height * scale)  # fmt: skip
    other, found = shown(pdfs.document((drawing, objects)))
    assert same(other, code(TOKENS[1]))
    assert same(found, image)


def test_two_photos_one_below_the_other_stay_two() -> None:
    """They touch, but each is as large as a photo."""
    photos = [code(token).resize((806, 702)) for token in TOKENS[:2]]
    objects = {
        name: pdfs.picture(image.tobytes(), image.size, 8, "/DeviceGray")
        for name, image in zip("AB", photos, strict=True)
    }
    drawing = pdfs.drawn("A", 0, 351, 403, 351) + pdfs.drawn("B", 0, 0, 403, 351)
    found = shown(pdfs.document((drawing, objects)))
    assert [image.tobytes() for image in found] == [image.tobytes() for image in photos]


# --- limits -------------------------------------------------------------------------------------


def test_a_bomb_is_unpacked_no_further_than_its_picture() -> None:
    """200 MB of zeros in 200 kB, in a picture of 70 x 70: 4,900 bytes of it are used."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(1_000_000)) for _ in range(200)) + packer.flush()
    one = pdfs.picture(data, (70, 70), 8, "/DeviceGray", Filter="/FlateDecode")
    (found,) = unpack(pdfs.single(one), "x.pdf")
    assert found.wrong is None
    twice = pdfs.picture(zlib.compress(data), (70, 70), 8, "/DeviceGray",
                         Filter=["/FlateDecode", "/FlateDecode"])  # fmt: skip
    (found,) = unpack(pdfs.single(twice), "x.pdf")
    assert found.wrong is None


@pytest.mark.parametrize("kind", ["mask", "jpeg", "jpeg 2000", "fax"])
def test_sizes_that_only_the_content_or_a_mask_has(kind: str) -> None:
    large = (9000, 9000)
    sheet = Image.new("L", large)
    made = {
        "mask": lambda: black((70, 70), SMask=pdfs.picture(b"", large, 8, "/DeviceGray")),
        "jpeg": lambda: pdfs.picture(jpeg(sheet), (70, 70), 8, "/DeviceGray", Filter="/DCTDecode",
                                     Decode=[1, 0]),
        "jpeg 2000": lambda: pdfs.picture(jpeg(sheet.resize((64, 64)), "JPEG2000").replace(
            struct.pack(">II", 64, 64), struct.pack(">II", *large)), (70, 70), 8, None,
            Filter="/JPXDecode"),
        "fax": lambda: pdfs.picture(b"", (70, 9000), 1, "/DeviceGray", Filter="/CCITTFaxDecode",
                                    DecodeParms={"/K": -1, "/Columns": 9000}),
    }[kind]()  # fmt: skip
    (found,) = pdf.pictures(pdfs.single(made))
    assert isinstance(found.wrong, errors.PictureTooLarge)


def test_forms_that_hold_one_another_a_thousand_times_each() -> None:
    inner = pdfs.form(pdfs.drawn("P", 0, 0, 400, 350), {"P": plain()})
    for _ in range(5):
        inner = pdfs.form(b"/F Do " * 1000, {"F": inner})
    (found,) = unpack(pdfs.document((b"/G Do", {"G": inner})), "x.pdf")
    assert found.wrong is None


def test_too_much_drawing_is_not_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = pdfs.drawn("P", 0, 0, 400, 350) + b"0 0 m " * 1000
    data = pdfs.document((drawing, {"P": plain(), "Q": plain(TOKENS[1])}))
    assert len(shown(data)) == 1  # what is drawn
    monkeypatch.setattr(pdf, "_DRAWING_LIMIT", 1000)
    assert len(shown(data)) == 2  # what is at hand


def test_the_count_of_pieces_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pdfs.document((None, {"P": plain(), "Q": plain(TOKENS[1])}))
    assert len(shown(data)) == 2
    monkeypatch.setattr(pdf, "PIECES_LIMIT", 1)
    with pytest.raises(errors.ContainerRefused, match="more than 1 pictures"):
        list(pdf.pictures(data))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_nonsense_in_a_picture_object_is_a_named_error(data: st.DataObject) -> None:
    odd: st.SearchStrategy[Any] = st.sampled_from(
        [None, -1, 0, 7, 10**12, 0.5, "/X", b"x", [], [1], ["/Indexed"], [[[[]]]], {}, True,
         ["/Indexed", ["/Indexed", "/DeviceRGB", 1, b"\0"], 1, b"\0"], ["/ICCBased", {}]]
    )  # fmt: skip
    said: dict[str, Any] = {"Filter": "/FlateDecode"}
    for name in ("Filter", "DecodeParms", "Decode", "SMask", "Mask", "ImageMask", "Width",
                 "BitsPerComponent", "ColorSpace"):  # fmt: skip
        if data.draw(st.integers(0, 3)) == 0:
            said[name] = data.draw(odd)
    one = plain()
    for name, part in said.items():
        one.pop(f"/{name}", None)
        if part is not None:
            one[NameObject(f"/{name}")] = pdfs.value(part)
    try:
        found = pdfpicture.picture(one)
    except errors.PhotoError:
        return
    assert isinstance(found, bytes) or found.mode == "L"
