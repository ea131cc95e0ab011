"""Exit 7: the config could not be applied on the installed system."""

from __future__ import annotations

from pairing.errors.node import NodeError


class StageIncomplete(NodeError):
    """Parts of the config could not be applied on the installed machine."""

    number, slug = 640, "stage-incomplete"
    hint = "Each part is named above; correct the config. Everything else was applied."


class PathRefused(NodeError):
    """The config may not write there."""

    number, slug = 641, "path-refused"
    hint = "Write below /etc, /srv, /var, /home, /usr/local or /run."


class AccountInvalid(NodeError):
    """A user of the config cannot be made as asked."""

    number, slug = 642, "account-invalid"
    hint = "Correct the user in the config."


class CommandUnsuccessful(NodeError):
    """A command of the config failed."""

    number, slug = 643, "command-unsuccessful"
    hint = "The end of what it printed is shown, without secrets."


class KeyNotExecuted(NodeError):
    """A key of the config is not known here, so it was not applied."""

    number, slug = 644, "key-not-executed"
    hint = "Remove it, or look for its name in docs/reference."
