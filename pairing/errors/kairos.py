"""What goes wrong over Kairos' own protocol; each class has the exit code of its family.

Add new names to `__all__` here: `pairing.errors` takes them from it.
"""

from __future__ import annotations

from pairing.errors.base import ExitCode, KnownError
from pairing.errors.config import ConfigError
from pairing.errors.photo import PhotoError
from pairing.errors.reach import UnreachableError
from pairing.errors.trust import NotAuthenticError
from pairing.errors.verdict import NoVerdictError

__all__ = [
    "KairosConfigTooLarge",
    "KairosDiskNotNamed",
    "KairosIntruder",
    "KairosNoAnswer",
    "KairosNobodyCame",
    "KairosNotAcknowledged",
    "KairosPayloadInvalid",
    "KairosSecretsRefused",
    "NetworkTokenInvalid",
]


class NetworkTokenInvalid(PhotoError):
    """This is not a valid network token of Kairos."""

    number, slug = 250, "network-token-invalid"
    hint = "Copy the whole text without changes, or take a new photo of the whole code."


class KairosConfigTooLarge(ConfigError):
    """The config is larger than 256 KiB, too large for Kairos' own protocol. Nothing was sent."""

    number, slug = 350, "kairos-config-too-large"
    hint = "Move large files out of the config, for example into the image."


class KairosSecretsRefused(ConfigError):
    """The config holds secrets, and whoever has the photo can read it on Kairos' protocol."""

    number, slug = 351, "kairos-secrets"
    hint = "Take them out of the config, or accept that with --allow-secrets."


class KairosDiskNotNamed(ConfigError):
    """Nothing says which disk the node shall install to, and Kairos' protocol shows no hardware."""

    number, slug = 352, "kairos-disk"
    hint = "Name the disk: --device /dev/..., or install.device in the config."


class KairosPayloadInvalid(ConfigError):
    """What arrived over Kairos' own protocol is no config."""

    number, slug = 353, "kairos-payload"
    hint = "Send it with `kairosctl register` or `kairos-register --kairos`, and the new code."


class KairosNobodyCame(UnreachableError):
    """Nobody came over Kairos' own protocol in time. Nothing was sent."""

    number, slug = 450, "kairos-nobody"
    hint = (
        "Check that the machine is on and still shows this code, and that both ends are on the "
        "same network (multicast allowed) or share bootstrap peers (--bootstrap)."
    )


class KairosIntruder(NotAuthenticError):
    """Somebody else takes part with this code, so the pairing was stopped."""

    number, slug = 550, "kairos-intruder"
    hint = (
        "Restart the machine: it shows a new code. Send that photo to nobody else. If something "
        "was sent before, change what the config gave access to. An attempt of your own that was "
        "killed looks the same."
    )


class KairosNotAcknowledged(KnownError):
    """The config was delivered, but the node did not acknowledge it."""

    number, slug, exit_code = 840, "not-acknowledged", ExitCode.NOT_ACKNOWLEDGED
    hint = (
        "Look at the machine: it most likely installs (a Kairos node can leave before its answer "
        "is out). If it still shows this code, run the same command again."
    )


class KairosNoAnswer(NoVerdictError):
    """The config was sent over Kairos' own protocol, but nothing shows that it arrived."""

    number, slug, retryable = 841, "kairos-no-answer", False
    hint = (
        "Look at the machine: does it install? If it still shows this code, restart it and send "
        "to the new code."
    )
