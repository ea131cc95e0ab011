"""What a node says in a lease, whatever its operator says: its states, steps, keys, in order.

The half of a node's machine that the agent drives; the half that callers drive is in `node`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pairing import keys
from pairing.events import EventType, Mode, State
from pairing.protection import Protection
from pairing.protocol import messages, receipts
from pairing.protocol.effects import Changed, NodeEffect, Remember, Send
from pairing.protocol.kept import KeptTenancy, kept
from pairing.protocol.tenancy import Tenancy
from pairing.protocol.wire import Message

LONGEST_SECONDS = 30 * 24 * 3600.0
"""An operator that never leaves keeps no node from being quiet in the end."""
AGAIN_SECONDS = 900.0
"""How long a node listens, although everything was told, after its operator asked it for something:
to open its volumes, to change their keys."""
REMEMBER_SECONDS = 600.0
"""How often the time that was waited is stored."""


@dataclass(slots=True, kw_only=True)
class NodeVoice:
    """A node's key, boot and lease. Time is seconds since boot."""

    key: keys.SigningKey
    boot: str
    now: float = 0.0
    dry_run: bool = False
    mode: Mode = Mode.LIVE
    state: State = State.WAITING
    tenancy: Tenancy | None = None
    """Who holds the node; given where it goes on after a restart."""
    public: bytes = field(init=False)
    again_until: float = 0.0
    """It listens until then although everything was told (`AGAIN_SECONDS`)."""
    _began: float = field(init=False)
    _remembered: float = field(init=False)

    def __post_init__(self) -> None:
        self.public = self.key.public
        self._began = self._remembered = self.now
        if self.tenancy:
            self.state = self.tenancy.state

    def kept(self) -> KeptTenancy | None:
        """What of this must outlive the boot; nothing where nobody holds the node."""
        held = self.tenancy
        return kept(self.key, held, self.now, self.listened()) if held else None

    def listened(self) -> float:
        """Seconds that the node has waited for its operator since it was installed, over boots."""
        if self.tenancy is None or self.mode is not Mode.INSTALLED:
            return 0.0
        return self.tenancy.listened + self.now - self._began

    def _remember_if_due(self) -> list[NodeEffect]:
        if self.mode is not Mode.INSTALLED or self.now < self._remembered + REMEMBER_SECONDS:
            return []
        self._remembered = self.now
        return [Remember()]

    def entered(
        self,
        state: State,
        now: float,
        *,
        code: str = "",
        text: str = "",
        protection: Protection | None = None,
    ) -> list[NodeEffect]:
        """The node reached a state: installing, written, failed, ..."""
        self.now = now
        effects: list[NodeEffect] = []
        self._set_state(state, effects, code=code, text=text, protection=protection)
        return effects

    def progressed(
        self, step: str, of: str, done: int, total: int, text: str, now: float
    ) -> list[NodeEffect]:
        """A step of the plan began, advanced or ended."""
        self.now = now
        return self._emit(EventType.STEP, step=step, of=of, done=done, total=total, text=text)

    def said(self, text: str, now: float) -> list[NodeEffect]:
        """A line for people."""
        self.now = now
        return self._emit(EventType.LOG, text=text)

    def news(self, code: str, text: str, now: float) -> list[NodeEffect]:
        """Something that its operator has to hear although everything was told before: the node
        listens again, as long as after its installation. The same is said once."""
        self.now = now
        held = self.tenancy
        if held is None or any((e.code, e.text) == (code, text) for e in held.log.since(0)):
            return []
        held.told, held.listened, self._began = False, 0.0, now
        return self._emit(EventType.LOG, code=code, text=text)

    def heard(self) -> bool:
        """Whether the operator, if there is one, has acknowledged every event."""
        held = self.tenancy
        return held is None or held.acknowledged >= held.log.last

    def all_told(self, *, more: bool) -> bool:
        """Whether an installed node may be quiet: its operator has the verdict and nothing `more`
        is coming, or it has waited for as long as it was told to."""
        held = self.tenancy
        if held is None or (held.told and self.now >= self.again_until):
            return True
        if held.conn is not None or self.now < self.again_until:
            return self.listened() >= LONGEST_SECONDS
        patience = held.manifest.report_for if held.manifest else 0
        return (held.settled and not more) or self.listened() >= patience

    def quiet(self) -> list[NodeEffect]:
        """There is nothing more to say, in this boot and in later ones."""
        if self.tenancy:
            self.tenancy.told = True
        return [Remember(), Changed()]

    def escrow(self, record: messages.EscrowRecord, now: float) -> list[NodeEffect]:
        """Send the sealed recovery key; `EscrowKept` answers."""
        self.now = now
        held = self._held()
        held.escrow, held.escrow_kept = receipts.escrow(self.key, record), False
        return [Remember(), *self._to_operator(held.escrow)]

    def proved(self, proof: messages.VolumeProof, now: float) -> list[NodeEffect]:
        """The recovery key was tried: complete the operator's record."""
        self.now = now
        held = self._held()
        held.proof = receipts.proof(self.key, proof)
        return [Remember(), *self._to_operator(held.proof)]

    def _to_operator(self, message: Message) -> list[NodeEffect]:
        held = self._held()
        return [Send(message, held.conn)] if held.conn is not None else []

    def _held(self) -> Tenancy:
        assert self.tenancy is not None, "there is no lease"
        return self.tenancy

    def _set_state(self, state: State, effects: list[NodeEffect], **said: Any) -> None:
        self.state = state
        if self.tenancy:
            self.tenancy.state = state
        effects += [*self._emit(EventType.STATE, **said), Changed()]

    def _emit(self, kind: EventType, **said: Any) -> list[NodeEffect]:
        """Nobody is told of a node that was installed by hand: nobody holds it."""
        held = self.tenancy
        if held is None:
            return []
        event = held.log.add(
            node=keys.fingerprint(self.public),
            boot=self.boot,
            up_ms=int(self.now * 1000),
            type=kind,
            state=self.state,
            dry_run=self.dry_run,
            **said,
        )
        return [Remember(), *self._to_operator(receipts.report(self.key, held.lease, event))]
