"""The messages of a repair session, and how much of a terminal may be on its way at once. Sans-IO.

operator                                node
OpenTerminal  ------------------------>
              <------------------------ TerminalOpened         or TerminalClosed (refused)
TerminalData  <----------------------->  TerminalData
TerminalTaken <----------------------->  TerminalTaken
Resize        ------------------------>
CloseTerminal ------------------------>
              <------------------------ TerminalClosed

Either end says with TerminalTaken how many bytes it has used up; the other never has more than
`WINDOW` bytes or `PIECES` messages out beyond that. So a program that prints without end waits for
the slowest part of the way, and neither end stores more than that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from pairing import errors
from pairing.protocol import wire
from pairing.protocol.certificate import StationCertificate
from pairing.protocol.wire import AsideMessage, Message, Record

WINDOW = 128 * 1024
"""Bytes in one direction that the other end has not used up yet."""
PIECE = 16 * 1024
"""Bytes in one message."""
PIECES = 64
"""Messages in one direction that the other end has not used up yet."""
SESSION_LIMIT = 24 * 3600
"""Seconds of the longest session."""
SIDE_LIMIT = 1000
"""Columns or rows."""
_CERTIFICATE = wire.nested(StationCertificate, optional=True)


class TerminalMessage(AsideMessage):
    """A message of a repair session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalOrder(Record):
    """What the operator's key signs: a terminal on this node, in this lease, for so long.

    `session` is fresh; `seconds` and `idle` (without a key pressed) are limits, `time` is the
    operator's clock in Unix seconds, for the record only.
    """

    node: bytes = wire.wire(wire.blob(32))
    lease: bytes = wire.wire(wire.blob(16))
    session: bytes = wire.wire(wire.blob(16))
    seconds: int = wire.wire(wire.number(SESSION_LIMIT))
    idle: int = wire.wire(wire.number(SESSION_LIMIT))
    time: int = wire.wire(wire.number())


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTerminal(TerminalMessage):
    """Let me repair you."""

    TYPE: ClassVar[str] = "terminal-open"
    order: TerminalOrder = wire.wire(wire.nested(TerminalOrder))
    signature: bytes = wire.wire(wire.blob(64))
    certificate: StationCertificate | None = wire.wire(_CERTIFICATE)
    """For a node whose image pins no fleet, but whose disk names one."""
    columns: int = wire.wire(wire.number(SIDE_LIMIT))
    rows: int = wire.wire(wire.number(SIDE_LIMIT))
    kind: str = wire.wire(wire.text(32))
    """What TERM is to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalOpened(TerminalMessage):
    """It is open, for at most so many seconds, at most `idle` of them without a key pressed."""

    TYPE: ClassVar[str] = "terminal-opened"
    STRICT: ClassVar[bool] = False
    session: bytes = wire.wire(wire.blob(16))
    seconds: int = wire.wire(wire.number())
    idle: int = wire.wire(wire.number())


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalData(TerminalMessage):
    """Keys pressed, or what the terminal shows: raw bytes, in order."""

    TYPE: ClassVar[str] = "terminal-data"
    data: bytes = wire.wire(wire.blob(PIECE, 1))

    def __repr__(self) -> str:
        return f"TerminalData({len(self.data)} bytes)"


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalTaken(TerminalMessage):
    """So many bytes of yours, from the first on, are used up."""

    TYPE: ClassVar[str] = "terminal-taken"
    STRICT: ClassVar[bool] = False
    total: int = wire.wire(wire.number())


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize(TerminalMessage):
    """The operator's window has another size."""

    TYPE: ClassVar[str] = "terminal-size"
    STRICT: ClassVar[bool] = False
    columns: int = wire.wire(wire.number(SIDE_LIMIT))
    rows: int = wire.wire(wire.number(SIDE_LIMIT))


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseTerminal(TerminalMessage):
    """End it."""

    TYPE: ClassVar[str] = "terminal-close"
    STRICT: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalClosed(TerminalMessage):
    """It has ended. `code` is an error's slug, empty if the shell ended with exit code `status`."""

    TYPE: ClassVar[str] = "terminal-closed"
    STRICT: ClassVar[bool] = False
    code: str = wire.wire(wire.text(64))
    text: str = wire.wire(wire.text(1000))
    status: int = wire.wire(wire.number(255))


FROM_OPERATOR: tuple[type[Message], ...] = (
    OpenTerminal, TerminalData, TerminalTaken, Resize, CloseTerminal,
)  # fmt: skip
FROM_NODE: tuple[type[Message], ...] = (TerminalOpened, TerminalData, TerminalTaken, TerminalClosed)


@dataclass(slots=True)
class Outflow:
    """What this end has sent, and the other has not used up yet."""

    sent: int = 0
    taken: int = 0
    _ends: deque[int] = field(default_factory=deque)

    def room(self) -> int:
        """How many bytes may be sent now, as one message."""
        if len(self._ends) >= PIECES:
            return 0
        return min(PIECE, WINDOW - (self.sent - self.taken))

    def send(self, data: bytes) -> TerminalData:
        """A message with `data`, of at most `room()` bytes."""
        assert 0 < len(data) <= self.room()
        self.sent += len(data)
        self._ends.append(self.sent)
        return TerminalData(data=data)

    def acknowledged(self, message: TerminalTaken) -> None:
        """The other end has used up more. Raises errors.ProtocolBroken if that cannot be."""
        if not self.taken <= message.total <= self.sent:
            raise errors.ProtocolBroken("It has taken what was never sent.")
        self.taken = message.total
        while self._ends and self._ends[0] <= self.taken:
            self._ends.popleft()


@dataclass(slots=True)
class Inflow:
    """What has come in, and this end has not used up yet."""

    received: int = 0
    taken: int = 0
    _ends: deque[int] = field(default_factory=deque)

    def add(self, message: TerminalData) -> None:
        """Data has come. Raises errors.ProtocolBroken if it is more than may be out."""
        self.received += len(message.data)
        self._ends.append(self.received)
        if self.received - self.taken > WINDOW or len(self._ends) > PIECES:
            raise errors.ProtocolBroken("It sends more of a terminal than was asked for.")

    def take(self, size: int) -> TerminalTaken:
        """`size` more bytes are used up: what the other end is to be told."""
        self.taken += size
        while self._ends and self._ends[0] <= self.taken:
            self._ends.popleft()
        return TerminalTaken(total=self.taken)


def pieces(data: bytes) -> Iterator[bytes]:
    """`data` in parts that fit into one message each."""
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]
