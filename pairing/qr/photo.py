"""Open an untrusted picture safely: caps at the header, allowed formats only, upright and gray.

Runs inside the worker process (`pairing.qr.worker`); only `format_of` and `check_format` are
harmless enough for everybody. Sizes in bytes, dimensions in pixels.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pairing import errors

if TYPE_CHECKING:
    from PIL import Image, ImageFile

FILE_LIMIT = 25 * 1000 * 1000
PIXEL_LIMIT = 40 * 1000 * 1000
ALLOWED = ("JPEG", "PNG", "WebP", "HEIC", "TIFF", "BMP", "GIF")
CONTAINERS = ("PDF", "ZIP archive")
"""Files with pictures inside: `pairing.qr.unpack` takes them out."""
HEIC_LIBRARY = "pillow_heif"
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
    (b"II+\0", 0, "TIFF"),
    (b"MM\0+", 0, "TIFF"),
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
    """The format if it is allowed here.

    Raises errors.NotAPicture, errors.PictureTooLarge, errors.HeicMissing.
    """
    if not data:
        raise errors.NotAPicture("It is empty.")
    if len(data) > FILE_LIMIT:
        raise errors.PictureTooLarge
    name = format_of(data)
    if name not in ALLOWED:
        raise errors.NotAPicture(f"It is a {name}." if name else "Its first bytes belong to none.")
    if name == "HEIC" and importlib.util.find_spec(HEIC_LIBRARY) is None:
        raise errors.HeicMissing
    return name


def open_gray(data: bytes) -> Image.Image:
    """The picture upright, in 8-bit gray, transparency on white.

    Of several pages or frames the first. A file cut short gives what there is of it. Raises
    errors.NotAPicture, errors.PictureTooLarge, errors.HeicMissing.
    """
    name = check_format(data)
    with decoding():
        image = _open(name, data)
        check_size(*image.size)
        turn = None if name in ("TIFF", "HEIC") else _turn(image)  # their readers turn them
        if name == "JPEG":
            image.draft("L", image.size)  # colour planes are never decoded
        _load(name, image)
        gray = gray_of(image)
        return gray if turn is None else gray.transpose(turn)


@contextlib.contextmanager
def decoding() -> Iterator[None]:
    """Any decoder's complaint about a stranger's bytes, as one of ours.

    Raises errors.NotAPicture, errors.PictureTooLarge where memory is short.
    """
    try:
        yield
    except errors.KnownError:
        raise
    except MemoryError:
        raise errors.PictureTooLarge("There is not enough memory for it.") from None
    except Exception as broken:
        raise errors.NotAPicture(f"Its content is damaged ({type(broken).__name__}).") from None


def preload() -> None:
    """Import now what `open_gray` needs, because the sandbox opens no file later."""
    from PIL import ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = True
    for name in _READERS:
        with contextlib.suppress(ImportError):  # HEIC's
            reader(name)


_READERS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "HEIC": (HEIC_LIBRARY, "HeifImageFile"),
    "JPEG 2000": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
}
"""The plug-in for each format and no other, so no other parser sees the bytes. JPEG 2000 only
inside a PDF, where scanners use it."""


def reader(name: str) -> Callable[[io.BytesIO], ImageFile.ImageFile]:
    """The plug-in for a format of `ALLOWED` or for JPEG 2000. Raises ImportError."""
    module, kind = _READERS[name]
    found: Callable[[io.BytesIO], ImageFile.ImageFile]
    found = getattr(importlib.import_module(module), kind)
    return found


def _open(name: str, data: bytes) -> ImageFile.ImageFile:
    if name == "WebP":
        check_size(*_webp_size(data))  # its decoder allocates on opening
    if name == "PNG":
        check_size(*struct.unpack(">II", data[16:24]))
    return reader(name)(io.BytesIO(data))


def _load(name: str, image: ImageFile.ImageFile) -> None:
    from PIL import ImageFile

    if name != "HEIC":
        image.load()
        return
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # else its reader makes black out of nothing
    try:
        image.load()  # of tiles gives those that are there
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = True
    check_size(*image.size)  # its header does not bind it


def check_size(width: int, height: int) -> None:
    """Raises errors.NotAPicture for no pixels, errors.PictureTooLarge for too many."""
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


def gray_of(image: Image.Image) -> Image.Image:
    """In 8-bit gray, transparency on white."""
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I"):
        return _scaled(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha, white = image.getchannel("A"), Image.new("L", image.size, 255)
        return Image.composite(image.convert("L"), white, alpha)
    if image.mode == "LAB":
        return image.getchannel("L")
    if image.mode in ("P", "CMYK"):
        image = image.convert("RGB")
    return image.convert("L")


def _scaled(image: Image.Image) -> Image.Image:
    """16 and 32 bits a pixel, or fractions: white is the next of 1, 255, 65535 or the brightest."""
    wide = image.convert("F")
    top = max(map(float, wide.getextrema()))  # type: ignore[arg-type]
    white = next((white for white in (1.0, 255.0, 65535.0) if top <= white), top)
    return wide.point(lambda value: value * (255 / white)).convert("L")
