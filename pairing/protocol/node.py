"""The node's side of a pairing, sans-IO: messages, answers and time in, effects out.

One machine lives as long as a boot. Exactly one operator holds the lease at a time; taking it is a
compare-and-set in `_claim`. Time is seconds since boot and comes in as `now`; nothing here reads a
clock, a socket or randomness of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pairing import errors, keys
from pairing.events import INSTALLS, State
from pairing.peertoken import Token
from pairing.protocol import (
    admission,
    handshake,
    maintenance,
    messages,
    receipts,
    requests,
)
from pairing.protocol.callers import (
    HANDSHAKE_SECONDS,
    IDLE_SECONDS,
    PAUSE_TEXT,
    PING_SECONDS,
    STILL_SECONDS,
    Caller,
    NodePolicy,
    Phase,
)
from pairing.protocol.effects import (
    Announce,
    Aside,
    Changed,
    CheckConfig,
    Close,
    EscrowKept,
    Install,
    NodeEffect,
    Remember,
    Send,
    Settled,
)
from pairing.protocol.reportkey import SEED_SIZE, PrivateReportKey
from pairing.protocol.tenancy import Tenancy, begin
from pairing.protocol.voice import AGAIN_SECONDS, NodeVoice
from pairing.protocol.window import ClaimWindow
from pairing.protocol.wire import AsideMessage, Message, read_message


@dataclass(slots=True, kw_only=True)
class NodeMachine(NodeVoice):
    """State of a node's pairing. `random(n)` gives n secret bytes; `facts` must fit one frame."""

    facts: Mapping[str, Any]
    policy: NodePolicy
    random: Callable[[int], bytes]
    draw: Callable[[int], bytes] | None = None
    """Makes the one-time secrets where they are more than random bytes."""
    elsewhere: bool = False
    """Somebody installs this machine by another protocol: nobody can claim it here."""
    window: ClaimWindow = field(init=False)
    callers: dict[int, Caller] = field(default_factory=dict)
    _refused_until: float = 0.0
    _ticked: float = field(init=False)
    _asking: int | None = None
    """The connection that asked for something that takes its time; one thing at a time."""

    def __post_init__(self) -> None:
        NodeVoice.__post_init__(self)
        self._ticked = self.now
        self.window = ClaimWindow(self.policy.window, self.draw or self.random, self.now)
        if self.tenancy and self.tenancy.claimed_secret:
            self.window.remember(self.tenancy.claimed_secret)

    # --- what the screen and the network need -------------------------------------------------

    def token(self, hints: Token | None = None) -> Token:
        """The token to show now, with the address and relay hints of `hints`."""
        return Token(
            key=self.public,
            secret=self.window.current.value,
            ipv4=hints.ipv4 if hints else None,
            ipv6=hints.ipv6 if hints else None,
            relay=hints.relay if hints else b"",
            signed=bool(self.policy.fleets),
        )

    def announcement(self) -> Announce:
        """The labels to be found under: those of the valid codes; once claimed, of that code and
        of the lease."""
        if self.tenancy:
            lease_label = handshake.label(self.tenancy.secret, self.public)
            return Announce((lease_label, self.tenancy.claimed_label))
        valid = self.window.valid()
        return Announce(tuple(handshake.label(secret.value, self.public) for secret in valid))

    def taken_elsewhere(self, now: float) -> bool:
        """Close this channel, because a config came by another; False if it is claimed already.

        Nothing shown so far is valid any more.
        """
        if self.tenancy is not None or self.state is not State.WAITING:
            return False
        self.now, self.elsewhere, self.state = now, True, State.CLAIMED
        self.window.spend(now)
        return True

    def open_again(self, now: float) -> list[NodeEffect]:
        """What came by the other channel was not installed: wait for either, with a new code."""
        self.now, self.elsewhere, self.state = now, False, State.WAITING
        self.window.spend(now)
        return [Changed(), self.announcement()]

    # --- connections --------------------------------------------------------------------------

    def opened(self, conn: int, source: str, channel_key: bytes, now: float) -> list[NodeEffect]:
        """A new authenticated channel of somebody who has proved nothing yet."""
        self.now = now
        waiting = [c.source for c in self.callers.values() if c.phase is not Phase.LEASE]
        if not admission.may_enter(source, waiting):
            return self._refuse(conn, errors.Busy())
        self.callers[conn] = Caller(source, channel_key, now + HANDSHAKE_SECONDS)
        return []

    def closed(self, conn: int, now: float) -> list[NodeEffect]:
        """A channel is gone, whoever closed it."""
        self.now = now
        self.callers.pop(conn, None)
        if self.tenancy and self.tenancy.conn == conn:
            self.tenancy.conn, self.tenancy.absent_since = None, now
            return [Changed()]
        return []

    def received(self, conn: int, body: Mapping[str, Any], now: float) -> list[NodeEffect]:
        """An object came in on a channel."""
        self.now = now
        caller = self.callers.get(conn)
        if caller is None:
            return []
        try:
            return self._dispatch(conn, caller, read_message(body, messages.FROM_OPERATOR))
        except errors.KnownError as error:
            return self._refuse(conn, error)

    def broken(self, conn: int, error: errors.KnownError, now: float) -> list[NodeEffect]:
        """The bytes on a channel are no frames: say why and hang up."""
        self.now = now
        return self._refuse(conn, error) if conn in self.callers else []

    def tick(self, now: float) -> list[NodeEffect]:
        """Time has passed: call at least once a second."""
        self.now = now
        effects: list[NodeEffect] = []
        still = self._stood_still()
        for conn, caller in list(self.callers.items()):
            caller.deadline += still
            if now >= caller.deadline:
                effects += self._refuse(conn, errors.PhaseTimeout())
            elif caller.phase is Phase.LEASE and now >= caller.pinged + PING_SECONDS:
                caller.pinged = now
                effects.append(Send(messages.Ping(), conn))
        effects += self._lapse_if_due()
        effects += self._remember_if_due()
        # While the node is held no code is shown, and the one that it was claimed by is kept.
        if self.tenancy is None and self.window.tick(now):
            effects += [Changed(), self.announcement()]
        return effects

    def _stood_still(self) -> float:
        """For how many seconds nothing ran here, such as while firmware wrote its variables: what
        callers said meanwhile has not been read yet, so they were not silent."""
        gap, self._ticked = self.now - self._ticked, self.now
        return gap if gap > STILL_SECONDS else 0.0

    def _lapse_if_due(self) -> list[NodeEffect]:
        held = self.tenancy
        if held is None:
            return []
        over = held.state is State.REFUSED and self.now >= self._refused_until
        lapsed = held.lapsed(self.now, self.policy)
        return self._lapse(errors.PhaseTimeout()) if lapsed or over else []

    def _lapse(self, why: errors.KnownError) -> list[NodeEffect]:
        held, self.tenancy = self.tenancy, None
        self.window.spend(self.now)
        self.state = State.WAITING
        effects: list[NodeEffect] = []
        if held and held.conn is not None:
            effects += self._refuse(held.conn, why)
        return [*effects, Changed(), self.announcement()]

    def _refuse(self, conn: int, error: errors.KnownError) -> list[NodeEffect]:
        self.callers.pop(conn, None)
        held = self.tenancy
        if held and held.conn == conn:
            held.conn, held.absent_since = None, self.now
        taken = isinstance(error, errors.Taken) and held
        answer = messages.Refused(
            code=error.slug,
            text=error.detail[:1000],
            holder=keys.fingerprint(held.operator) if taken and held else "",
            age=int(self.now - held.claimed_at) if taken and held else 0,
        )
        return [Send(answer, conn), Close(conn)]

    # --- messages -----------------------------------------------------------------------------

    def _dispatch(self, conn: int, caller: Caller, message: Message) -> list[NodeEffect]:
        if caller.phase is Phase.CLAIM and isinstance(message, messages.Claim):
            return self._challenge(conn, caller, message)
        if caller.phase is Phase.PROOF and isinstance(message, messages.Proof):
            return self._claim(conn, caller, message)
        if caller.phase is Phase.LEASE and self.tenancy:
            caller.deadline = self.now + IDLE_SECONDS
            return self._in_lease(conn, self.tenancy, message)
        raise errors.ProtocolBroken(f"Frame {message.TYPE!r} has no place here.")

    def _challenge(self, conn: int, caller: Caller, claim: messages.Claim) -> list[NodeEffect]:
        if claim.version != messages.VERSION:
            raise errors.ProtocolBroken(f"Protocol version {claim.version} is not spoken here.")
        caller.claim, caller.nonce, caller.phase = claim, self.random(32), Phase.PROOF
        answer = messages.Challenge(
            nonce=caller.nonce,
            fleet=bool(self.policy.fleets),
            window=max(0, int(self.window.current.shown_until - self.now)),
        )
        return [Send(answer, conn)]

    def _claim(self, conn: int, caller: Caller, proof: messages.Proof) -> list[NodeEffect]:
        assert caller.claim is not None
        transcript = admission.transcript(caller.claim, proof, caller, self.public)
        fleet = admission.check_operator(proof, transcript, self.policy.fleets)
        secrets = self._secrets(caller.claim)
        found = admission.check_secret(secrets, proof, transcript)
        held = self.tenancy
        if held is None and self.elsewhere:
            raise errors.Taken
        if held is None:
            held = self._new_tenancy(proof.key, fleet, found)
            first = True
        elif held.belongs_to(proof.key, fleet):
            held.operator, first = proof.key, False
        else:
            raise errors.Taken
        return self._enter(conn, caller, held, found, proof.since, first)

    def _secrets(self, claim: messages.Claim) -> list[admission.Secret]:
        if not claim.lease:
            return admission.code_secrets(self.public, self.window)
        if self.tenancy is None or self.tenancy.lease != claim.lease:
            raise errors.TokenSpent
        return [admission.Secret(self.tenancy.secret, claim.lease, spent=False)]

    def _new_tenancy(self, operator: bytes, fleet: bytes, found: admission.Found) -> Tenancy:
        if found.spent:
            raise errors.TokenSpent
        label = handshake.label(found.secret, self.public)
        self.tenancy = begin(operator, fleet, found, label, self.random, self.now)
        self.window.spend(self.now)
        return self.tenancy

    def _enter(
        self,
        conn: int,
        caller: Caller,
        held: Tenancy,
        found: admission.Found,
        since: int,
        first: bool,
    ) -> list[NodeEffect]:
        effects: list[NodeEffect] = [Remember()]
        if held.conn is not None and held.conn != conn:
            effects += self._refuse(held.conn, errors.Busy("The operator connected again."))
        caller.phase, caller.pinged = Phase.LEASE, self.now
        caller.deadline = self.now + IDLE_SECONDS
        held.conn, held.absent_since, held.words = conn, None, found.words
        answer = held.answer(found.answer, self.mode, self.boot, self.facts)
        effects.append(Send(answer, conn))
        if first:
            self._set_state(State.CLAIMED, effects)
            return [*effects, self.announcement()]
        effects += [Send(message, conn) for message in held.pending(self.key)]
        told = [receipts.report(self.key, held.lease, event) for event in held.log.since(since)]
        return [*effects, *(Send(report, conn) for report in told), Changed()]

    def _in_lease(  # noqa: C901 (a table of messages)
        self, conn: int, held: Tenancy, message: Message
    ) -> list[NodeEffect]:
        match message:
            case messages.Release():
                if self.mode not in INSTALLS:
                    raise errors.Busy("It is installed: it takes a config from its stick only.")
                upload = held.accept_release(message, self.public)
                want = messages.Want(sequence=upload.manifest.sequence, offset=len(upload.data))
                return [Send(want, conn), *self._finish_upload(held)]
            case messages.Chunk():
                if held.upload is None:
                    raise errors.ProtocolBroken("A config came without a manifest.")
                held.upload.add(message)
                return self._finish_upload(held)
            case messages.Escrowed():
                return [Remember(), EscrowKept()] if held.accept_escrowed(message) else []
            case messages.Ack():
                before, held.acknowledged = held.settled, max(held.acknowledged, message.seq)
                return [Remember(), Settled()] if held.settled and not before else []
            case requests.Maintain():
                return self._maintain(conn, held, message)
            case AsideMessage():
                return [Aside(message, conn)]
            case messages.Ping():
                return [Send(messages.Pong(), conn)]
            case messages.Pong():
                return []
            case messages.Bye():
                return self._bye(conn, message)
        raise errors.ProtocolBroken(f"Frame {message.TYPE!r} has no place here.")

    def _finish_upload(self, held: Tenancy) -> list[NodeEffect]:
        if held.upload is None or not held.upload.complete:
            return []
        upload, held.upload = held.upload, None
        config = upload.config()
        held.begin_release(upload.manifest)
        held.report_seed = held.report_seed or self.random(SEED_SIZE)
        shown = PrivateReportKey(held.report_seed).shown(self.key, held.lease)
        effects = self._to_operator(shown)
        self._set_state(State.APPROVED, effects)
        return [*effects, CheckConfig(upload.manifest, config)]

    def _maintain(self, conn: int, held: Tenancy, message: requests.Maintain) -> list[NodeEffect]:
        if self._asking is not None:
            raise errors.Busy("It is still at the last order.")
        todo = maintenance.accept(message, held, self.public, self.boot, self.mode)
        self._asking = conn
        self.again_until = max(self.again_until, self.now + AGAIN_SECONDS)
        return [todo]

    def carried_out(self, error: errors.KnownError | None, now: float) -> list[NodeEffect]:
        """What was asked for is done, or failed."""
        self.now = now
        code, text = (error.slug, error.detail) if error else ("", "")
        return self._answered(code, text[:2000])

    def _answered(self, code: str, text: str) -> list[NodeEffect]:
        conn, self._asking = self._asking, None
        answer = requests.Answer(code=code, text=text)
        return [Send(answer, conn)] if conn is not None else []

    def _bye(self, conn: int, message: messages.Bye) -> list[NodeEffect]:
        effects: list[NodeEffect] = []
        held = self.tenancy
        if held and message.reason == messages.Reason.REFUSE and held.state is State.CLAIMED:
            self._refused_until = self.now + self.policy.refused_pause
            self._set_state(State.REFUSED, effects, code=errors.NotApprovedError.slug)
        return [*effects, Close(conn), *self.closed(conn, self.now)]

    # --- what the agent says ------------------------------------------------------------------

    @property
    def abort_delay(self) -> float:
        """Seconds in which switching off stops an installation: none for a station of our fleet."""
        return 0.0 if self._held().fleet else self.policy.abort_delay

    def planned(self, lines: Sequence[str], now: float) -> list[NodeEffect]:
        """The config was checked and this is the plan."""
        self.now = now
        held = self._held()
        assert held.manifest is not None
        effects: list[NodeEffect] = []
        delay = self.abort_delay
        pause = [PAUSE_TEXT.format(seconds=delay)] if delay else []
        self._set_state(State.PLANNED, effects, text="\n".join([*lines, *pause]))
        return [*effects, Install(held.manifest, delay)]

    def config_refused(self, error: errors.KnownError, now: float) -> list[NodeEffect]:
        """The config is not for this node. Another one may be released."""
        self.now = now
        return self.entered(State.FAILED, now, code=error.slug, text=error.detail)
