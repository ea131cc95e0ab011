"""What was read in a photo, and the decision which token it shows. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from pairing import base45, errors, tokenbytes

NATIVE_PREFIX = "EP1:"
_KAIROS_LENGTH = range(200, 4097)
_PREVIEW_LIMIT = 40

Corners = tuple[tuple[int, int], ...]
"""Points (x, y) round a code in pixels of the upright photo, from its top left corner clockwise."""


def box(corners: Corners) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the points."""
    across, down = [x for x, _ in corners] or [0], [y for _, y in corners] or [0]
    return min(across), min(down), max(across), max(down)


def overlap(one: Corners, other: Corners) -> bool:
    """Whether the two boxes share more than a quarter of the smaller one."""
    a, b = box(one), box(other)
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    smaller = min((right - left) * (bottom - top) for left, top, right, bottom in (a, b))
    return shared * 4 > smaller


class Kind(StrEnum):
    """Whose token a text is, told by its shape alone."""

    NATIVE = "native"
    KAIROS = "kairos"


@dataclass(frozen=True, slots=True)
class Code:
    """A QR code that was read, and the name of the step that read it."""

    text: str = field(repr=False)
    corners: Corners = ()
    step: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a code lies that was located but not read; `version` 1 to 40 if that is known."""

    corners: Corners
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A code as the grid reader saw its modules, read or not; one that only another engine located
    has corners, blur and perhaps a version.

    `fit` is the correlation with the parts that every code has, 0 to 1. `pitch` is pixels for a
    module. `glare` is the share of modules that a reflection has eaten, 0 to 1, and `glare_at` its
    middle (x, y) in pixels. `cut` is the side of the photo that the code runs out of: `left`,
    `right`, `top`, `bottom` or nothing. `blur` is a Gaussian's sigma in pixels, 0 if not measured.
    `guessed`: no code was located here, the area only looks like one.
    """

    corners: Corners
    version: int | None = None
    fit: float = 0.0
    pitch: float = 0.0
    glare: float = 0.0
    glare_at: tuple[int, int] | None = None
    read: bool = False
    cut: str = ""
    blur: float = 0.0
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class Tried:
    """One decoding step: its name, CPU milliseconds, codes read and codes located but not read."""

    step: str
    ms: int = 0
    read: int = 0
    located: int = 0


@dataclass(frozen=True, slots=True)
class Gray:
    """A photo's pixels, a byte each, row by row; smaller than the photo. It may show a token."""

    width: int
    height: int
    pixels: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PhotoToken:
    """The token that a photo shows. `text` holds a one-time secret."""

    kind: Kind
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Everything that was seen in one photo.

    `photo` is its file name, `format` such as JPEG, `tried` the decoding steps in order,
    `unreadable` where codes were located but not read, `seen` what the grid reader found out about
    codes, `cpu_ms` the CPU time spent, `blur` the whole picture's as in `Seen`. `soft` holds the
    bits of unread codes, packed, for summing several photos of one screen. `picture` is the photo
    itself, where it was asked for.
    """

    photo: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    codes: tuple[Code, ...] = ()
    unreadable: tuple[Corners, ...] = ()
    tried: tuple[Tried, ...] = ()
    cpu_ms: int = 0
    seen: tuple[Seen, ...] = ()
    blur: float = 0.0
    soft: tuple[bytes, ...] = field(default=(), repr=False)
    picture: Gray | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the decoding steps tried, in order."""
        return tuple(step.step for step in self.tried)

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of all codes, each once, in the order in which they were read."""
        return tuple(dict.fromkeys(code.text for code in self.codes))

    @property
    def tokens(self) -> tuple[str, ...]:
        """Those texts that are tokens of ours or of Kairos."""
        return tuple(text for text in self.texts if kind_of(text))


@dataclass(frozen=True, slots=True)
class Sum:
    """A code that no photo gave alone; the bits of these photos together did.

    With `shown_by`, the name of a photo that gave it alone, these show the same screen.
    """

    text: str = field(repr=False)
    photos: tuple[str, ...] = ()
    shown_by: str = ""


def kind_of(text: str) -> Kind | None:
    """Whose token this is; None if it is none.

    Of ours: version, length, check bytes and key are right. Of Kairos: the shape only.
    """
    if text.startswith(NATIVE_PREFIX):
        return Kind.NATIVE if _is_native(text) else None
    return Kind.KAIROS if _is_kairos(text) else None


def _is_native(text: str) -> bool:
    try:
        data = base45.decode(text[len(NATIVE_PREFIX) :])
    except ValueError:
        return False
    return not tokenbytes.fault(data)


def _is_kairos(text: str) -> bool:
    """Base64 of a YAML map with the keys `otp` and `crypto` (edgeVPN's network token).

    Whatever `pairing.edgevpn.nettoken.looks_like` says yes to; the sandboxed worker must not load
    that one.
    """
    if len(text) not in _KAIROS_LENGTH:
        return False
    try:
        inner = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return all(key in inner for key in (b"otp", b"crypto"))


def token_from(reading: Reading) -> PhotoToken:
    """The one token in the photo; the same one twice is one.

    Raises errors.SeveralTokens and what `pairing.qr.diagnose` finds: errors.TokenInvalid,
    errors.ForeignCode, errors.CodeUnreadable and its children, errors.PhotoBlurred,
    errors.NoCodeFound.
    """
    tokens = reading.tokens
    if len(tokens) > 1:
        raise errors.SeveralTokens(_where(reading), element=reading.photo)
    if tokens:
        kind = kind_of(tokens[0])
        assert kind is not None
        return PhotoToken(kind, tokens[0])
    from pairing.qr import diagnose

    raise diagnose.reason(reading)


def _where(reading: Reading) -> str:
    """Where the different tokens are, for somebody who looks at the photo."""
    tokens = set(reading.tokens)
    places = [_place_said(code, reading) for code in reading.codes if code.text in tokens]
    return f"There are {len(tokens)} different ones: {', '.join(places)}."


def _place_said(code: Code, reading: Reading) -> str:
    """Such as `top left (at 60, 40)`: a third of the picture and the corner in pixels."""
    left, top, right, bottom = box(code.corners)
    across = _third((left + right) / 2, reading.width, ("left", "", "right"))
    down = _third((top + bottom) / 2, reading.height, ("top", "", "bottom"))
    return f"{f'{down} {across}'.strip() or 'middle'} (at {left}, {top})"


def _third(at: float, size: int, names: tuple[str, str, str]) -> str:
    return names[max(0, min(2, int(at * 3 / max(1, size))))]


_KINDS = (
    ("WIFI:", "a Wi-Fi password"),
    ("BEGIN:VCARD", "a business card"),
    ("MECARD:", "a business card"),
    ("BEGIN:VEVENT", "a calendar entry"),
    ("BCD\n", "a bank transfer"),
    ("SPC\n", "a bank transfer"),
    ("otpauth:", "a two-factor key"),
    ("DPP:", "a Wi-Fi device code"),
    ("MT:", "a smart home device code"),
    ("mailto:", "a mail address"),
    ("tel:", "a telephone number"),
)


def describe(texts: Sequence[str]) -> str:
    """What kind of text a foreign code holds. Names no content that may be private."""
    text = texts[0]
    if "_CREDENTIALS_" in text:
        return (
            "a recovery code of Kairos, for `kairos-fleet rescue --kairos`: whoever has it may open"
            " a root shell there"
        )
    for start, name in _KINDS:
        if text.upper().startswith(start.upper()):
            return name
    if re.match(r"https?://", text, re.IGNORECASE):
        return f"a link to {_printable(_host(text))}"
    return f"a text of {len(text)} characters: {_printable(text)}"


def _host(link: str) -> str:
    try:
        return urlsplit(link).hostname or "nowhere"
    except ValueError:
        return "nowhere"


def _printable(text: str) -> str:
    """At most 40 characters, printable ASCII only: the rest may drive a terminal."""
    short = text if len(text) <= _PREVIEW_LIMIT else text[: _PREVIEW_LIMIT - 3] + "..."
    return '"' + "".join(c if " " <= c <= "~" and c != '"' else "?" for c in short) + '"'
