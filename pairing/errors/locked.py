"""Exit 13: why a machine's volumes do not open, as the machine itself found out."""

from __future__ import annotations

from pairing.errors.verdict import LockedError


class TpmMissing(LockedError):
    """The disk is sealed to a TPM, and this machine has none."""

    number, slug = 625, "locked-no-tpm"
    hint = "Is the TPM switched off in the firmware, or the disk in another machine?"


class TpmForeign(LockedError):
    """This machine's TPM is another one than at the installation, or it was cleared."""

    number, slug = 626, "locked-other-tpm"
    hint = "Open it and bind it anew: `kairos-fleet recover NODE --reenroll`."


class FirmwareChanged(LockedError):
    """The firmware's Secure Boot state or its keys have changed since the installation."""

    number, slug = 627, "locked-firmware"
    hint = "Was the change yours? Open and bind it anew: `kairos-fleet recover NODE --reenroll`."


class BootWordsChanged(LockedError):
    """Kernel words, credentials or add-ons from outside the image were given at this start."""

    number, slug = 628, "locked-boot-words"
    hint = "Somebody changed the boot partition or the firmware's tables: find out who."


class ImageForeign(LockedError):
    """The started image is not one whose start the builder of this machine's image has signed."""

    number, slug = 629, "locked-image"
    hint = "Start the machine again to fall back, or start its recovery system."


class TangUnreachable(LockedError):
    """The Tang server that holds a part of the key does not answer, or not with this disk's key."""

    number, slug, retryable = 630, "locked-tang", True
    hint = "Is the machine where it belongs, the server up, with its keys of the installation?"


class HeaderDamaged(LockedError):
    """The header of an encrypted volume is damaged or gone."""

    number, slug = 631, "locked-header"
    hint = "Nothing opens it without a backup of its header: install the machine again."


class KeyNeeded(LockedError):
    """A person has to give the recovery key at every start, as the config asked for."""

    number, slug = 632, "locked-key-needed"
    hint = "Open it with `kairos-fleet recover`."


class ApprovalNeeded(LockedError):
    """It opens when an operator approves, at every start, as the config asked for."""

    number, slug = 633, "locked-approval"
    hint = "Approve it: `kairos-fleet nodes approve`."


class VolumesForeign(LockedError):
    """The two volumes do not belong together: one of them was exchanged."""

    number, slug = 634, "locked-exchanged"
    hint = "Somebody had the disk. Nothing of it is used; install the machine again."


class TwoInstallations(LockedError):
    """Two disks in this machine hold the same version, and this start came from both of them."""

    number, slug = 624, "locked-two-disks"
    hint = "Take the old disk out, or erase it; then start the machine again."


class TpmRefuses(LockedError):
    """The TPM does not give the key, though everything it depends on is as it was."""

    number, slug = 635, "locked-tpm-refuses"
    hint = "Start the machine again, without power for a minute. Then use the recovery key."


class SealedOff(LockedError):
    """The volumes were open in this start already; the TPM opens them once in a start only."""

    number, slug = 637, "locked-until-restart"
    hint = "Start the machine again."
