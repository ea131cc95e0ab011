"""Every failure that this project can name, in one tree.

A class is one failure. Its docstring's first paragraph is the sentence a person reads;
`hint` says what to do next. `number` is read aloud on the telephone ("E431"), `slug` is for
scripts and documentation. Both are stable and never reused. The same error keeps its number on
both ends: it crosses the wire as its slug and is rebuilt by `from_slug`.

    KnownError
    +-- UsageError            exit 2    the command line
    +-- ConfigError           exit 3    the config file
    +-- PhotoError            exit 4    the picture and the code in it
    +-- UnreachableError      exit 5    no node in time; nothing was released
    +-- NotAuthenticError     exit 6    refused, or not who it should be
    +-- NodeError             exit 7    the node reported a failure
    +-- MissingError          exit 9    this machine lacks something
    +-- NotApprovedError      exit 11   policy or person said no, or must be asked
    +-- NoVerdictError        exit 12   released, but no verdict in time
    +-- LockedError           exit 13   the node is locked
    +-- Interrupted           exit 130  stopped by the person

Anything else that escapes is a bug (exit 1) and says how to report it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pairing.config.problem import Problem


class ExitCode(enum.IntEnum):
    """Exit codes of every command. Documented, tested, never reused (docs/reference)."""

    DONE = 0
    BUG = 1
    USAGE = 2
    CONFIG = 3
    PHOTO = 4
    UNREACHABLE = 5
    NOT_AUTHENTIC = 6
    NODE_FAILED = 7
    BATCH = 8
    MISSING = 9
    NOT_ACKNOWLEDGED = 10
    NOT_APPROVED = 11
    NO_VERDICT = 12
    LOCKED = 13
    INTERRUPTED = 130


class KnownError(Exception):
    """Something went wrong.

    `detail` replaces nothing: it is added after the sentence. `element` names the file, disk,
    node or option concerned. Neither may hold a secret.
    """

    number: ClassVar[int] = 0
    slug: ClassVar[str] = ""
    hint: ClassVar[str] = ""
    exit_code: ClassVar[ExitCode] = ExitCode.BUG
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str = "", *, element: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.element = element

    @property
    def code(self) -> str:
        """The short code that is read aloud, such as `E431`."""
        return f"E{self.number}"

    @property
    def sentence(self) -> str:
        """What happened, in one or two sentences, without the hint."""
        first = (type(self).__doc__ or "").split("\n\n", 1)[0]
        base = " ".join(first.split())
        parts = [f"{self.element}: {base}" if self.element else base, self.detail]
        return " ".join(part for part in parts if part)

    def __str__(self) -> str:
        return self.sentence


def all_errors() -> Iterator[type[KnownError]]:
    """Every error class that has a number, in the order of the numbers."""

    def walk(parent: type[KnownError]) -> Iterator[type[KnownError]]:
        for child in parent.__subclasses__():
            yield child
            yield from walk(child)

    return iter(sorted((e for e in walk(KnownError) if e.number), key=lambda e: e.number))


def from_slug(slug: str, detail: str = "") -> KnownError:
    """The error that the other end named; `PeerSaidUnknown` for a name we do not have."""
    for error in all_errors():
        if error.slug == slug:
            return error(detail)
    return PeerSaidUnknown(detail or slug)


# --- exit 2: the command line -----------------------------------------------------------------


class UsageError(KnownError):
    """The command cannot be understood."""

    number, slug, exit_code = 100, "usage", ExitCode.USAGE
    hint = "Run the command with --help to see examples."


class NoSuchSource(UsageError):
    """This is neither an existing file or folder nor a token."""

    number, slug = 101, "no-such-source"
    hint = "Name a photo, a folder of photos, a token (EP1:...), or - for standard input."


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


# --- exit 3: the config -----------------------------------------------------------------------


class ConfigError(KnownError):
    """The config is not valid. Nothing was sent."""

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
    """The config does not fit this machine. Nothing was sent."""

    number, slug = 302, "config-machine"
    hint = "Compare the config with the hardware shown above."


class AccountKeysUnavailable(ConfigError):
    """The ssh keys of this GitHub account could not be fetched. Nothing was sent."""

    number, slug, retryable = 303, "account-keys", True
    hint = "Check the account's name and the connection, or write the keys into the config."


# --- exit 4: the photo ------------------------------------------------------------------------


class PhotoError(KnownError):
    """No token could be read from this photo."""

    number, slug, exit_code = 200, "photo", ExitCode.PHOTO
    hint = (
        "Ask for a new photo: hold the phone straight before the screen, close enough that the "
        "code fills half the picture."
    )


class NotAPicture(PhotoError):
    """This file is not a picture in a format that is allowed here."""

    number, slug = 201, "photo-format"
    hint = "Send the photo as JPEG, PNG or WebP."


class PictureTooLarge(PhotoError):
    """This picture is larger than 25 MB or 40 megapixels and was not opened."""

    number, slug = 202, "photo-too-large"
    hint = "Send the photo in normal quality, as the messenger does by default."


class NoCodeFound(PhotoError):
    """No QR code was found in this photo."""

    number, slug = 203, "photo-no-code"
    hint = "Ask for a new photo with the whole square code in it, sharp and without reflections."


class CodeUnreadable(PhotoError):
    """A QR code is in this photo but cannot be read."""

    number, slug = 204, "photo-unreadable"
    hint = "Ask for a new photo: closer, held still, without reflections on the screen."


class ForeignCode(PhotoError):
    """The QR code in this photo is not a pairing code."""

    number, slug = 205, "photo-foreign"
    hint = "Ask for a photo of the code on the new machine's own screen."


class SeveralTokens(PhotoError):
    """This photo shows the codes of several machines."""

    number, slug = 206, "photo-several"
    hint = "Ask for one photo per machine, or crop the picture to one screen."


class TokenInvalid(PhotoError):
    """This is not a valid token."""

    number, slug = 207, "token-invalid"
    hint = "Copy the whole text, starting with EP1: and without changes, or take a new photo."


class PhotoWorkerFailed(PhotoError):
    """Reading this picture took too much time or memory and was stopped."""

    number, slug = 208, "photo-worker"
    hint = "Send the photo in normal quality; if it is ordinary, please report it."


# --- exit 5: reaching the node ----------------------------------------------------------------


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


class RelayAddressInvalid(UsageError):
    """This is not the address of a relay."""

    number, slug = 110, "relay-address"
    hint = "Write relay.example, relay.example:8443, [2001:db8::1]:443 or relay.example#sha256=..."


# --- exit 6: refused, or not authentic --------------------------------------------------------


class NotAuthenticError(KnownError):
    """The other end is not who it should be, or refused."""

    number, slug, exit_code = 500, "not-authentic", ExitCode.NOT_AUTHENTIC
    hint = "Stop if you did not expect this; take a fresh photo of the machine's own screen."


class WrongKey(NotAuthenticError):
    """The machine at this address does not hold the key shown in the photo."""

    number, slug = 501, "wrong-key"


class TokenSpent(NotAuthenticError):
    """This code was already used or has expired."""

    number, slug = 502, "token-spent"
    hint = "Ask for a new photo of the screen."


class Taken(NotAuthenticError):
    """Another operator has already claimed this node."""

    number, slug = 503, "taken"
    hint = (
        "Compare the fingerprint with your colleagues'. If nobody knows it, switch the machine off."
    )


class FleetSignatureNeeded(NotAuthenticError):
    """This node belongs to a fleet and accepts only that fleet's operators."""

    number, slug = 504, "fleet-only"
    hint = "Use a station key with a certificate of this fleet: kairos-fleet keys --help."


class CertificateRevoked(NotAuthenticError):
    """This station's certificate has been revoked by its fleet."""

    number, slug = 505, "certificate-revoked"
    hint = "Ask the holder of the fleet key for a new certificate."


class BadProof(NotAuthenticError):
    """The proof of having seen the code does not match."""

    number, slug = 506, "bad-proof"


class Busy(NotAuthenticError):
    """The node is busy with too many callers."""

    number, slug, retryable = 507, "busy", True
    hint = "Try again in a minute."


class ProtocolBroken(NotAuthenticError):
    """The other end sent something that the protocol does not allow."""

    number, slug = 508, "protocol"
    hint = "Check that both ends have the same version; otherwise please report it."


class PeerSaidUnknown(NotAuthenticError):
    """The other end stopped with a reason that this version does not know."""

    number, slug = 509, "unknown-reason"
    hint = "Update this program."


class WordsDiffer(NotAuthenticError):
    """The words on the two screens are not the same."""

    number, slug = 510, "words-differ"
    hint = "Do not go on: somebody may be in between. Restart the machine and take a new photo."


# --- exit 7: the node failed ------------------------------------------------------------------


class NodeError(KnownError):
    """The node reported a failure."""

    number, slug, exit_code = 600, "node-failed", ExitCode.NODE_FAILED
    hint = "The step and the end of its log are shown above."


class ConfigRefusedByNode(NodeError):
    """The node refused the config."""

    number, slug = 601, "node-config-refused"
    hint = "Both ends check by the same rules: update the older one if the operator's check passed."


class EscrowNotAcknowledged(NodeError):
    """The recovery key was not acknowledged in time; the disk was not touched."""

    number, slug, retryable = 602, "escrow-not-acknowledged", True
    hint = "Run the same command again."


class StepFailed(NodeError):
    """A step of the installation failed."""

    number, slug = 603, "step-failed"


class JournalDamaged(NodeError):
    """The node's journal was changed or is damaged, so it is not known what was done.

    A line that was cut off at the end is no damage.
    """

    number, slug = 604, "journal-damaged"
    hint = "Restart the machine from the stick to begin again; report it if it happens twice."


class JournalUnwritable(NodeError):
    """The node's journal cannot be read or stored."""

    number, slug = 605, "journal-unwritable"
    hint = "Check that the folder exists, is writable and is not full."


class StepUnsupported(NodeError):
    """The node cannot carry out a step of the plan; nothing was changed."""

    number, slug = 606, "step-unsupported"
    hint = "Use a newer image, or run with --dry-run."


# --- exit 9: this machine lacks something -----------------------------------------------------


class MissingError(KnownError):
    """Something is missing on this machine."""

    number, slug, exit_code = 700, "missing", ExitCode.MISSING
    hint = "Run `kairos-fleet doctor`."


class TransportMissing(MissingError):
    """The peer-to-peer library (libp2p) is not installed."""

    number, slug = 701, "libp2p-missing"
    hint = "Run `make install` in the source folder: it installs libp2p from the lock file."


class CommandMissing(MissingError):
    """A program that is needed here is not installed."""

    number, slug = 702, "command-missing"


class CommandFailed(MissingError):
    """A program failed."""

    number, slug = 703, "command-failed"
    hint = "The end of what it printed is shown above."


class CommandTimeout(MissingError):
    """A program did not finish in time and was stopped."""

    number, slug = 704, "command-timeout"
    hint = "Try again; if it happens twice, the machine or its disk is too slow or broken."


class MixedInstallation(MissingError):
    """The packages pairing, node and cli come from different installations."""

    number, slug = 705, "mixed-installation"
    hint = "Install this project in an environment of its own, which nothing else shares."


class PortTaken(MissingError):
    """The network port that this node listens on cannot be used."""

    number, slug = 706, "port-taken"
    hint = "Another program uses it: stop that program, or choose another port."


class SettingsInvalid(MissingError):
    """The node's own settings cannot be read, so it does not pair with anybody."""

    number, slug = 707, "node-settings"
    hint = "Correct the file on the stick, or write the stick again."


class KeyFolderUnsafe(MissingError):
    """Other people on this machine can read or change the keys, so they are not used."""

    number, slug = 720, "keys-unsafe"
    hint = "Give them to you alone: chmod 700 for the folder, chmod 600 for the files in it."


class KeyFileInvalid(MissingError):
    """This key or certificate cannot be used."""

    number, slug = 721, "key-file"
    hint = "Restore it from a backup, or name another folder with --keys."


class KeyMissing(MissingError):
    """This key is not in the key folder."""

    number, slug = 722, "key-missing"
    hint = "Make it: kairos-fleet keys --help."


class StoreUnwritable(MissingError):
    """The operator's records cannot be stored on this machine."""

    number, slug = 723, "store-unwritable"
    hint = "Check that the folder exists, is yours and is not full."


# --- exit 11, 12, 13 --------------------------------------------------------------------------


class NotApprovedError(KnownError):
    """This node was not approved, so nothing was released."""

    number, slug, exit_code = 800, "not-approved", ExitCode.NOT_APPROVED
    hint = "Look at the hardware shown above, then run again with --device or --approve."


class DiskNotChosen(NotApprovedError):
    """The config leaves the choice of the disk open, and there is not exactly one empty disk."""

    number, slug = 801, "disk-not-chosen"
    hint = "Name the disk: --device /dev/disk/by-id/..., or install.device in the config."


class PolicyUnmet(NotApprovedError):
    """No rule of the policy approves this node."""

    number, slug = 802, "policy-unmet"
    hint = "Compare the hardware shown above with the policy file."


class MustBeAsked(NotApprovedError):
    """A person must approve this node, and there is no terminal to ask on."""

    number, slug = 803, "must-be-asked"
    hint = "Run it on a terminal, or say --approve yes or --approve POLICY.yaml."


class PersonRefused(NotApprovedError):
    """You refused this node."""

    number, slug = 804, "person-refused"
    hint = "The machine shows a new code in two minutes."


class NoVerdictError(KnownError):
    """The config was released, but no verdict came in time."""

    number, slug, exit_code, retryable = 810, "no-verdict", ExitCode.NO_VERDICT, True
    hint = "Run the same command again to resume and see how it ended."


class LockedError(KnownError):
    """The node is locked: its disk does not open."""

    number, slug, exit_code = 820, "locked", ExitCode.LOCKED
    hint = "Open it with `kairos-fleet recover`."


# --- exit 130 -----------------------------------------------------------------------------------


class Interrupted(KnownError):
    """Stopped on request."""

    number, slug, exit_code = 900, "interrupted", ExitCode.INTERRUPTED
    hint = "Run the same command again to go on."
