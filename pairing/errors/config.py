"""Exit 3: the config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pairing.errors.base import ExitCode, KnownError

if TYPE_CHECKING:
    from pairing.config.problem import Problem


class ConfigError(KnownError):
    """The config is not valid."""

    number, slug, exit_code = 300, "config-invalid", ExitCode.CONFIG
    hint = "Correct the lines named above; `kairos-fleet validate` checks a file offline."

    def __init__(
        self, detail: str = "", *, element: str = "", problems: Sequence[Problem] = ()
    ) -> None:
        """`problems` are all that were found, each with its line and column."""
        super().__init__(detail or "\n".join(map(str, problems)), element=element)
        self.problems = tuple(problems)


class ConfigTooLarge(ConfigError):
    """The config is larger than 1 MiB, deeper than 32 levels or has too many entries."""

    number, slug = 301, "config-too-large"
    hint = "Move large files out of the config, for example into the image."


class ConfigNotForThisMachine(ConfigError):
    """The config does not fit this machine."""

    number, slug = 302, "config-machine"
    hint = "Compare the config with the hardware shown above."


class AccountKeysUnavailable(ConfigError):
    """The ssh keys of this GitHub account could not be fetched."""

    number, slug, retryable = 303, "account-keys", True
    hint = "Check the account's name and the connection, or write the keys into the config."


class JoinsNothing(ConfigError):
    """The config joins no cluster, so a machine with it is never joined or ready."""

    number, slug = 304, "joins-nothing"
    hint = "Wait for `installed`, or enable k3s, k3s-agent, kubernetes or one of `providers`."
