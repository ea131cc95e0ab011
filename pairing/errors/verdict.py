"""Exits 11, 12, 13 and 130: how a registration ended without a verdict of success."""

from __future__ import annotations

from pairing.errors.base import ExitCode, KnownError


class NotApprovedError(KnownError):
    """This node was not approved, so nothing was released."""

    number, slug, exit_code = 800, "not-approved", ExitCode.NOT_APPROVED
    hint = "Look at the hardware shown above, then run again with --device or --approve."


class DiskNotChosen(NotApprovedError):
    """The config leaves the choice of the disk open, and there is not exactly one empty disk."""

    number, slug = 801, "disk-not-chosen"
    hint = "Name the disk: --device /dev/disk/by-id/..., or install.device in the config."


class PolicyUnmet(NotApprovedError):
    """No rule of the policy approves this node."""

    number, slug = 802, "policy-unmet"
    hint = "Compare the hardware shown above with the policy file."


class MustBeAsked(NotApprovedError):
    """A person must approve this node, and there is no terminal to ask on."""

    number, slug = 803, "must-be-asked"
    hint = "Run it on a terminal, or say --approve yes or --approve POLICY.yaml."


class PersonRefused(NotApprovedError):
    """You refused this node."""

    number, slug = 804, "person-refused"
    hint = "The machine shows a new code in two minutes."


class NoVerdictError(KnownError):
    """The config was released, but no verdict came in time."""

    number, slug, exit_code, retryable = 810, "no-verdict", ExitCode.NO_VERDICT, True
    hint = "Run the same command again to resume and see how it ended."


class RestartedAfterRelease(NoVerdictError):
    """The config was released, but the node restarted before it wrote and now shows a new code."""

    number, slug = 811, "restarted-after-release"
    hint = "Ask for a new photo of the screen."


class LockedError(KnownError):
    """The node is locked: its disk does not open."""

    number, slug, exit_code = 820, "locked", ExitCode.LOCKED
    hint = "Open it with `kairos-fleet recover`."


class UnlockFailed(LockedError):
    """What was sent does not open the node's volumes."""

    number, slug = 827, "unlock-failed"
    hint = "Check that the escrow record is this node's latest: kairos-fleet nodes show NODE."


class EscrowKeyMissing(LockedError):
    """None of this machine's escrow keys opens the node's recovery key."""

    number, slug = 828, "escrow-key-missing"
    hint = "Run it where the private escrow key is, or name its folder with --keys."


class Interrupted(KnownError):
    """Stopped on request."""

    number, slug, exit_code = 900, "interrupted", ExitCode.INTERRUPTED
    hint = "Run the same command again to go on."
