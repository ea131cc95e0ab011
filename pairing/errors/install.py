"""Exit 7: an installation cannot begin, or a step of it failed for a reason with a name."""

from __future__ import annotations

from pairing.errors.node import NodeError


class ImageMissing(NodeError):
    """This machine was not started from a medium that holds an image to install."""

    number, slug = 610, "image-missing"
    hint = "Start it from a stick that `kairos-fleet image build` has made."


class ImageTampered(NodeError):
    """The image on the medium is not what its maker put there; the disk was not touched."""

    number, slug = 611, "image-tampered"
    hint = "Write the stick again, or use another one. If it happens twice, ask who had the stick."


class TpmUnusable(NodeError):
    """The TPM cannot keep the disk's key; the disk was not touched."""

    number, slug, retryable = 612, "tpm-unusable", True
    hint = "Switch it on or clear it in the firmware's settings, then run the same command again."


class TangUnusable(NodeError):
    """The Tang server cannot be used from this machine; the disk was not touched."""

    number, slug, retryable = 613, "tang-unusable", True
    hint = "Check its address and that it runs, then run the same command again."


class BootEntriesRefused(NodeError):
    """The firmware does not let its boot entries be changed."""

    number, slug, retryable = 614, "boot-entries-refused", True
    hint = "Reset the firmware's settings, start in UEFI mode, then run the same command again."


class DiskBusy(NodeError):
    """The disk is in use by something else."""

    number, slug, retryable = 615, "disk-busy", True
    hint = "Restart the machine from the stick and run the same command again."


class DiskIncomplete(NodeError):
    """A part of the disk that was just written is not there."""

    number, slug, retryable = 616, "disk-incomplete", True
    hint = "Run the same command again; if it happens twice, replace the disk."


class KeyNotProved(NodeError):
    """The recovery key does not open the disk that was just written."""

    number, slug, retryable = 617, "key-not-proved", True
    hint = "Run the same command again; if it happens twice, replace the disk."


class InstallStartNotPure(NodeError):
    """This start was given kernel words, credentials or add-ons from outside the image.

    A disk that is sealed to such a start would not open without them; it was not touched.
    """

    number, slug, retryable = 621, "install-start-not-pure", True
    hint = (
        "Start the stick without them: nothing added in the boot menu, by the firmware or the"
        " hypervisor, no files added to the stick. Then run the same command with a new photo."
    )


class PolicyKeyMissing(NodeError):
    """The image has no key for the policies that the TPM needs; the disk was not touched."""

    number, slug = 619, "policy-key-missing"
    hint = "Build the image with keys (`kairos-fleet image build --image-keys DIR`)."


class KeyNotInMemory(NodeError):
    """The recovery key would have to lie on a disk, so it is not used."""

    number, slug = 618, "key-not-in-memory"
    hint = "/run must be a file system in memory (tmpfs), as systemd makes it."
