"""Exit 7: the node failed."""

from __future__ import annotations

from pairing.errors.base import ExitCode, KnownError


class NodeError(KnownError):
    """The node reported a failure."""

    number, slug, exit_code = 600, "node-failed", ExitCode.NODE_FAILED
    hint = "The step and the end of its log are shown above."


class ConfigRefusedByNode(NodeError):
    """The node refused the config."""

    number, slug = 601, "node-config-refused"
    hint = "Both ends check by the same rules: update the older one if the operator's check passed."


class EscrowNotAcknowledged(NodeError):
    """The recovery key was not acknowledged in time; the disk was not touched."""

    number, slug, retryable = 602, "escrow-not-acknowledged", True
    hint = "Run the same command again."


class StepFailed(NodeError):
    """A step of the installation failed."""

    number, slug = 603, "step-failed"


class JournalDamaged(NodeError):
    """The node's journal was changed or is damaged, so it is not known what was done.

    A line that was cut off at the end is no damage.
    """

    number, slug = 604, "journal-damaged"
    hint = "Restart the machine from the stick to begin again; report it if it happens twice."


class JournalUnwritable(NodeError):
    """The node's journal cannot be read or stored."""

    number, slug = 605, "journal-unwritable"
    hint = "Check that the folder exists, is writable and is not full."


class StepUnsupported(NodeError):
    """The node cannot carry out a step of the plan; nothing was changed."""

    number, slug = 606, "step-unsupported"
    hint = "Use a newer image, or run with --dry-run."


class TenancyUnwritable(NodeError):
    """The node's lease, which it needs after the reboot, cannot be stored."""

    number, slug = 607, "tenancy-unwritable"
    hint = "Check that the OEM volume is mounted, writable and not full."


class TenancyDamaged(NodeError):
    """The node's lease from before the reboot cannot be read, so it cannot report."""

    number, slug = 608, "tenancy-damaged"
    hint = (
        "The system itself goes on; look at its screen. To report again it must be installed anew."
    )


class RescueTimeUp(NodeError):
    """The repair session's time is up; the node has ended it."""

    number, slug = 670, "rescue-time"
    hint = "Open another one, with --minutes if the node's settings allow longer ones."


class RescueCut(NodeError):
    """The repair session was cut off; the node ends what ran in it."""

    number, slug, retryable = 671, "rescue-cut", True
    hint = "Open another one. What had been done on the node stays done."


class RescueFailed(NodeError):
    """The node cannot open a terminal."""

    number, slug = 672, "rescue-failed"
    hint = "Restart the machine into recovery."


class RescueOpenAlready(NodeError):
    """A repair session is open on this node already."""

    number, slug, retryable = 673, "rescue-open", True
    hint = "It ends by itself: wait, or ask who holds it. The node's screen shows it."


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


class KeyNotInMemory(NodeError):
    """The recovery key would have to lie on a disk, so it is not used."""

    number, slug = 618, "key-not-in-memory"
    hint = "/run must be a file system in memory (tmpfs), as systemd makes it."
