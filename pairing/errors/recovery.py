"""Exit 7: back to pairing, and what is wrong with a machine."""

from __future__ import annotations

from pairing.errors.node import NodeError


class ResetRefused(NodeError):
    """This machine is not reset; nothing was changed."""

    number, slug = 655, "reset-refused"
    hint = "The reason is named above; `kairos-node doctor` shows more of the machine."


class ResetUnfinished(NodeError):
    """The reset has begun and is not finished."""

    number, slug, retryable = 656, "reset-unfinished", True
    hint = "Restart the machine: its recovery system goes on with the reset by itself."


class DataNotOpen(NodeError):
    """The data of the installation before cannot be taken over; the disk was not touched."""

    number, slug = 675, "data-not-open"
    hint = (
        "Open it first: `kairos-fleet rescue`, and `kairos-node unlock` with its recovery key."
        " Then register the same photo again."
    )


class NodeUnwell(NodeError):
    """Something on this machine is wrong."""

    number, slug = 657, "node-unwell"
    hint = "Each line that begins with `wrong` is followed by what to do."
