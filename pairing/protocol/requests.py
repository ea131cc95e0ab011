"""What an operator asks of a node outside of an installation: to unlock."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from pairing.protocol import wire
from pairing.protocol.wire import Message

SEALED = wire.blob(1024, 48)


class UnlockKind(enum.StrEnum):
    """What a sealed unlock holds."""

    RECOVERY = "recovery"
    """The recovery key: it opens the volumes alone."""
    APPROVAL = "approval"
    """The PIN of `unlock: approval`: it opens them together with the node's TPM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlock(Message):
    """Open your volumes with this, sealed to the report key (`handshake.unlock_context`)."""

    TYPE: ClassVar[str] = "unlock"
    kind: str = wire.wire(wire.text(32))
    sealed: bytes = wire.wire(SEALED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Message):
    """A request was carried out (`code` is empty), or why not: `code` is an error's slug."""

    TYPE: ClassVar[str] = "answer"
    STRICT: ClassVar[bool] = False
    code: str = wire.wire(wire.text(64))
    text: str = wire.wire(wire.text(2000))


FROM_OPERATOR: tuple[type[Message], ...] = (Unlock,)
FROM_NODE: tuple[type[Message], ...] = (Answer,)
