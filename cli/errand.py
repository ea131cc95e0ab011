"""One errand to a registered machine: approve its start, open it, have it change its keys."""

from __future__ import annotations

import contextlib
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import trio

from cli import nodes
from cli.audit import Audit
from cli.desk import OperatorDesk
from cli.keyring import Keyring
from cli.nodes import NodeRecord
from cli.pairing_run import Network, Run, WarmUp, libp2p
from cli.records import NodeJournal, Records, StoredEscrow, now
from pairing import approval, errands, errors
from pairing.errands import Do, Errand, Hear, UnlockWith
from pairing.events import Event
from pairing.protocol import handshake
from pairing.protocol.errand import ALL_EVENTS, ErrandMachine, Standing
from pairing.protocol.messages import EscrowRecord, SealedKey, VolumeProof
from pairing.protocol.requests import Task, UnlockKind
from pairing.protocol.terms import KnownLease, Way
from pairing.report import Lines, Report
from pairing.transport.base import Address, Target

OPEN_SECONDS = 300.0
"""How long an unlocked machine may take until it answers under its own key."""
LOOK_SECONDS = 2.0
T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class NodeErrand:
    """To one machine. `timeout` in seconds, for finding it."""

    node: NodeRecord
    keyring: Keyring
    records: Records = field(default_factory=Records)
    addresses: Sequence[Address] = ()
    relays: Sequence[str] = ()
    timeout: float = 120.0
    network: Network = field(default_factory=libp2p)
    warm: WarmUp = field(default_factory=WarmUp)
    talk: Report = field(default_factory=lambda: Lines(sys.stderr, sys.stdout))

    # --- the recovery key -----------------------------------------------------------------------

    def recovery_key(self, use: str, older: int = 0) -> bytes:
        """The machine's recovery key, opened; that it was is in the audit log before it is used.

        `older`: so many records before the best one. Raises errors.EscrowKeyMissing.
        """
        ours, found = self.keyring.escrow(), self._records_for_us()
        if older >= len(found):
            raise errors.EscrowKeyMissing(element=self.node.node)
        stored, sealed = found[older]
        context = handshake.escrow_context(stored.record.node, stored.record.lease)
        self.note("recovery-key-opened", use=use, record=stored.path.name)
        return ours.open(sealed.sealed, context)

    def _records_for_us(self) -> list[tuple[StoredEscrow, SealedKey]]:
        """Records that our escrow key opens, the best first."""
        ours = self.keyring.escrow().public
        stored = nodes.escrow_of(self.records, self.node)
        return [(one, key) for one in stored for key in one.record.keys if key.recipient == ours]

    async def _with_each_key(self, rule: Callable[[int, Standing], Errand]) -> bool:
        """An errand that needs the recovery key. After a change of keys that was cut off it is not
        known here which of two opens the machine: where the best is refused, so are older ones
        tried. Raises errors.UnlockFailed if none opens it."""
        older = 0
        while True:
            try:
                return await self.errand(partial(rule, older))
            except errors.UnlockFailed:
                older += 1
                if older >= len(self._records_for_us()):
                    raise
                self.talk.say("key", "it does not open the machine; the one before is tried")

    def note(self, action: str, **about: str) -> None:
        """A line in the audit log."""
        log = Audit(self.records.folder, self.keyring.operator())
        log.note(action, self.node.node, **about)

    # --- what can be asked ----------------------------------------------------------------------

    async def approve(self) -> bool:
        """Let a machine that waits for approval start. False if it is open already."""
        rule = partial(self._unlocking, UnlockKind.APPROVAL, "approval")
        return await self._with_each_key(rule)

    async def unlock(self) -> bool:
        """Open a locked machine with its recovery key. False if it is open already."""
        return await self._with_each_key(partial(self._unlocking, UnlockKind.RECOVERY, "unlock"))

    async def ask(self) -> bool:
        """Take what an open machine has to tell into its journal. False if it is locked."""
        name = self.node.node
        known = max((int(body.get("seq", 0)) for body in self.records.history(name)), default=0)
        with contextlib.closing(self.records.journal(name)) as journal:
            return await self.errand(_hearing, known, journal)

    async def recover(self, tasks: Sequence[Task]) -> None:
        """Open it if it is locked, then these. Raises errors.KnownError."""
        if await self.unlock():
            self.talk.say("opened", "its volumes are open")
        for task in tasks:
            await self.change(task)
            self.note("keys-changed", task=task.value)
            self.talk.say("done", task.value)

    async def change(self, task: Task) -> None:
        """Have an open machine change its keys. Raises errors.KnownError."""
        with trio.move_on_after(OPEN_SECONDS):
            rule = partial(self._changing, task)
            while not await self._with_each_key(rule):  # noqa: ASYNC110
                await trio.sleep(LOOK_SECONDS)
            return
        raise errors.PhaseTimeout("It is still locked.", element=self.node.node)

    def _unlocking(self, kind: UnlockKind, use: str, older: int, standing: Standing) -> Errand:
        if standing.locked is None:
            return None
        key = self.recovery_key(use, older)
        secret = approval.pin(key) if kind is UnlockKind.APPROVAL else key
        return UnlockWith(kind, secret)

    def _changing(self, task: Task, older: int, standing: Standing) -> Errand:
        if standing.locked is not None:
            return None
        recipients, key = self.keyring.recipients(), self.recovery_key(task.value, older)
        return Do(task, recipients, key, int(time.time()))

    # --- the way there --------------------------------------------------------------------------

    def run(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Do one of these, once. Raises errors.KnownError."""
        self.warm.start()
        self.warm.wait()
        try:
            return trio.run(ask)
        except KeyboardInterrupt:
            raise errors.Interrupted("The machine may go on with what it was asked.") from None

    async def errand(
        self,
        choose: Callable[[Standing], Errand],
        since: int = ALL_EVENTS,
        journal: NodeJournal | None = None,
    ) -> bool:
        """One connection, one question; whether something was asked. Raises errors.KnownError.

        What the machine says of the time after the event `since` is kept in `journal`.
        """
        identity, clerk = self.keyring.identity(), DeskClerk(self, choose, journal)

        def machine() -> ErrandMachine:
            known = self.node.stored.known
            return ErrandMachine(
                known=known, identity=identity, random=secrets.token_bytes, since=since
            )

        try:
            async with self.network() as dialer:
                return await errands.run_errand(machine, dialer, self._target, clerk, self.timeout)
        except* errors.KnownError as group:
            raise errors.first_known(group) from None

    def _target(self, way: Way) -> Target:
        return Target(way.key, way.label, tuple(self.addresses), tuple(self.relays))


async def approve_first_start(run: Run, keyring: Keyring, desk: OperatorDesk) -> None:
    """Open a machine of this run that waits for it (`unlock: approval`): it was approved minutes
    ago. Raises errors.KnownError."""
    errand = NodeErrand(
        node=nodes.find(run.records, desk.node),
        keyring=keyring,
        records=run.records,
        addresses=desk.token.addresses,
        relays=run.order.relays,
        timeout=run.timeout,
        network=run.network,
        talk=run.report,
    )
    if await errand.approve():
        errand.note("start-approved", by="kairos-register")
        run.report.say("approved", "its first start (unlock: approval)")


@dataclass(slots=True)
class DeskClerk:
    """`pairing.errands.Clerk` at this station."""

    errand: NodeErrand
    rule: Callable[[Standing], Errand]
    journal: NodeJournal | None = None

    async def choose(self, standing: Standing) -> Errand:
        """See `pairing.errands.Clerk`."""
        talk, locked = self.errand.talk, standing.locked
        talk.say("words", " ".join(standing.words))
        if locked is None:
            talk.say("state", f"{standing.state}, its volumes are open")
        else:
            known = errors.locked(locked.code, locked.text)
            talk.say("locked", known.sentence)
        return await trio.to_thread.run_sync(self.rule, standing)

    async def keep_escrow(self, record: EscrowRecord, signature: bytes) -> None:
        """See `pairing.errands.Clerk`."""
        keep = partial(self.errand.records.keep_escrow, record, signature)
        path = await trio.to_thread.run_sync(keep)
        self.errand.talk.say("escrow", f"sealed recovery key kept in {path}")

    async def keep_proof(self, proof: VolumeProof, signature: bytes) -> None:
        """See `pairing.errands.Clerk`. A node tells the last proof to whoever comes."""
        if not self.errand.records.has_escrow(proof.digest):
            self.errand.talk.warn("the machine's latest recovery key is not in these records")
            return
        await trio.to_thread.run_sync(self.errand.records.keep_proof, proof, signature)

    async def keep_lease(self, known: KnownLease) -> None:
        """See `pairing.errands.Clerk`: nothing, the report key of a lease never changes."""
        raise errors.ProtocolBroken("The node shows another report key than before.")

    def seen(self, event: Event, signature: bytes) -> None:
        """See `pairing.errands.Clerk`."""
        self.errand.talk.event(event, now(), self.errand.node.serial)
        if self.journal is not None:
            self.journal.append(event, signature, self.errand.node.serial)

    def notice(self, text: str) -> None:
        """See `pairing.errands.Clerk`."""
        label, _, rest = text.partition(": ")
        self.errand.talk.say(label, rest)


def _hearing(standing: Standing) -> Errand:
    return Hear() if standing.locked is None else None
