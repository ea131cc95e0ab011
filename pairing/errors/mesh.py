"""What goes wrong with a running network of Kairos, and with its repair sessions."""

from __future__ import annotations

from pairing.errors.base import ExitCode, KnownError
from pairing.errors.photo import PhotoError
from pairing.errors.reach import UnreachableError
from pairing.errors.trust import NotAuthenticError

__all__ = [
    "MeshHoldsNone",
    "MeshNobody",
    "MeshNotConfirmed",
    "MeshTokenMissing",
    "MeshValueBroken",
    "RecoveryCodeInvalid",
    "RecoveryMissing",
    "RecoveryPasswordRefused",
]


class RecoveryCodeInvalid(PhotoError):
    """This is not the code that a Kairos machine shows in recovery mode."""

    number, slug = 260, "recovery-code-invalid"
    hint = (
        "Photograph the code of the recovery screen. A machine of ours is repaired without "
        "--kairos; a code that is shown before an installation is for kairos-register."
    )


class MeshTokenMissing(PhotoError):
    """There is no network token here."""

    number, slug = 261, "mesh-token-missing"
    hint = (
        "Name a file that holds it, bare or as p2p.network_token of a config, or - for standard "
        "input."
    )


class MeshNobody(UnreachableError):
    """No member of the network was heard in time. Nothing was written."""

    number, slug = 460, "mesh-nobody"
    hint = (
        "Check the token, that a node of the network runs, and that it can be reached: the same "
        "LAN with multicast, or shared bootstrap peers (--bootstrap). A token that rotates needs "
        "the right time on both ends."
    )


class MeshHoldsNone(UnreachableError):
    """The network was reached, but its ledger does not hold this yet."""

    number, slug = 461, "mesh-holds-none"
    hint = (
        "`kairos-fleet mesh roles` shows whether there is a control plane; it publishes its "
        "kubeconfig when Kubernetes runs. Look at --network-id too."
    )


class RecoveryMissing(UnreachableError):
    """No machine offers the repair session of this code."""

    number, slug = 462, "recovery-missing"
    hint = "Check that the machine is in recovery mode and still shows this very code."


class MeshValueBroken(NotAuthenticError):
    """What the network's ledger holds here is not what a node of Kairos writes; it is not used."""

    number, slug = 560, "mesh-value-broken"
    hint = (
        "Whoever has the network token can write this. Find out who did, and give the nodes a new "
        "token if it may be in strange hands."
    )


class RecoveryPasswordRefused(NotAuthenticError):
    """The machine did not accept the password of this code."""

    number, slug = 561, "recovery-password"
    hint = "The code is of an earlier start, or somebody else answers. Take a new photo."


class MeshNotConfirmed(KnownError):
    """The role was written, but nobody in the network was seen to have taken it over."""

    number, slug, exit_code = 860, "mesh-not-confirmed", ExitCode.NOT_ACKNOWLEDGED
    hint = "`kairos-fleet mesh roles` shows what the network holds now. Repeating it does no harm."
