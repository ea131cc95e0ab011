"""Exits 2, 9 and 11: the operator's own records of machines."""

from __future__ import annotations

from pairing.errors.machine import MissingError
from pairing.errors.usage import UsageError
from pairing.errors.verdict import NotApprovedError


class RecordDamaged(MissingError):
    """What this station has noted about a machine cannot be read."""

    number, slug = 740, "record-damaged"
    hint = "Restore the file from a backup. Deleted, the machine counts as not retired, unlabelled."


class NodeRetired(NotApprovedError):
    """This machine is retired: nothing is opened for it."""

    number, slug = 741, "node-retired"
    hint = "If it is in use again after all: kairos-fleet nodes retire NODE --undo."


class LabelInvalid(UsageError):
    """This is no label."""

    number, slug = 742, "label"
    hint = "Write KEY=VALUE; letters, digits, - _ . inside, at most 63 each: region=north."


class TableInvalid(UsageError):
    """This table cannot be used."""

    number, slug = 743, "table"
    hint = "A CSV file as `kairos-fleet nodes list --output csv` writes it. Nothing was changed."


class ReplacedAlready(UsageError):
    """Another machine has taken this one's place already."""

    number, slug = 744, "replaced-already"
    hint = "Name the one that is in its place now: kairos-fleet nodes list."


class HardwareRetired(NotApprovedError):
    """This hardware was retired here."""

    number, slug = 745, "hardware-retired"
    hint = "Take it back first, kairos-fleet nodes retire NODE --undo, or say --approve yes."


class ConfigForgotten(UsageError):
    """It is not known with which config this machine was registered."""

    number, slug = 746, "config-forgotten"
    hint = "Name it: --config FILE, and --set for each key that was set then."
