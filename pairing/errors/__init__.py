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

from collections.abc import Iterator

from pairing.errors.base import ExitCode, KnownError
from pairing.errors.cluster import JoinSettingsIncomplete, JoinTimeout, ProviderBroken
from pairing.errors.config import (
    AccountKeysUnavailable,
    ConfigError,
    ConfigNotForThisMachine,
    ConfigTooLarge,
    JoinsNothing,
)
from pairing.errors.fleet import (
    ConfigForgotten,
    HardwareRetired,
    LabelInvalid,
    NodeRetired,
    OutputUnwritable,
    RecipeInvalid,
    RecipeMissing,
    RecordDamaged,
    ReplacedAlready,
    TableInvalid,
)
from pairing.errors.install import (
    BootEntriesRefused,
    DiskBusy,
    DiskIncomplete,
    ImageMissing,
    ImageTampered,
    KeyNotInMemory,
    KeyNotProved,
    PolicyKeyMissing,
    TangUnusable,
    TpmUnusable,
)
from pairing.errors.joining import (
    JoinAnswerUnknown,
    JoinCaMismatch,
    JoinClockWrong,
    JoinFailed,
    JoinForbidden,
    JoinNotReady,
    JoinNotSigned,
    JoinProgramMissing,
    JoinTokenRefused,
    JoinUnreachable,
    MeetingFailed,
)
from pairing.errors.keychange import (
    BindingNotProved,
    KeysUnchanged,
    NoSuchKeys,
    StartNotPure,
)
from pairing.errors.locked import (
    ApprovalNeeded,
    BootWordsChanged,
    FirmwareChanged,
    HeaderDamaged,
    ImageForeign,
    KeyNeeded,
    SealedOff,
    TangUnreachable,
    TpmForeign,
    TpmMissing,
    TpmRefuses,
    VolumesForeign,
)
from pairing.errors.machine import (
    BaseUnsuitable,
    CommandFailed,
    CommandMissing,
    CommandTimeout,
    DigestWrong,
    ImageKeysMissing,
    KeyFileInvalid,
    KeyFolderUnsafe,
    KeyMissing,
    MissingError,
    MixedInstallation,
    PortTaken,
    ProgramNotFetched,
    SettingsInvalid,
    SourceMissing,
    SourceUnreadable,
    StoreUnwritable,
    TransportMissing,
)
from pairing.errors.node import (
    BootIncomplete,
    ConfigRefusedByNode,
    EscrowNotAcknowledged,
    JournalDamaged,
    JournalUnwritable,
    KernelUnfit,
    NodeError,
    ProtectionMissing,
    RescueCut,
    RescueFailed,
    RescueOpenAlready,
    RescueTimeUp,
    StartUnhealthy,
    StartUnknown,
    StepFailed,
    StepUnsupported,
    TenancyDamaged,
    TenancyUnwritable,
    UpgradeFailed,
    UpgradeFellBack,
    UpgradeRefused,
)
from pairing.errors.photo import (
    CodeUnreadable,
    ForeignCode,
    NoCodeFound,
    NotAPicture,
    PhotoError,
    PhotoWorkerFailed,
    PictureTooLarge,
    SeveralTokens,
    TokenInvalid,
)
from pairing.errors.reach import (
    ConnectionLost,
    NodeRestarted,
    PhaseTimeout,
    ProxyRefused,
    RelayAccess,
    RelayBusy,
    RelayCertificate,
    RelayFull,
    RelayNobody,
    RelayRefused,
    RelayUnreachable,
    UnreachableError,
)
from pairing.errors.recovery import DataNotOpen, NodeUnwell, ResetRefused, ResetUnfinished
from pairing.errors.stages import (
    AccountInvalid,
    CommandUnsuccessful,
    KeyNotExecuted,
    PathRefused,
    StageIncomplete,
)
from pairing.errors.trust import (
    AuditBroken,
    BadProof,
    Busy,
    CertificateRevoked,
    EkUncertified,
    EkUnproved,
    FleetSignatureNeeded,
    NotAuthenticError,
    PeerSaidUnknown,
    ProtocolBroken,
    RescueRefused,
    Taken,
    TokenSpent,
    WordsDiffer,
    WrongKey,
)
from pairing.errors.usage import (
    ConfigFileMissing,
    MachineFileInvalid,
    NodeUnknown,
    NoSuchSource,
    PolicyFileInvalid,
    RelayAddressInvalid,
    UsageError,
)
from pairing.errors.verdict import (
    DiskNotChosen,
    EscrowKeyMissing,
    Interrupted,
    LockedError,
    MustBeAsked,
    NotApprovedError,
    NoVerdictError,
    PersonRefused,
    PolicyUnmet,
    UnlockFailed,
)

__all__ = [
    "AccountInvalid",
    "AccountKeysUnavailable",
    "ApprovalNeeded",
    "AuditBroken",
    "BadProof",
    "BaseUnsuitable",
    "BindingNotProved",
    "BootEntriesRefused",
    "BootIncomplete",
    "BootWordsChanged",
    "Busy",
    "CertificateRevoked",
    "CodeUnreadable",
    "CommandFailed",
    "CommandMissing",
    "CommandTimeout",
    "CommandUnsuccessful",
    "ConfigError",
    "ConfigFileMissing",
    "ConfigForgotten",
    "ConfigNotForThisMachine",
    "ConfigRefusedByNode",
    "ConfigTooLarge",
    "ConnectionLost",
    "DataNotOpen",
    "DigestWrong",
    "DiskBusy",
    "DiskIncomplete",
    "DiskNotChosen",
    "EkUncertified",
    "EkUnproved",
    "EscrowKeyMissing",
    "EscrowNotAcknowledged",
    "ExitCode",
    "FirmwareChanged",
    "FleetSignatureNeeded",
    "ForeignCode",
    "HardwareRetired",
    "HeaderDamaged",
    "ImageForeign",
    "ImageKeysMissing",
    "ImageMissing",
    "ImageTampered",
    "Interrupted",
    "JoinAnswerUnknown",
    "JoinCaMismatch",
    "JoinClockWrong",
    "JoinFailed",
    "JoinForbidden",
    "JoinNotReady",
    "JoinNotSigned",
    "JoinProgramMissing",
    "JoinSettingsIncomplete",
    "JoinTimeout",
    "JoinTokenRefused",
    "JoinUnreachable",
    "JoinsNothing",
    "JournalDamaged",
    "JournalUnwritable",
    "KernelUnfit",
    "KeyFileInvalid",
    "KeyFolderUnsafe",
    "KeyMissing",
    "KeyNeeded",
    "KeyNotExecuted",
    "KeyNotInMemory",
    "KeyNotProved",
    "KeysUnchanged",
    "KnownError",
    "LabelInvalid",
    "LockedError",
    "MachineFileInvalid",
    "MeetingFailed",
    "MissingError",
    "MixedInstallation",
    "MustBeAsked",
    "NoCodeFound",
    "NoSuchKeys",
    "NoSuchSource",
    "NoVerdictError",
    "NodeError",
    "NodeRestarted",
    "NodeRetired",
    "NodeUnknown",
    "NodeUnwell",
    "NotAPicture",
    "NotApprovedError",
    "NotAuthenticError",
    "OutputUnwritable",
    "PathRefused",
    "PeerSaidUnknown",
    "PersonRefused",
    "PhaseTimeout",
    "PhotoError",
    "PhotoWorkerFailed",
    "PictureTooLarge",
    "PolicyFileInvalid",
    "PolicyKeyMissing",
    "PolicyUnmet",
    "PortTaken",
    "ProgramNotFetched",
    "ProtectionMissing",
    "ProtocolBroken",
    "ProviderBroken",
    "ProxyRefused",
    "RecipeInvalid",
    "RecipeMissing",
    "RecordDamaged",
    "RelayAccess",
    "RelayAddressInvalid",
    "RelayBusy",
    "RelayCertificate",
    "RelayFull",
    "RelayNobody",
    "RelayRefused",
    "RelayUnreachable",
    "ReplacedAlready",
    "RescueCut",
    "RescueFailed",
    "RescueOpenAlready",
    "RescueRefused",
    "RescueTimeUp",
    "ResetRefused",
    "ResetUnfinished",
    "SealedOff",
    "SettingsInvalid",
    "SeveralTokens",
    "SourceMissing",
    "SourceUnreadable",
    "StageIncomplete",
    "StartNotPure",
    "StartUnhealthy",
    "StartUnknown",
    "StepFailed",
    "StepUnsupported",
    "StoreUnwritable",
    "TableInvalid",
    "Taken",
    "TangUnreachable",
    "TangUnusable",
    "TenancyDamaged",
    "TenancyUnwritable",
    "TokenInvalid",
    "TokenSpent",
    "TpmForeign",
    "TpmMissing",
    "TpmRefuses",
    "TpmUnusable",
    "TransportMissing",
    "UnlockFailed",
    "UnreachableError",
    "UpgradeFailed",
    "UpgradeFellBack",
    "UpgradeRefused",
    "UsageError",
    "VolumesForeign",
    "WordsDiffer",
    "WrongKey",
    "all_errors",
    "from_slug",
    "locked",
]


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


def locked(code: str, text: str) -> KnownError:
    """Why a node is locked, by the slug that it gave; the plain `LockedError` for any other."""
    named = from_slug(code, text)
    return named if isinstance(named, LockedError) else LockedError(text)
