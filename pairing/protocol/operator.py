"""The operator's side of a pairing, sans-IO: messages, decisions and time in, effects out.

One machine pairs one node, over as many connections as it takes. Before the release a failure means
that nothing left this machine (exit 5 or 6); after it, silence means that the outcome is unknown
(exit 12).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pairing import errors
from pairing.events import INSTALLS, Event, EventType, State, reached
from pairing.peertoken import Token
from pairing.protocol import handshake, messages, receipts
from pairing.protocol.effects import (
    Close,
    Decide,
    Done,
    Fail,
    KeepReportKey,
    Leased,
    NodeView,
    OperatorEffect,
    Redial,
    Seen,
    Send,
)
from pairing.protocol.entry import Entry, enter
from pairing.protocol.safekeeping import Safekeeping
from pairing.protocol.terms import (
    BAD,
    BEFORE_FIRST_WRITE,
    Identity,
    KnownLease,
    Patience,
    Release,
    Way,
    after_release,
    bad_end,
    chunks,
    refusal,
)
from pairing.protocol.tpmproof import ASK_SECONDS, TpmAnswer, TpmExam
from pairing.protocol.wire import Message, read_message


@dataclass(slots=True)
class OperatorMachine:
    """State of one pairing. `random(n)` gives n secret bytes."""

    token: Token
    identity: Identity
    goal: State
    random: Callable[[int], bytes]
    patience: Patience = field(default_factory=Patience)
    known: KnownLease | None = None
    released: bool = False
    """A config has left this machine (now or in an earlier run): silence means exit 12."""
    state: State = State.WAITING
    view: NodeView | None = None
    over: bool = False
    _connected: bool = False
    _leased: bool = False
    _phase_until: float | None = None
    _heard_until: float = 0.0  # the patience that the last word in a lease gave it
    _verdict_until: float | None = None
    _entry: Entry | None = None
    _path: str = ""
    _seen: int = 0
    _resumed_at: int = 0
    """Events up to this one happened before this call, and left the node in `_resumed_state`."""
    _resumed_state: str = ""
    _old_end: Event | None = None  # a bad end before this call; counts once all old is heard
    _sequence: int = 0
    _manifest: messages.Manifest | None = None
    _signature: bytes = b""
    _config: bytes = field(default=b"", repr=False)
    _deciding: bool = False
    _exam: TpmExam | None = None
    _locked: bool = False
    """This connection is to the node's report key: its volumes are not open."""
    _safe: Safekeeping = field(init=False)

    def __post_init__(self) -> None:
        self._safe = Safekeeping(self.token.key, self.identity.key)

    # --- where to look ------------------------------------------------------------------------

    def ways(self) -> tuple[Way, ...]:
        """Whom to dial: the node's key and, where it is known, the key of a locked node."""
        known, key = self.known, self.token.key
        secret = known.secret if known else self.token.secret
        ways = [Way(key, handshake.label(secret, key))]
        if known and known.report:
            ways.append(known.locked_way())
        return tuple(ways)

    def may_have_restarted(self) -> bool:
        """Whether a machine with another key in the node's place means that the node is lost."""
        return self.known is not None and not reached(self.state, State.WRITTEN)

    # --- connections --------------------------------------------------------------------------

    def opened(
        self, channel_key: bytes, path: str, now: float, node_key: bytes = b""
    ) -> list[OperatorEffect]:
        """A channel to the node is open: `channel_key` is this end's key on it, `node_key` the
        other's, one of those in `ways`."""
        self._connected, self._path = True, path
        self._phase_until = now + self.patience.handshake
        nonce = self.random(32)
        self._entry = enter(self.identity, self.token, self.known, node_key, channel_key, nonce)
        self._locked = self._entry.key != self.token.key
        return [Send(self._entry.claim())]

    def lost(self, now: float) -> list[OperatorEffect]:
        """The channel is gone without a farewell: dial again as long as there is hope."""
        if not self._connected or self.over:
            return []
        self._connected = self._leased = False
        if self._phase_until is None or self._deciding:
            self._phase_until = now + self._silence()
        self._phase_until = max(self._phase_until, self._heard_until)
        return [Redial(self.ways())]

    def received(self, body: Mapping[str, Any], now: float) -> list[OperatorEffect]:
        """An object came in from the node."""
        if self.over or not self._connected:
            return []
        try:
            return self._dispatch(read_message(body, messages.FROM_NODE), now)
        except errors.KnownError as error:
            return self.fail(error)

    def tick(self, now: float) -> list[OperatorEffect]:
        """Time has passed: call at least once a second."""
        if self.over or self._deciding:
            return []
        if self._exam is not None:
            self._exam.tick(now)
            if self._exam.proof is not None:
                return self._examined()
        if self._verdict_until is not None and now >= self._verdict_until:
            return self.fail(errors.NoVerdictError())
        if self._phase_until is not None and now >= self._phase_until:
            return self.fail(self._silent())
        return []

    def fail(self, error: errors.KnownError) -> list[OperatorEffect]:
        """End with this error; what was released stays released."""
        self.over = True
        return [Close(), Fail(after_release(error) if self.released else error)]

    def _silent(self) -> errors.KnownError:
        if self.released:
            return errors.NoVerdictError("Nothing was heard from the node any more.")
        return errors.PhaseTimeout() if self._connected else errors.ConnectionLost()

    def _heard(self, now: float) -> None:
        self._phase_until = self._heard_until = now + self._silence()

    def _silence(self) -> float:
        return self.patience.reboot if self.state is State.REBOOTING else self.patience.silence

    # --- messages -----------------------------------------------------------------------------

    def _dispatch(self, message: Message, now: float) -> list[OperatorEffect]:
        if isinstance(message, messages.Refused):
            return self._refused(message)
        assert self._entry is not None
        if isinstance(message, messages.Challenge) and not self._leased:
            return [Send(self._entry.prove(message, 0 if self._locked else self._seen))]
        if isinstance(message, messages.Lease) and not self._leased:
            return self._leased_now(message, now)
        if not self._leased:
            raise errors.ProtocolBroken(f"Frame {message.TYPE!r} has no place here.")
        todo = self._from_locked(message) if self._locked else self._in_lease(message, now)
        self._heard(now)  # longer, once it says that it restarts
        return todo

    def _refused(self, message: messages.Refused) -> list[OperatorEffect]:
        error = refusal(message, known=self.known is not None)
        # It stood still, as while firmware writes: it hangs up, and then it is dialled again.
        late = self.released and isinstance(error, errors.PhaseTimeout)
        return [] if late else self.fail(error)

    def _leased_now(self, lease: messages.Lease, now: float) -> list[OperatorEffect]:
        assert self._entry is not None
        words = self._entry.accept(lease)
        self._leased = True
        self._heard(now)
        if self._locked:
            return []
        again = self.known is not None or lease.last > 0
        same = self.known is not None and self.known.lease == lease.lease
        report = self.known.report if self.known and same else None
        self.known = KnownLease(lease.lease, lease.secret, report)
        self._sequence = max(self._sequence, lease.sequence)
        effects: list[OperatorEffect] = [Leased(self.known)]
        if self._manifest is None:
            self._resumed_at, self._resumed_state = lease.last, lease.state
        self.view = NodeView(
            node=self.token.key,
            trust=lease.trust,
            words=words,
            facts=lease.facts,
            path=self._path,
            resumed=again,
        )
        return [*effects, *self._next_after_lease(lease, now)]

    def _next_after_lease(self, lease: messages.Lease, now: float) -> list[OperatorEffect]:
        assert self.view is not None
        if self._manifest is not None:
            # Cut while releasing: the node says with Want what it still lacks.
            unheard = lease.sequence < self._manifest.sequence
            lacking = lease.state == State.CLAIMED.value or unheard
            return [self._send_release()] if lacking else []
        if lease.mode in INSTALLS and lease.state in {State.CLAIMED.value, State.FAILED.value}:
            if self._deciding:
                return []
            return self._examine(lease, now)
        self.released = True
        return []

    @property
    def examining(self) -> bool:
        """Whether the node's TPM is being asked: nobody has decided yet."""
        return self._exam is not None

    def _examine(self, lease: messages.Lease, now: float) -> list[OperatorEffect]:
        """Before anybody decides, the TPM of a machine that says it has one proves its key."""
        if not lease.facts.get("tpm"):
            return self._examined()
        self._exam = TpmExam(self.token.key, lease.lease, self.random, now + ASK_SECONDS)
        return [Send(self._exam.begin())]

    def _answered(self, message: TpmAnswer) -> list[OperatorEffect]:
        if self._exam is None:
            return []  # too late: it was decided without
        question = self._exam.received(message)
        return [Send(question)] if question is not None else self._examined()

    def _examined(self) -> list[OperatorEffect]:
        assert self.view is not None
        self.view = replace(self.view, ek=self._exam.proof if self._exam else None)
        self._exam, self._deciding = None, True
        return [Decide(self.view)]

    def _in_lease(self, message: Message, now: float) -> list[OperatorEffect]:
        match message:
            case messages.Want():
                return self._send_config(message)
            case messages.Report():
                return self._reported(message)
            case messages.ShownReportKey():
                return self._keep_report_key(message)
            case messages.Escrow():
                return [self._safe.escrow(message, self._lease())]
            case messages.EscrowProof():
                return [self._safe.proof(message)]
            case TpmAnswer():
                return self._answered(message)
            case messages.Ping():
                return [Send(messages.Pong())]
            case messages.Pong():
                return []
        raise errors.ProtocolBroken(f"Frame {message.TYPE!r} has no place here.")

    def _send_config(self, want: messages.Want) -> list[OperatorEffect]:
        if self._manifest is None or want.sequence != self._manifest.sequence:
            raise errors.ProtocolBroken("The node asks for a config that was not released.")
        return [Send(chunk) for chunk in chunks(want, self._config)]

    def _reported(self, report: messages.Report) -> list[OperatorEffect]:
        event = messages.event_of(report)
        if event.seq <= self._seen:
            return []
        if event.type is EventType.STATE:
            receipts.check(report, self.token.key, self._lease())
            self.state = event.state
        self._seen = event.seq
        effects: list[OperatorEffect] = [
            Seen(event, report.signature),
            Send(messages.Ack(seq=event.seq)),
        ]
        return effects + self._judge(event) + self._judge_old(event.seq)

    def _from_locked(self, message: Message) -> list[OperatorEffect]:
        """The report key says `locked`, and nothing else counts."""
        match message:
            case messages.Ping():
                return [Send(messages.Pong())]
            case messages.Report():
                assert self.known is not None
                event = receipts.check_locked(message, self.known)
                seen: list[OperatorEffect] = [Seen(event, message.signature)]
                acknowledged = Send(messages.Ack(seq=event.seq))
                return [*seen, acknowledged, *self.fail(bad_end(event))]
        raise errors.BadProof("A report key can only say that its node is locked.")

    def _lease(self) -> bytes:
        assert self.known is not None
        return self.known.lease

    def _judge(self, event: Event) -> list[OperatorEffect]:
        if event.type is not EventType.STATE and event.state is not State.INSTALLING:
            return []
        old = event.seq <= self._resumed_at
        undecided = self.examining or self._deciding
        if old and (undecided or self._manifest is not None):
            return []  # what happened before the release that this call decides on
        if event.state in BAD:
            self._old_end = event if old else None
            return [] if old else self.fail(bad_end(event))
        return self._finish(old) if self._goal_reached(event) else []

    def _judge_old(self, heard: int) -> list[OperatorEffect]:
        end = self._old_end
        if end is None or heard < self._resumed_at or end.state.value != self._resumed_state:
            return []
        return self.fail(bad_end(end))

    def _goal_reached(self, event: Event) -> bool:
        # A rehearsal ends when the disk would be written: nothing ever restarts.
        goal = State.WRITTEN if event.dry_run and reached(self.goal, State.WRITTEN) else self.goal
        if not reached(event.state, goal):
            return False
        if event.state is State.PLANNED:
            return False
        if event.state is State.INSTALLING:
            past = event.type is EventType.STEP and event.step not in BEFORE_FIRST_WRITE
            return past or self._safe.done
        return event.type is EventType.STATE

    def _finish(self, already: bool) -> list[OperatorEffect]:
        self.over = True
        bye = messages.Bye(reason=messages.Reason.DONE, text="")
        return [Send(bye), Close(), Done(self.state, already)]

    # --- what must be kept --------------------------------------------------------------------

    def escrow_kept(self, now: float) -> list[OperatorEffect]:
        """The last record is on this machine's disk, fsynced and read back."""
        self._safe.stored = True
        return self._acknowledge_escrow()

    def report_key_kept(self, now: float) -> list[OperatorEffect]:
        """The node's report key is on this machine's disk."""
        self._safe.report_keys -= 1
        return self._acknowledge_escrow()

    def _acknowledge_escrow(self) -> list[OperatorEffect]:
        answer = self._safe.acknowledgement()
        return [Send(answer)] if answer and self._leased else []

    def _keep_report_key(self, message: messages.ShownReportKey) -> list[OperatorEffect]:
        assert self.known is not None
        more = self._safe.report_key(message, self.known)
        self.known = more or self.known
        return [KeepReportKey(more)] if more else []

    # --- decisions ----------------------------------------------------------------------------

    def release(self, release: Release, now: float) -> list[OperatorEffect]:
        """Send this config, now or as soon as the node is back."""
        assert self.known is not None
        self._deciding, self._sequence = False, self._sequence + 1
        self._config = release.config
        self._manifest = release.manifest(self.token.key, self.known.lease, self._sequence)
        self._signature = self.identity.key.sign(
            handshake.MANIFEST_DOMAIN, handshake.signed_body(self._manifest)
        )
        self._phase_until = now + self._silence()
        self._verdict_until = now + self.patience.verdict
        return [self._send_release()] if self._leased else []

    def _send_release(self) -> Send:
        assert self._manifest is not None
        self.released = True
        return Send(messages.Release(manifest=self._manifest, signature=self._signature))

    def hold(self, error: errors.KnownError) -> list[OperatorEffect]:
        """Not decided: the lease stays ours for the next run."""
        return self._hang_up(messages.Reason.HOLD, error)

    def refuse(self, error: errors.KnownError) -> list[OperatorEffect]:
        """A person said no: final for this code, and shown on the node's screen."""
        return self._hang_up(messages.Reason.REFUSE, error)

    def _hang_up(self, reason: str, error: errors.KnownError) -> list[OperatorEffect]:
        self.over, self._deciding = True, False
        bye = messages.Bye(reason=reason, text="")
        farewell: list[OperatorEffect] = [Send(bye)] if self._leased else []
        return [*farewell, Close(), Fail(error)]
