"""Exit 7 as well: the system is installed, and its cluster does not take it."""

from __future__ import annotations

from pairing.errors.node import NodeError


class JoinFailed(NodeError):
    """The machine could not join its cluster."""

    number, slug = 660, "join-failed"
    hint = "The machine itself is installed and running."


class JoinUnreachable(JoinFailed):
    """The cluster's server did not answer in time."""

    number, slug, retryable = 661, "join-unreachable", True
    hint = "Check the server's address in the config, and that the shop's network lets it through."


class JoinTokenRefused(JoinFailed):
    """The cluster does not accept the token: it is wrong, or has expired."""

    number, slug = 662, "join-token"
    hint = "Make a new token in the cluster and register the machine with it."


class JoinCaMismatch(JoinFailed):
    """The server is not the one of the config: its certificate is not of the named authority."""

    number, slug = 663, "join-ca"
    hint = "Compare the authority in the config with the cluster's; the token was not sent."


class JoinNotSigned(JoinFailed):
    """The cluster did not sign the machine's certificate."""

    number, slug = 664, "join-not-signed"
    hint = "Look at its certificate requests: kubectl get csr."


class JoinForbidden(JoinFailed):
    """The cluster knows this machine, but does not allow it what joining needs."""

    number, slug = 665, "join-forbidden"
    hint = "Give the token's group the roles of node bootstrapping, or free the machine's name."


class JoinNotReady(JoinFailed):
    """The machine joined, but did not become Ready in time."""

    number, slug, retryable = 666, "join-not-ready", True
    hint = "The reason that the cluster gives is shown above: kubectl describe node."


class JoinAnswerUnknown(JoinFailed):
    """The server's answer is not that of a cluster."""

    number, slug = 667, "join-answer"
    hint = "Check that the address in the config is the API server, not a page before it."


class JoinProgramMissing(JoinFailed):
    """The image lacks a program that joining needs."""

    number, slug = 668, "join-program"
    hint = "Name it in the image's recipe (units: `flavour: standard`) and build the image again."


class MeetingFailed(JoinFailed):
    """What the config says about meeting did not come up: a relay, or a name in the LAN."""

    number, slug, retryable = 709, "meeting-failed", True
    hint = "The end of its log is shown above. Another program may have the relay's port."


class JoinClockWrong(JoinFailed):
    """By this machine's clock the server's certificate is not valid now."""

    number, slug, retryable = 669, "join-clock", True
    hint = "Set the machine's clock, or let it reach a time server; or renew the certificate."
