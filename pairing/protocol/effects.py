"""What a state machine asks its driver to do. Data only; the drivers are in `pairing.session`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pairing import errors
from pairing.events import Event, State
from pairing.protocol.messages import EscrowRecord, Manifest, VolumeProof
from pairing.protocol.requests import Task, UnlockKind
from pairing.protocol.terms import KnownLease, Way
from pairing.protocol.tpmproof import EkProof
from pairing.protocol.wire import AsideMessage, Message


@dataclass(frozen=True, slots=True)
class Send:
    """Send `message` on connection `conn` (an operator has only connection 0)."""

    message: Message
    conn: int = 0


@dataclass(frozen=True, slots=True)
class Close:
    """Close a connection, after what was sent before."""

    conn: int = 0


# --- of a node --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changed:
    """State, token or progress changed: draw the screen again."""


@dataclass(frozen=True, slots=True)
class Announce:
    """Be found under these rendezvous labels from now on."""

    labels: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class CheckConfig:
    """Check the config and plan; answer with `planned` or `config_refused`."""

    manifest: Manifest
    config: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Install:
    """Begin after `delay` seconds, in which somebody at the machine may call `abort`."""

    manifest: Manifest
    delay: float


@dataclass(frozen=True, slots=True)
class EscrowKept:
    """The operator has the recovery key on its disk."""


@dataclass(frozen=True, slots=True)
class Remember:
    """Store the lease, if it is stored at all, before the effects behind this one: what an
    operator has heard must not be numbered anew after a power cut."""


@dataclass(frozen=True, slots=True)
class Aside:
    """The lease's holder says something that is not about the pairing, on connection `conn`."""

    message: AsideMessage
    conn: int


@dataclass(frozen=True, slots=True)
class TryUnlock:
    """Open the volumes with this; answer with `unlocked` or `unlock_failed`."""

    kind: UnlockKind
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CarryOut:
    """Change the keys of the volumes; answer with `carried_out`.

    `escrow`: who a new recovery key is sealed to; `recovery`: the present one, or empty.
    """

    task: Task
    escrow: tuple[bytes, ...]
    recovery: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """The volumes are open: leave this session, go on as an installed node."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The operator has seen the verdict."""


# --- of an operator ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NodeView:
    """What the operator knows of a node when it decides."""

    node: bytes
    trust: str
    words: tuple[str, ...]
    facts: Mapping[str, Any]
    path: str
    resumed: bool
    ek: EkProof | None = None
    """What its TPM proved; None on a machine that says it has none."""


@dataclass(frozen=True, slots=True)
class Leased:
    """The node is ours. The lease's secret finds it again after a restart."""

    known: KnownLease


@dataclass(frozen=True, slots=True)
class Decide:
    """Approve or not; answer with `release`, `hold` or `refuse`."""

    view: NodeView


@dataclass(frozen=True, slots=True)
class KeepReportKey:
    """Store with the lease what the node is known by while locked, then call `report_key_kept`."""

    known: KnownLease


@dataclass(frozen=True, slots=True)
class KeepEscrow:
    """Store and fsync this record, then call `escrow_kept`."""

    record: EscrowRecord
    signature: bytes


@dataclass(frozen=True, slots=True)
class KeepProof:
    """Complete the stored escrow record."""

    proof: VolumeProof
    signature: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """An event of the node, checked. `signature` is empty for those that change no state."""

    event: Event
    signature: bytes


@dataclass(frozen=True, slots=True)
class Redial:
    """The connection is gone: dial again, whichever of these answers first."""

    ways: tuple[Way, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The goal is reached."""

    state: State
    already: bool
    """It had been reached before this call: nothing was done."""


@dataclass(frozen=True, slots=True)
class Fail:
    """It ends here."""

    error: errors.KnownError


NodeEffect = (
    Send
    | Close
    | Changed
    | Announce
    | CheckConfig
    | Install
    | EscrowKept
    | Remember
    | Aside
    | TryUnlock
    | CarryOut
    | Opened
    | Settled
)
OperatorEffect = (
    Send
    | Close
    | Leased
    | Decide
    | KeepReportKey
    | KeepEscrow
    | KeepProof
    | Seen
    | Redial
    | Done
    | Fail
)
