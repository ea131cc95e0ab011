"""An operator's desk that decides by a rule and remembers everything: for tests and simulations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pairing.events import Event
from pairing.protocol.effects import NodeView
from pairing.protocol.messages import EscrowRecord, VolumeProof
from pairing.protocol.terms import KnownLease
from pairing.session import Decision


@dataclass(slots=True)
class RecordingDesk:
    """See `pairing.session.Desk`."""

    rule: Callable[[NodeView], Decision]
    before_deciding: Callable[[], Awaitable[object]] | None = None
    views: list[NodeView] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    escrow: list[EscrowRecord] = field(default_factory=list)
    proofs: list[VolumeProof] = field(default_factory=list)
    leases: list[KnownLease] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    async def decide(self, view: NodeView) -> Decision:
        self.views.append(view)
        if self.before_deciding:
            await self.before_deciding()
        return self.rule(view)

    async def keep_escrow(self, record: EscrowRecord, signature: bytes) -> None:
        self.escrow.append(record)

    async def keep_proof(self, proof: VolumeProof, signature: bytes) -> None:
        self.proofs.append(proof)

    async def keep_lease(self, known: KnownLease) -> None:
        self.leases.append(known)

    def seen(self, event: Event, signature: bytes) -> None:
        self.events.append(event)

    def notice(self, text: str) -> None:
        self.notices.append(text)
