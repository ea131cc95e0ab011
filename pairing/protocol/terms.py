"""What an operator brings to a pairing: who it is, what it releases, how long it waits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from pairing import errors, keys
from pairing.events import Event, State
from pairing.protocol import handshake
from pairing.protocol.certificate import StationCertificate
from pairing.protocol.messages import CHUNK, Chunk, Manifest, Refused, ReportKey, Want

BEFORE_FIRST_WRITE = frozenset({"check-image", "check-disk", "check-machine", "escrow-key"})
"""The steps in which a node may still need its operator: it keeps the recovery key in the last."""

BAD = frozenset({State.FAILED, State.LOCKED, State.REFUSED})
"""States that end what an operator waits for."""


def bad_end(event: Event) -> errors.KnownError:
    """What a node's last word means, one of `BAD`."""
    if event.state is State.LOCKED:
        return errors.locked(event.code, event.text)
    if event.state is State.REFUSED:
        return errors.NotApprovedError(event.text)
    return errors.from_slug(event.code, event.text)


def refusal(message: Refused, *, known: bool) -> errors.KnownError:
    """What a node's refusal means to an operator; `known`: to one whose node this was."""
    detail = message.text
    if message.holder:
        detail = f"Its fingerprint is {message.holder}, {message.age} seconds ago."
    if known and message.code == errors.TokenSpent.slug:
        return errors.NodeRestarted()
    return errors.from_slug(message.code, detail)


def after_release(error: errors.KnownError) -> errors.KnownError:
    """The same error where a config had been released: its outcome may be unknown."""
    if isinstance(error, errors.NodeRestarted):
        return errors.RestartedAfterRelease()
    if isinstance(error, errors.UnreachableError):
        return errors.NoVerdictError(error.sentence)
    return error


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the operator is: its key, and its fleet's certificate if it has one."""

    key: keys.SigningKey
    certificate: keys.Certificate | None = None

    def shown(self) -> StationCertificate | None:
        """The certificate as it travels."""
        if self.certificate is None:
            return None
        return StationCertificate(
            fleet=self.certificate.fleet,
            station=self.certificate.station,
            sequence=self.certificate.sequence,
            name=self.certificate.name,
            signature=self.certificate.signature,
        )


@dataclass(frozen=True, slots=True)
class Way:
    """Under which key a node may answer, and the label that it is found by then."""

    key: bytes
    label: bytes


@dataclass(frozen=True, slots=True)
class KnownLease:
    """A lease from an earlier run, and what its node is known by while locked (if it said so)."""

    lease: bytes
    secret: bytes = field(repr=False)
    report: ReportKey | None = None

    def locked_secret(self) -> bytes:
        """The rendezvous secret of the node while it is locked."""
        assert self.report is not None, "no report key is known"
        return handshake.report_secret(self.secret, self.report.node)

    def locked_way(self) -> Way:
        """Where the node is found while it is locked."""
        assert self.report is not None, "no report key is known"
        return Way(self.report.key, handshake.label(self.locked_secret(), self.report.key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What goes to the node. `report_for` and `time` in (Unix) seconds."""

    config: bytes = field(repr=False)
    device: str = ""
    escrow: tuple[bytes, ...] = ()
    relays: tuple[str, ...] = ()
    unlock: str = ""
    reboot: bool = False
    poweroff: bool = False
    report_for: int = 24 * 3600
    time: int = 0

    def manifest(self, node: bytes, lease: bytes, sequence: int) -> Manifest:
        """What is signed: this release, for one node and lease."""
        return Manifest(
            node=node,
            lease=lease,
            sequence=sequence,
            digest=hashlib.sha256(self.config).digest(),
            length=len(self.config),
            device=self.device,
            escrow=self.escrow,
            relays=self.relays,
            unlock=self.unlock,
            reboot=self.reboot,
            poweroff=self.poweroff,
            report_for=self.report_for,
            time=self.time,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait, in seconds.

    `handshake`: from the connection to the lease. `silence`: without a word from a node that
    should be talking. `reboot`: the same while it reboots. `verdict`: from the release to the goal.
    """

    handshake: float = 15.0
    silence: float = 120.0
    reboot: float = 900.0
    verdict: float = 3600.0


def chunks(want: Want, config: bytes) -> Iterator[Chunk]:
    """What a node still lacks of a config."""
    for offset in range(want.offset, len(config), CHUNK):
        data = config[offset : offset + CHUNK]
        yield Chunk(sequence=want.sequence, offset=offset, data=data)
