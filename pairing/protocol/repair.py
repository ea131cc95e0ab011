"""The operator's side of a repair session, sans-IO: into the lease, then a terminal, nothing else.

One machine is one session on one connection: when that is gone the node ends the shell, and there
is nothing to go on with. Events of the node are not acknowledged here: a later `kairos-register`
hears them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pairing import errors
from pairing.protocol import handshake, messages
from pairing.protocol.effects import Close, Fail, Leased, Send
from pairing.protocol.entry import Entry
from pairing.protocol.rescue import RESCUE_DOMAIN
from pairing.protocol.terminal import (
    CloseTerminal,
    Inflow,
    OpenTerminal,
    Outflow,
    Resize,
    TerminalClosed,
    TerminalData,
    TerminalOpened,
    TerminalOrder,
    TerminalTaken,
)
from pairing.protocol.terms import Identity, KnownLease, Patience
from pairing.protocol.wire import Message, read_message

ALL_EVENTS = 2**53 - 1
"""As if we had heard them all: none is sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The terminal that is asked for. `seconds` and `idle` 0: what the node grants; `time` Unix."""

    columns: int
    rows: int
    kind: str
    seconds: int = 0
    idle: int = 0
    time: int = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """The terminal is open; `words` are those on the node's screen."""

    seconds: int
    idle: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """The node's terminal shows this: a stranger's bytes. Call `shown` when they are used up."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ended:
    """The shell ended with this exit status, or the operator ended it."""

    status: int


RepairEffect = Send | Close | Leased | Opened | Shown | Ended | Fail


@dataclass(slots=True)
class RepairMachine:
    """State of one session. `key` is the node's; `subject` and `secret` those of code or lease."""

    key: bytes
    subject: bytes
    secret: bytes = field(repr=False)
    identity: Identity
    wanted: Wanted
    random: Callable[[int], bytes]
    lease: bytes = b""
    """The lease that is resumed; empty for a claim."""
    patience: Patience = field(default_factory=Patience)
    over: bool = False
    _entry: Entry | None = None
    _session: bytes = b""
    _open: bool = False
    _until: float = 0.0
    """When the node must have said its next word."""
    _out: Outflow = field(default_factory=Outflow)
    _in: Inflow = field(default_factory=Inflow)
    _keys: bytearray = field(default_factory=bytearray)
    _words: tuple[str, ...] = ()

    # --- the connection -----------------------------------------------------------------------

    def opened(self, channel_key: bytes, now: float) -> list[RepairEffect]:
        """A channel to the node is open: `channel_key` is this end's key on it."""
        self._until = now + self.patience.handshake
        self._entry = Entry(
            identity=self.identity,
            key=self.key,
            channel_key=channel_key,
            subject=self.subject,
            secret=self.secret,
            nonce=self.random(32),
            lease=self.lease,
        )
        return [Send(self._entry.claim())]

    def lost(self) -> list[RepairEffect]:
        """The channel is gone."""
        lost = errors.RescueCut() if self._open else errors.ConnectionLost()
        return [] if self.over else self.fail(lost)

    def received(self, body: Mapping[str, Any], now: float) -> list[RepairEffect]:
        """An object came in from the node."""
        if self.over or self._entry is None:
            return []
        try:
            message = read_message(body, messages.FROM_NODE)
            return self._dispatch(self._entry, message, now)
        except errors.KnownError as error:
            return self.fail(error)

    def tick(self, now: float) -> list[RepairEffect]:
        """Time has passed: call at least once a second."""
        if self.over or self._entry is None or now < self._until:
            return []
        return self.fail(errors.RescueCut() if self._open else errors.PhaseTimeout())

    def fail(self, error: errors.KnownError) -> list[RepairEffect]:
        """End with this error."""
        self.over = True
        return [Close(), Fail(error)]

    # --- messages -----------------------------------------------------------------------------

    def _dispatch(self, entry: Entry, message: Message, now: float) -> list[RepairEffect]:
        match message:
            case messages.Refused():
                if message.code == errors.TokenSpent.slug and self.lease:
                    return self.fail(errors.NodeRestarted())
                holder = f"Its holder is {message.holder}." if message.holder else message.text
                return self.fail(errors.from_slug(message.code, holder))
            case messages.Challenge() if not self._session:
                return [Send(entry.prove(message, ALL_EVENTS))]
            case messages.Lease() if not self._session:
                return self._ask(entry, message, now)
        if not self._session:
            raise errors.ProtocolBroken(f"Frame {message.TYPE!r} has no place here.")
        self._until = now + self.patience.silence
        return self._in_session(message)

    def _ask(self, entry: Entry, lease: messages.Lease, now: float) -> list[RepairEffect]:
        self._words = entry.accept(lease)
        self._session, self._until = self.random(16), now + self.patience.handshake
        wanted = self.wanted
        order = TerminalOrder(
            node=self.key,
            lease=lease.lease,
            session=self._session,
            seconds=wanted.seconds,
            idle=wanted.idle,
            time=wanted.time,
        )
        request = OpenTerminal(
            order=order,
            signature=self.identity.key.sign(RESCUE_DOMAIN, handshake.signed_body(order)),
            certificate=self.identity.shown(),
            columns=wanted.columns,
            rows=wanted.rows,
            kind=wanted.kind,
        )
        first: list[RepairEffect] = (
            [] if self.lease else [Leased(KnownLease(lease.lease, lease.secret))]
        )
        return [*first, Send(request)]

    def _in_session(self, message: Message) -> list[RepairEffect]:
        match message:
            case TerminalOpened() if not self._open and message.session == self._session:
                self._open = True
                return [Opened(message.seconds, message.idle, self._words), *self._press()]
            case TerminalData() if self._open:
                self._in.add(message)
                return [Shown(message.data)]
            case TerminalTaken() if self._open:
                self._out.acknowledged(message)
                return self._press()
            case TerminalClosed():
                return self._closed(message)
            case messages.Ping():
                return [Send(messages.Pong())]
            case messages.Report() | messages.Escrow() | messages.EscrowProof() | messages.Pong():
                return []  # of the pairing; `kairos-register` hears them again
            case messages.ShownReportKey():
                return []
        raise errors.ProtocolBroken(f"Frame {message.TYPE!r} has no place here.")

    def _closed(self, message: TerminalClosed) -> list[RepairEffect]:
        self.over = True
        bye = Send(messages.Bye(reason=messages.Reason.HOLD, text=""))
        if message.code:
            return [bye, Close(), Fail(errors.from_slug(message.code, message.text))]
        return [bye, Close(), Ended(message.status)]

    # --- what the operator does ---------------------------------------------------------------

    def pressed(self, keys: bytes) -> list[RepairEffect]:
        """Keys were pressed; what the node has no room for yet waits."""
        self._keys += keys
        return self._press()

    def waiting(self) -> int:
        """Bytes of keys that wait for the node."""
        return len(self._keys)

    def _press(self) -> list[RepairEffect]:
        effects: list[RepairEffect] = []
        while self._open and not self.over and self._keys and (room := self._out.room()):
            effects.append(Send(self._out.send(bytes(self._keys[:room]))))
            del self._keys[:room]
        return effects

    def shown(self, size: int) -> list[RepairEffect]:
        """`size` bytes of the terminal are used up."""
        return [] if self.over else [Send(self._in.take(size))]

    def resized(self, columns: int, rows: int) -> list[RepairEffect]:
        """The operator's window has another size."""
        ready = self._open and not self.over
        return [Send(Resize(columns=columns, rows=rows))] if ready else []

    def close(self) -> list[RepairEffect]:
        """The operator has enough; the node answers that it has ended."""
        if self.over:
            return []
        return [Send(CloseTerminal())] if self._session else self.fail(errors.Interrupted())
