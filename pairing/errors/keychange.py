"""Exit 7: what goes wrong while an installed machine changes the keys of its volumes."""

from __future__ import annotations

from pairing.errors.node import NodeError


class NoSuchKeys(NodeError):
    """The machine's volumes have no keys of the kind that was to be changed."""

    number, slug = 648, "no-such-keys"
    hint = (
        "What opens a disk is chosen when it is installed: install the machine again to change it."
    )


class KeysUnchanged(NodeError):
    """Not all keys could be changed; a recovery key that you hold opens the disk all the same."""

    number, slug, retryable = 649, "keys-unchanged", True
    hint = "Run the same command again: it begins anew and removes what is left over."


class StartNotPure(NodeError):
    """This start had kernel words, credentials or add-ons from outside the image.

    A disk that is bound to such a start opens for whoever gives the same words.
    """

    number, slug = 650, "start-not-pure"
    hint = "Find out who added them, start the machine without them, then --reenroll."


class BindingNotProved(NodeError):
    """The TPM was given the key of the disk, but would not open it at the next start."""

    number, slug, retryable = 651, "binding-not-proved", True
    hint = "Restart the machine, open it with `kairos-fleet recover`, and --reenroll once more."
