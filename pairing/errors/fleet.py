"""Exits 2, 3, 9 and 11: the operator's own records of machines, and recipes of images."""

from __future__ import annotations

from pairing.errors.config import ConfigError
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


class RecipeMissing(UsageError):
    """The recipe does not exist or cannot be read."""

    number, slug = 747, "recipe-missing"
    hint = "Name a recipe; examples/images has some, `kairos-fleet image schema` all its keys."


class RecipeInvalid(ConfigError):
    """The recipe is not valid."""

    number, slug = 748, "recipe-invalid"
    hint = "Correct the lines named above; `image build --dry-run` checks without building."


class OutputUnwritable(MissingError):
    """What was made cannot be written there."""

    number, slug = 749, "output-unwritable"
    hint = "Check that the folder is yours, and that some gigabytes are free; name another: --out."
