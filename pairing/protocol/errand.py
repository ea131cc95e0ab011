"""The operator's side of an errand, sans-IO: into a node's lease, see how it is, ask one thing.

A locked node answers under its report key and can be unlocked; an open one answers under its own
and can be told to change the keys of its volumes. One machine is one connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pairing import errors, keys
from pairing.events import Event, Mode
from pairing.protocol import handshake, maintenance, messages, receipts, requests
from pairing.protocol.effects import (
    Close,
    Fail,
    KeepEscrow,
    KeepProof,
    KeepReportKey,
    Seen,
    Send,
)
from pairing.protocol.entry import Entry
from pairing.protocol.messages import ReportKey
from pairing.protocol.requests import Task, UnlockKind
from pairing.protocol.safekeeping import Safekeeping
from pairing.protocol.terms import Identity, KnownLease, Patience, Way
from pairing.protocol.wire import Message, read_message

ALL_EVENTS = 2**53 - 1
"""As if we had heard them all: none is sent again."""
ANSWER_SECONDS = 900.0
"""For a node to do what it was asked: a passphrase alone may take it a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a node says of itself before it is asked for anything. `locked`: why, if it is."""

    boot: str
    state: str
    mode: str
    words: tuple[str, ...]
    facts: Mapping[str, Any]
    locked: Event | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """It has done what it was asked."""


ErrandEffect = (
    Send | Close | Standing | KeepReportKey | KeepEscrow | KeepProof | Seen | Answered | Fail
)


@dataclass(slots=True, kw_only=True)
class ErrandMachine:
    """State of one errand to the node of a lease whose report key is known."""

    known: KnownLease
    identity: Identity
    random: Callable[[int], bytes]
    patience: Patience = field(default_factory=Patience)
    since: int = ALL_EVENTS
    """The last of its events that is known here: those after it are sent, to be heard (`hear`)."""
    over: bool = False
    _entry: Entry | None = None
    _lease: messages.Lease | None = None
    _words: tuple[str, ...] = ()
    _asked: bool = False
    _hears: bool = False
    _last: int = 0
    _until: float = 0.0
    _safe: Safekeeping = field(init=False)

    def __post_init__(self) -> None:
        self._safe = Safekeeping(self.report.node, self.identity.key)

    @property
    def report(self) -> ReportKey:
        """The node's report key, and with it the node's own."""
        assert self.known.report is not None, "the report key must be known"
        return self.known.report

    def ways(self) -> tuple[Way, ...]:
        """Whom to dial: the node itself, and the node while it is locked."""
        key = self.report.node
        return Way(key, handshake.label(self.known.secret, key)), self.known.locked_way()

    # --- the connection -----------------------------------------------------------------------

    def opened(self, channel_key: bytes, node_key: bytes, now: float) -> list[ErrandEffect]:
        """A channel to `node_key`, one of those in `ways`, is open."""
        locked = node_key == self.report.key
        self._until = now + self.patience.handshake
        self._entry = Entry(
            identity=self.identity,
            key=node_key,
            channel_key=channel_key,
            subject=self.known.lease,
            secret=self.known.locked_secret() if locked else self.known.secret,
            nonce=self.random(32),
            lease=self.known.lease,
        )
        return [Send(self._entry.claim())]

    @property
    def met(self) -> bool:
        """Whether the node has said how it is."""
        return self._lease is not None

    def lost(self) -> list[ErrandEffect]:
        """The channel is gone."""
        return [] if self.over else self.fail(errors.ConnectionLost())

    def received(self, body: Mapping[str, Any], now: float) -> list[ErrandEffect]:
        """An object came in from the node."""
        if self.over or self._entry is None:
            return []
        try:
            return self._dispatch(self._entry, read_message(body, messages.FROM_NODE), now)
        except errors.KnownError as error:
            return self.fail(error)

    def tick(self, now: float) -> list[ErrandEffect]:
        """Time has passed: call at least once a second."""
        late = self._entry is not None and now >= self._until
        return self.fail(errors.PhaseTimeout()) if late and not self.over else []

    def fail(self, error: errors.KnownError) -> list[ErrandEffect]:
        """End with this error."""
        self.over = True
        return [Close(), Fail(error)]

    # --- messages -----------------------------------------------------------------------------

    def _dispatch(self, entry: Entry, message: Message, now: float) -> list[ErrandEffect]:
        match message:
            case messages.Refused():
                text = f"Its holder is {message.holder}." if message.holder else message.text
                return self.fail(errors.from_slug(message.code, text))
            case messages.Challenge() if self._lease is None:
                since = 0 if entry.key == self.report.key else self.since
                return [Send(entry.prove(message, since))]
            case messages.Lease() if self._lease is None:
                return self._entered(entry, message, now)
            case messages.Ping():
                return [Send(messages.Pong())]
            case messages.Pong():
                return []
        if self._lease is None:
            raise errors.ProtocolBroken(f"Frame {message.TYPE!r} has no place here.")
        if entry.key == self.report.key:
            return self._from_locked(self._lease, message)
        return self._from_node(message)

    def _entered(self, entry: Entry, lease: messages.Lease, now: float) -> list[ErrandEffect]:
        self._words = entry.accept(lease)
        self._lease, self._until = lease, now + self.patience.silence
        if entry.key == self.report.key:
            return []  # it says why in its next word
        return [self._standing(lease, None)]

    def _standing(self, lease: messages.Lease, locked: Event | None) -> Standing:
        return Standing(
            boot=lease.boot,
            state=lease.state,
            mode=Mode.LOCKED.value if locked else lease.mode,
            words=self._words,
            facts=lease.facts,
            locked=locked,
        )

    def _from_locked(self, lease: messages.Lease, message: Message) -> list[ErrandEffect]:
        match message:
            case messages.Report():
                event = receipts.check_locked(message, self.known)
                acknowledged = Send(messages.Ack(seq=event.seq))
                return [Seen(event, message.signature), acknowledged, self._standing(lease, event)]
            case requests.Answer() if self._asked:
                return self._answer(message)
        raise errors.BadProof("A report key can only say that its node is locked.")

    def _from_node(self, message: Message) -> list[ErrandEffect]:
        match message:
            case messages.Report():
                event = messages.event_of(message)
                return [Seen(event, message.signature), *self._heard(event.seq)]
            case messages.ShownReportKey():
                more = self._safe.report_key(message, self.known)
                return [KeepReportKey(more)] if more else []
            case messages.Escrow():
                return [self._safe.escrow(message, self.known.lease)]
            case messages.EscrowProof():
                return [self._safe.proof(message)]
            case requests.Answer() if self._asked:
                return self._answer(message)
        raise errors.ProtocolBroken(f"Frame {message.TYPE!r} has no place here.")

    def _answer(self, message: requests.Answer) -> list[ErrandEffect]:
        if message.code:
            return self.fail(errors.from_slug(message.code, message.text))
        return [*self.leave(), Answered()]

    # --- what the operator asks for -----------------------------------------------------------

    def unlock(self, kind: UnlockKind, secret: bytes, now: float) -> list[ErrandEffect]:
        """Open the locked node with a recovery key, or with the PIN of an approval."""
        assert self._lease is not None
        context = handshake.unlock_context(self.report.key, self.known.lease, self._lease.boot)
        sealed = keys.seal(secret, self.report.seal, context)
        return self._ask(requests.Unlock(kind=kind.value, sealed=sealed), now)

    def maintain(
        self, task: Task, escrow: Sequence[bytes], recovery: bytes, time: int, now: float
    ) -> list[ErrandEffect]:
        """Have the open node change its keys; `recovery` is its present recovery key."""
        assert self._lease is not None
        order = maintenance.order(
            self.identity.key,
            self.report,
            self._lease.boot,
            task,
            escrow=escrow,
            recovery=recovery,
            time=time,
        )
        return self._ask(order, now)

    def hear(self, now: float) -> list[ErrandEffect]:
        """Take what the open node has to tell, then leave. What came is kept: `Seen`, in order."""
        assert self._lease is not None
        self._hears, self._until = True, now + self.patience.silence
        return self._heard(self._last)

    def _heard(self, seq: int) -> list[ErrandEffect]:
        """Events up to `seq` have come; whoever hears them all says so, and is done."""
        self._last = max(self._last, seq)
        if not self._hears or self.over or self._lease is None:
            return []
        if self.since < self._lease.last and self._last < self._lease.last:
            return []
        return [Send(messages.Ack(seq=self._lease.last)), *self.leave(), Answered()]

    def _ask(self, message: Message, now: float) -> list[ErrandEffect]:
        self._asked, self._until = True, now + ANSWER_SECONDS
        return [Send(message)]

    def leave(self) -> list[ErrandEffect]:
        """Nothing (more) to ask."""
        self.over = True
        return [Send(messages.Bye(reason=messages.Reason.HOLD, text="")), Close()]

    # --- what must be kept --------------------------------------------------------------------

    def escrow_kept(self) -> list[ErrandEffect]:
        """The last record is on this machine's disk, fsynced and read back."""
        self._safe.stored = True
        return self._acknowledge()

    def report_key_kept(self) -> list[ErrandEffect]:
        """The node's report key is on this machine's disk."""
        self._safe.report_keys -= 1
        return self._acknowledge()

    def _acknowledge(self) -> list[ErrandEffect]:
        answer = self._safe.acknowledgement()
        return [Send(answer)] if answer and not self.over else []
