"""Open an untrusted picture safely: caps at the header, allowed formats only, upright and gray.

Runs inside the worker process (`pairing.qr.worker`); only `format_of` and `check_format` are
harmless enough for everybody. Sizes in bytes, dimensions in pixels.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

from pairing import errors

if TYPE_CHECKING:
    from PIL import Image, ImageFile

FILE_LIMIT = 25 * 1000 * 1000
PIXEL_LIMIT = 40 * 1000 * 1000
ALLOWED = ("JPEG", "PNG", "WebP")
_ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held (EXIF 2.32, 4.6.4)."""

_MAGIC: tuple[tuple[bytes, int, str], ...] = (
    (b"\xff\xd8\xff", 0, "JPEG"),
    (b"\x89PNG\r\n\x1a\n", 0, "PNG"),
    (b"WEBP", 8, "WebP"),
    (b"GIF8", 0, "GIF"),
    (b"ftyphei", 4, "HEIC"),
    (b"ftyphev", 4, "HEIC"),
    (b"ftypmif1", 4, "HEIC"),
    (b"ftypmsf1", 4, "HEIC"),
    (b"ftypavi", 4, "AVIF"),
    (b"ftypqt", 4, "QuickTime video"),
    (b"ftyp", 4, "MP4 video"),
    (b"BM", 0, "BMP"),
    (b"II*\0", 0, "TIFF"),
    (b"MM\0*", 0, "TIFF"),
    (b"%PDF", 0, "PDF"),
    (b"PK\x03\x04", 0, "ZIP archive"),
    (b"<svg", 0, "SVG"),
    (b"#cloud-config", 0, "config file"),
)


def format_of(data: bytes) -> str:
    """The format that the first bytes show, such as `JPEG`; empty if unknown."""
    for magic, offset, name in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return name
    return ""


def check_format(data: bytes) -> str:
    """The format if it is allowed here. Raises errors.NotAPicture, errors.PictureTooLarge."""
    if not data:
        raise errors.NotAPicture("It is empty.")
    if len(data) > FILE_LIMIT:
        raise errors.PictureTooLarge
    name = format_of(data)
    if name not in ALLOWED:
        raise errors.NotAPicture(f"It is a {name}." if name else "Its first bytes belong to none.")
    return name


def open_gray(data: bytes) -> Image.Image:
    """The picture upright, in 8-bit gray, transparency on white.

    A file cut short gives what there is of it. Raises errors.NotAPicture, errors.PictureTooLarge.
    """
    name = check_format(data)
    try:
        image = _open(name, data)
        _check_size(*image.size)
        turn = _turn(image)
        if name == "JPEG":
            image.draft("L", image.size)  # colour planes are never decoded
        image.load()
        gray = _gray(image)
        return gray if turn is None else gray.transpose(turn)
    except errors.KnownError:
        raise
    except MemoryError:
        raise errors.PictureTooLarge("There is not enough memory for it.") from None
    except Exception as broken:  # any decoder's complaint about a stranger's bytes
        raise errors.NotAPicture(f"Its content is damaged ({type(broken).__name__}).") from None


def preload() -> None:
    """Import now what `open_gray` needs, because the sandbox opens no file later."""
    from PIL import ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

    ImageFile.LOAD_TRUNCATED_IMAGES = True
    del JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin


def _open(name: str, data: bytes) -> ImageFile.ImageFile:
    """The plug-in for this format and no other, so no other parser sees the bytes."""
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    if name == "WebP":
        _check_size(*_webp_size(data))  # its decoder allocates on opening
        return WebPImageFile(io.BytesIO(data))
    if name == "PNG":
        _check_size(*struct.unpack(">II", data[16:24]))
        return PngImageFile(io.BytesIO(data))
    return JpegImageFile(io.BytesIO(data))


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise errors.NotAPicture("It has no pixels.")
    if width * height > PIXEL_LIMIT:
        raise errors.PictureTooLarge(f"It has {width} x {height} pixels.")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height from the first chunk (RFC 9649, 2.5 to 2.7)."""
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", body[6:10])
        return width & 0x3FFF, height & 0x3FFF
    raise errors.NotAPicture("Its content is damaged (no WebP frame).")


def _turn(image: Image.Image) -> Image.Transpose | None:
    from PIL import Image

    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken EXIF block is no reason to refuse a good picture
        return None
    return {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)


def _gray(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha, white = image.getchannel("A"), Image.new("L", image.size, 255)
        return Image.composite(image.convert("L"), white, alpha)
    if image.mode in ("P", "CMYK"):
        image = image.convert("RGB")
    return image.convert("L")
