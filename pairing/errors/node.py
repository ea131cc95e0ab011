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


class StartUnknown(NodeError):
    """It is not known what the start of the installed system came to: it counts as locked."""

    number, slug = 609, "start-unknown"
    hint = "Look at its screen and its log; start it again, or start its recovery system."


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


class ProtectionMissing(NodeError):
    """The disk is written, but not protected as the config asks."""

    number, slug = 674, "protection-missing"
    hint = "Do not use this machine as it is; please report it with the machine's facts."


class BootIncomplete(NodeError):
    """The volumes are open, but a part of the start failed."""

    number, slug = 638, "boot-incomplete"
    hint = "The part that failed is named; `kairos-node doctor` on the machine shows more."


class StartUnhealthy(NodeError):
    """This start of the system is not good."""

    number, slug = 620, "start-unhealthy"
    hint = "On trial the machine starts again by itself, and goes back to the version before."


class UpgradeFailed(NodeError):
    """The upgrade failed; the version that runs stays as it is."""

    number, slug, retryable = 636, "upgrade-failed", True
    hint = "Run the same command again; if it happens twice, the source or the disk is broken."


class UpgradeFellBack(NodeError):
    """A version was not good on this machine; with its tries used up the one before runs."""

    number, slug = 678, "upgrade-fell-back"
    hint = "`kairos-node state` on it shows why. Try a newer version; the data was not touched."


class KernelUnfit(NodeError):
    """The new version's kernel would not do on this machine; nothing was changed."""

    number, slug = 679, "kernel-unfit"
    hint = "Build the update with the keys of the image that runs here (`--image-keys`)."


class UpgradeRefused(NodeError):
    """This upgrade is not done; nothing was changed."""

    number, slug = 639, "upgrade-refused"
    hint = "`kairos-node state` shows what is installed and what is on trial."
