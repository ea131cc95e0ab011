"""What an operator asks of a node outside of an installation: to unlock, to change its keys."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from pairing.protocol import wire
from pairing.protocol.wire import Message, Record

SEALED, KEY = wire.blob(1024, 48), wire.blob(32)


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


class Task(enum.StrEnum):
    """What an open node can be told to do with the keys of its volumes."""

    ROTATE = "rotate-recovery-key"
    """Make a new recovery key, have it kept, enrol it, then wipe the old one."""
    REENROLL = "reenroll-tpm"
    """Bind the volumes to the TPM as it is now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceOrder(Record):
    """What the operator's key signs. For one boot of one node: worth nothing later.

    `escrow` are the recipients of a new recovery key; `sealed` is the present one, sealed to the
    report key like an unlock, empty if it is not sent. `time`: the operator's, Unix seconds.
    """

    node: bytes = wire.wire(KEY)
    lease: bytes = wire.wire(wire.blob(16))
    boot: str = wire.wire(wire.text(64))
    task: str = wire.wire(wire.text(32))
    escrow: tuple[bytes, ...] = wire.wire(wire.many(KEY, 8))
    sealed: bytes = wire.wire(wire.blob(1024, 0))
    time: int = wire.wire(wire.number())


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintain(Message):
    """Do this with the keys of your volumes."""

    TYPE: ClassVar[str] = "maintain"
    order: MaintenanceOrder = wire.wire(wire.nested(MaintenanceOrder))
    signature: bytes = wire.wire(wire.blob(64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Message):
    """A request was carried out (`code` is empty), or why not: `code` is an error's slug."""

    TYPE: ClassVar[str] = "answer"
    STRICT: ClassVar[bool] = False
    code: str = wire.wire(wire.text(64))
    text: str = wire.wire(wire.text(2000))


FROM_OPERATOR: tuple[type[Message], ...] = (Unlock, Maintain)
FROM_NODE: tuple[type[Message], ...] = (Answer,)
