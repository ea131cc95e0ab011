"""Exit 4: the photo and the code in it."""

from __future__ import annotations

from pairing.errors.base import ExitCode, KnownError


class PhotoError(KnownError):
    """No token could be read from this photo."""

    number, slug, exit_code = 200, "photo", ExitCode.PHOTO
    hint = (
        "Ask for a new photo: hold the phone straight before the screen, close enough that the "
        "code fills half the picture."
    )


class NotAPicture(PhotoError):
    """This file is not a picture in a format that is allowed here."""

    number, slug = 201, "photo-format"
    hint = "Send the photo as JPEG, PNG, WebP, HEIC, TIFF, BMP or GIF, or several in a PDF or zip."


class PictureTooLarge(PhotoError):
    """This picture is larger than 25 MB or 40 megapixels and was not opened."""

    number, slug = 202, "photo-too-large"
    hint = "Send the photo in normal quality, as the messenger does by default."


class NoCodeFound(PhotoError):
    """No QR code was found in this photo."""

    number, slug = 203, "photo-no-code"
    hint = "Ask for a new photo with the whole square code in it, sharp and without reflections."


class CodeUnreadable(PhotoError):
    """A QR code is in this photo but cannot be read."""

    number, slug = 204, "photo-unreadable"
    hint = "Ask for a new photo: closer, held still, without reflections on the screen."


class ForeignCode(PhotoError):
    """The QR code in this photo is not a pairing code."""

    number, slug = 205, "photo-foreign"
    hint = "Ask for a photo of the code on the new machine's own screen."


class KairosCode(PhotoError):
    """The code in this photo is one of Kairos' own protocol, which is used only when asked for."""

    number, slug = 209, "photo-kairos"
    hint = (
        "It is weaker: whoever has the photo can read the config and can answer in the machine's"
        " place. Add --kairos to use it, or start the machine from an image of ours."
    )


class SeveralTokens(PhotoError):
    """This photo shows the codes of several machines."""

    number, slug = 206, "photo-several"
    hint = "Ask for one photo per machine, or crop the picture to one screen."


class TokenInvalid(PhotoError):
    """This is not a valid token."""

    number, slug = 207, "token-invalid"
    hint = "Copy the whole text, starting with EP1: and without changes, or take a new photo."


class HeicMissing(NotAPicture):
    """This is a photo in Apple's format HEIC, and the library that opens those is not installed."""

    number, slug, exit_code = 215, "photo-heic", ExitCode.MISSING
    hint = (
        "Run `make install HEIC=1` in the source folder (it installs pillow-heif from a lock file),"
        " or ask for the photo as JPEG."
    )


class ContainerRefused(NotAPicture):
    """The pictures inside this PDF or zip cannot be taken out."""

    number, slug = 216, "photo-container"
    hint = "Take the pictures out yourself, and name their folder."


class PhotoWorkerFailed(PhotoError):
    """Reading this picture took too much time or memory and was stopped."""

    number, slug = 208, "photo-worker"
    hint = "Send the photo in normal quality; if it is ordinary, please report it."
