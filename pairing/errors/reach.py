"""Exit 5: reaching the node, directly or through a relay."""

from __future__ import annotations

from pairing.errors.base import ExitCode, KnownError


class UnreachableError(KnownError):
    """The node was not reached in time. Nothing was released."""

    number, slug, exit_code, retryable = 400, "unreachable", ExitCode.UNREACHABLE, True
    hint = (
        "Check that the machine is on and still shows this code, and that a network path exists "
        "(same LAN or a relay)."
    )


class ConnectionLost(UnreachableError):
    """The connection to the other end was lost."""

    number, slug = 401, "connection-lost"


class NodeRestarted(UnreachableError):
    """The node restarted before it wrote to its disk and now shows a new code."""

    number, slug = 402, "node-restarted"
    hint = "Ask for a new photo of the screen."


class PhaseTimeout(UnreachableError):
    """The other end did not answer in time."""

    number, slug = 403, "phase-timeout"


class RelayUnreachable(UnreachableError):
    """The relay cannot be reached."""

    number, slug = 404, "relay-unreachable"
    hint = "Check the relay's address, and the proxy settings if this network needs one."


class RelayNobody(UnreachableError):
    """No node waits at the relay under this code."""

    number, slug = 410, "relay-nobody"
    hint = "Check that the machine is on, still shows this code, and has a way to this relay."


class RelayBusy(UnreachableError):
    """Somebody else is talking to this node through the relay."""

    number, slug = 411, "relay-busy"
    hint = "Try again in a minute."


class RelayFull(UnreachableError):
    """The relay is at a limit and takes no more connections."""

    number, slug = 412, "relay-full"
    hint = "Try again in a minute; whoever runs the relay can raise its limits."


class RelayAccess(UnreachableError):
    """The relay asks for an access token and did not accept ours."""

    number, slug, retryable = 413, "relay-access", False
    hint = "Ask whoever runs the relay for its access token."


class RelayRefused(UnreachableError):
    """The relay refused the connection."""

    number, slug = 414, "relay-refused"
    hint = "Check that both ends and the relay have the same version; otherwise please report it."


class RelayCertificate(UnreachableError):
    """The relay's certificate cannot be trusted."""

    number, slug, retryable = 415, "relay-certificate", False
    hint = (
        "Check the relay's name, this machine's clock and the CA file;"
        " an address with #sha256=... (printed by `kairos-fleet relay`) needs none of them."
    )


class ProxyRefused(UnreachableError):
    """The HTTP proxy did not let us through to the relay."""

    number, slug, retryable = 416, "proxy-refused", False
    hint = "Check HTTPS_PROXY and NO_PROXY, and that the proxy allows CONNECT to the relay's port."
