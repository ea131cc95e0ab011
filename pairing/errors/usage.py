"""Exit 2: the command line."""

from __future__ import annotations

from pairing.errors.base import ExitCode, KnownError


class UsageError(KnownError):
    """The command line is incomplete or wrong."""

    number, slug, exit_code = 100, "usage", ExitCode.USAGE
    hint = "Run the command with --help to see examples."


class NoSuchSource(UsageError):
    """This is neither an existing file or folder nor a token."""

    number, slug = 101, "no-such-source"
    hint = "Name a photo, a folder of photos, a token (EP1:...), or - for standard input."


class NativeCode(UsageError):
    """This is a code of our own protocol, which --kairos does not speak."""

    number, slug = 106, "not-kairos"
    hint = "Leave --kairos out: our own protocol protects more. Nothing was sent."


class ConfigFileMissing(UsageError):
    """The config file does not exist or cannot be read."""

    number, slug = 102, "config-file-missing"
    hint = "Check the path given to --config. Nothing was sent."


class MachineFileInvalid(UsageError):
    """The recorded machine cannot be read."""

    number, slug = 103, "machine-file"
    hint = "Name a JSON file as `kairos-node facts --output json` writes it."


class PolicyFileInvalid(UsageError):
    """The approval policy cannot be read."""

    number, slug = 104, "policy-file"
    hint = "A policy is a YAML file with `rules:`; the reference shows one. Nothing was sent."


class RelayAddressInvalid(UsageError):
    """This is not the address of a relay."""

    number, slug = 110, "relay-address"
    hint = "Write relay.example, relay.example:8443, [2001:db8::1]:443 or relay.example#sha256=..."


class BootstrapInvalid(UsageError):
    """This is not the address of a bootstrap peer."""

    number, slug = 109, "bootstrap-address"
    hint = "Write /ip4/192.0.2.7/tcp/4001/p2p/12D3Koo..., or `public` for the public list."


class NodeUnknown(UsageError):
    """This station has no record of such a machine."""

    number, slug = 105, "node-unknown"
    hint = "`kairos-fleet nodes list` shows those it has; another station may know it."
