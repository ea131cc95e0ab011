"""What was read in a photo, and the decision which token it shows. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from pairing import base45, errors

NATIVE_PREFIX = "EP1:"
_KAIROS_LENGTH = range(200, 4097)
_PREVIEW_LIMIT = 40

Corners = tuple[tuple[int, int], ...]
"""Points (x, y) round a code in pixels of the upright photo, from its top left corner clockwise."""


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
class PhotoToken:
    """The token that a photo shows. `text` holds a one-time secret."""

    kind: Kind
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Everything that was seen in one photo.

    `photo` is its file name, `format` JPEG, PNG or WebP, `steps` the names of the decoding steps
    tried in order, `unreadable` where codes were seen but not read, `cpu_ms` the CPU time spent.
    """

    photo: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    codes: tuple[Code, ...] = ()
    unreadable: tuple[Corners, ...] = ()
    steps: tuple[str, ...] = ()
    cpu_ms: int = 0

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of all codes, each once, in the order in which they were read."""
        return tuple(dict.fromkeys(code.text for code in self.codes))

    @property
    def tokens(self) -> tuple[str, ...]:
        """Those texts that are tokens of ours or of Kairos."""
        return tuple(text for text in self.texts if kind_of(text))


def kind_of(text: str) -> Kind | None:
    """Whose token this is; None if it is none. Checks shape and checksum, not the fields."""
    if text.startswith(NATIVE_PREFIX):
        return Kind.NATIVE if _is_native(text) else None
    return Kind.KAIROS if _is_kairos(text) else None


def _is_native(text: str) -> bool:
    try:
        data = base45.decode(text[len(NATIVE_PREFIX) :])
    except ValueError:
        return False
    return len(data) > 50 and hashlib.sha256(data[:-2]).digest()[:2] == data[-2:]


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

    Raises errors.SeveralTokens, errors.TokenInvalid, errors.ForeignCode, errors.CodeUnreadable,
    errors.NoCodeFound.
    """
    tokens = reading.tokens
    if len(tokens) > 1:
        raise errors.SeveralTokens(f"({len(tokens)} different ones)", element=reading.photo)
    if tokens:
        kind = kind_of(tokens[0])
        assert kind is not None
        return PhotoToken(kind, tokens[0])
    raise _reason(reading)


def _reason(reading: Reading) -> errors.PhotoError:
    if any(text.startswith(NATIVE_PREFIX) for text in reading.texts):
        return errors.TokenInvalid("(damaged, or of another version)", element=reading.photo)
    if reading.unreadable:
        return errors.CodeUnreadable(element=reading.photo)
    if reading.texts:
        return errors.ForeignCode(f"It is {describe(reading.texts)}.", element=reading.photo)
    return errors.NoCodeFound(element=reading.photo)


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
