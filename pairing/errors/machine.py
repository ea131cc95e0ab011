"""Exit 9: this machine lacks something."""

from __future__ import annotations

from pairing.errors.base import ExitCode, KnownError


class MissingError(KnownError):
    """Something is missing on this machine."""

    number, slug, exit_code = 700, "missing", ExitCode.MISSING
    hint = "Run `kairos-fleet doctor`."


class TransportMissing(MissingError):
    """The peer-to-peer library (libp2p) is not installed."""

    number, slug = 701, "libp2p-missing"
    hint = "Run `make install` in the source folder: it installs libp2p from the lock file."


class CommandMissing(MissingError):
    """A program that is needed here is not installed."""

    number, slug = 702, "command-missing"


class CommandFailed(MissingError):
    """A program failed."""

    number, slug = 703, "command-failed"
    hint = "The end of what it printed is shown above."


class CommandTimeout(MissingError):
    """A program did not finish in time and was stopped."""

    number, slug = 704, "command-timeout"
    hint = "Try again; if it happens twice, the machine or its disk is too slow or broken."


class MixedInstallation(MissingError):
    """The packages pairing, node and cli come from different installations."""

    number, slug = 705, "mixed-installation"
    hint = "Install this project in an environment of its own, which nothing else shares."


class PortTaken(MissingError):
    """The network port that this node listens on cannot be used."""

    number, slug = 706, "port-taken"
    hint = "Another program uses it: stop that program, or choose another port."


class SettingsInvalid(MissingError):
    """The node's own settings cannot be read, so it does not pair with anybody."""

    number, slug = 707, "node-settings"
    hint = "Correct the file. A stick has it from its recipe: build the image and write it again."


class KeyFolderUnsafe(MissingError):
    """Other people on this machine can read or change the keys, so they are not used."""

    number, slug = 720, "keys-unsafe"
    hint = "Give them to you alone: chmod 700 for the folder, chmod 600 for the files in it."


class KeyFileInvalid(MissingError):
    """This key or certificate cannot be used."""

    number, slug = 721, "key-file"
    hint = "Restore it from a backup, or name another folder with --keys."


class KeyMissing(MissingError):
    """This key is not in the key folder."""

    number, slug = 722, "key-missing"
    hint = "Make it: kairos-fleet keys --help."


class StoreUnwritable(MissingError):
    """The operator's records cannot be stored on this machine."""

    number, slug = 723, "store-unwritable"
    hint = "Check that the folder exists, is yours and is not full."


class BaseUnsuitable(MissingError):
    """No image can be made from this base."""

    number, slug = 730, "base-unsuitable"
    hint = "It needs systemd 257 or newer, dracut, cryptsetup, a kernel and Python 3.11 to 3.13."


class SourceMissing(MissingError):
    """Images are made from this project's source folder, and this is none."""

    number, slug = 731, "source-missing"
    hint = "Run the command from a clone of the project, set up with `make install`."


class DigestWrong(MissingError):
    """This is not the file that the recipe names: its SHA-256 digest differs."""

    number, slug = 732, "digest-wrong"
    hint = "Do not use it. If the file was renewed on purpose, write its new digest in the recipe."


class SourceUnreadable(MissingError):
    """A file that the recipe names cannot be read."""

    number, slug = 733, "recipe-source"
    hint = "Paths in a recipe are meant from the recipe's folder; URLs begin with https://."


class ProgramNotFetched(MissingError):
    """A program that the recipe names could not be fetched from its address."""

    number, slug, retryable = 708, "program-not-fetched", True
    hint = (
        "Try the address from this machine: curl -fLO URL. Or fetch it by hand and name the file."
    )


class ImageKeysMissing(MissingError):
    """The recipe asks for signed boot files, and there are no keys to sign with."""

    number, slug = 734, "image-keys-missing"
    hint = "Make them: kairos-fleet image keys. Or write `secure_boot: off`."
