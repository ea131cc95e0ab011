"""A locked node, sans-IO: known by its report key, it says why and takes what unlocks it.

It holds nothing of its lease but the name, so it can neither take a config nor say anything but
`locked`; the operator's machine refuses whatever else it would say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pairing import errors, keys
from pairing.events import Mode, State
from pairing.protocol import handshake, requests
from pairing.protocol.callers import NodePolicy
from pairing.protocol.effects import Announce, Close, NodeEffect, Opened, TryUnlock
from pairing.protocol.kept import ReportFile
from pairing.protocol.node import NodeMachine
from pairing.protocol.reportkey import PrivateReportKey
from pairing.protocol.requests import UnlockKind
from pairing.protocol.tenancy import Tenancy
from pairing.protocol.wire import Message


@dataclass(slots=True, kw_only=True)
class LockedMachine(NodeMachine):
    """A `NodeMachine` of the report key. Answer `TryUnlock` with `unlocked` or `unlock_failed`."""

    sealing: keys.EscrowKey
    open: bool = False
    """It is on its way to its own key: nobody new is told that it is locked."""

    def opened(self, conn: int, source: str, channel_key: bytes, now: float) -> list[NodeEffect]:
        """See `NodeMachine`."""
        if self.open:
            return [Close(conn)]
        return NodeMachine.opened(self, conn, source, channel_key, now)

    @property
    def trying(self) -> bool:
        """Whether somebody who sent a key has no answer yet."""
        return self._asking is not None

    def kept(self) -> None:
        """Nothing: what this lease was is in the volume that is not open."""
        return

    def announcement(self) -> Announce:
        """See `NodeMachine`: under the lease, and under the code on the screen."""
        assert self.tenancy is not None
        labels = [handshake.label(self.tenancy.secret, self.public)]
        labels += [handshake.label(code.value, self.public) for code in self.window.valid()]
        return Announce(tuple(labels))

    def _in_lease(self, conn: int, held: Tenancy, message: Message) -> list[NodeEffect]:
        if not isinstance(message, requests.Unlock):
            return NodeMachine._in_lease(self, conn, held, message)
        if self._asking is not None:
            raise errors.Busy("It is trying to unlock.")
        if message.kind not in {kind.value for kind in UnlockKind}:
            raise errors.ProtocolBroken(f"Unknown way to unlock {message.kind[:40]!r}.")
        context = handshake.unlock_context(self.public, held.lease, self.boot)
        secret = self.sealing.open(message.sealed, context)
        self._asking = conn
        return [TryUnlock(UnlockKind(message.kind), secret)]

    def unlocked(self, now: float) -> list[NodeEffect]:
        """The volumes are open: the node goes on under its own key."""
        self.now, self.open = now, True
        return [*self._answered("", ""), Opened()]

    def unlock_failed(self, error: errors.KnownError, now: float) -> list[NodeEffect]:
        """They are not; another attempt may follow."""
        self.now = now
        return self._answered(error.slug, error.detail[:2000])


def locked_machine(
    file: ReportFile,
    *,
    boot: str,
    facts: Mapping[str, Any],
    policy: NodePolicy,
    random: Callable[[int], bytes],
    now: float,
    code: str,
    text: str,
) -> LockedMachine:
    """The machine of a node that is locked for the reason `code` (an error's slug)."""
    key = PrivateReportKey(file.seed)
    held = Tenancy(
        lease=file.lease,
        secret=file.secret,
        operator=file.operator,
        fleet=file.fleet,
        claimed_label=b"",
        claimed_secret=b"",
        claimed_at=now,
        words=(),
        absent_since=now,
        state=State.LOCKED,
    )
    machine = LockedMachine(
        key=key.signing,
        sealing=key.sealing,
        boot=boot,
        facts=facts,
        policy=policy,
        random=random,
        now=now,
        mode=Mode.LOCKED,
        tenancy=held,
    )
    machine.entered(State.LOCKED, now, code=code, text=text)
    return machine
