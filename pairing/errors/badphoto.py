"""Exit 4: why a photo could not be read, as far as the photo itself tells it."""

from __future__ import annotations

from typing import Self

from pairing.errors.photo import CodeUnreadable, PhotoError

__all__ = ["CodeCutOff", "CodeGlare", "CodeTooFlat", "CodeTooSmall", "PhotoBlurred"]


class PhotoBlurred(PhotoError):
    """This photo is too blurred to be read."""

    number, slug = 210, "photo-blurred"
    hint = "Ask for a new photo: the phone held still, and the screen touched to focus on it."


class CodeTooSmall(CodeUnreadable):
    """The QR code in this photo is too small to be read."""

    number, slug = 211, "photo-too-small"
    hint = "Ask for a new photo from closer by, or for the same one as a document or in HD quality."


class _AtPlace(CodeUnreadable):
    """A code that is spoiled at one place of it."""

    number, slug = 0, ""
    where: str = ""
    """One of `pairing.qr.diagnose.PLACES`; empty if it is not known."""

    @classmethod
    def at(cls, where: str, *, element: str = "") -> Self:
        """The error for this place."""
        found = cls(f"({where})" if where else "", element=element)
        found.where = where
        return found


class CodeGlare(_AtPlace):
    """A reflection hides part of the QR code in this photo."""

    number, slug = 212, "photo-glare"
    hint = "Ask for a new photo from a little to the side, or without the lamp that is reflected."


class CodeCutOff(_AtPlace):
    """Part of the QR code lies outside this photo."""

    number, slug = 213, "photo-cut-off"
    hint = "Ask for a new photo with the whole code in it and some room around it."


class CodeTooFlat(CodeUnreadable):
    """This photo shows the QR code at too flat an angle to be read."""

    number, slug = 214, "photo-too-flat"
    hint = "Ask for a new photo taken straight from the front."
