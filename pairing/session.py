"""The operator's session: drives the operator's state machine over a transport.

One queue of inputs, one loop: frames, decisions, lost connections and seconds go in, effects come
out. Everything slow (dialling, deciding, writing to disk) runs beside the loop, so heartbeats go on
while a person thinks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import trio

from pairing import errors
from pairing.events import Event
from pairing.link import Link, clock, hold
from pairing.protocol import effects, frames
from pairing.protocol.effects import Done, NodeView, OperatorEffect
from pairing.protocol.messages import EscrowRecord, VolumeProof
from pairing.protocol.operator import OperatorMachine
from pairing.protocol.terms import KnownLease, Release, Way
from pairing.transport.base import Channel, Dialer, Target

REDIAL_PAUSE = 0.5
ROUND_SECONDS = 20.0
"""For all ways to a node, once; then again."""
LOCKED_SECONDS = 5.0
"""Time for a locked node to be found beside a stranger in its place."""
FAREWELL_SECONDS = 3.0
KEEPING = (effects.Leased, effects.KeepReportKey, effects.KeepEscrow, effects.KeepProof)
"""Effects that end on disk."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Not decided; the lease stays for the next run."""

    error: errors.KnownError


@dataclass(frozen=True, slots=True)
class Refuse:
    """No; final for this code."""

    error: errors.KnownError


Decision = Release | Hold | Refuse


class Desk(Protocol):
    """What a session asks of the operator's side: decisions, safekeeping, and an eye on it.

    The awaitable ones may take their time and may raise errors.KnownError, which ends the session.
    """

    async def decide(self, view: NodeView) -> Decision:
        """Approve this node or not. Nothing of the config has left this machine yet."""

    async def keep_escrow(self, record: EscrowRecord, signature: bytes) -> None:
        """Write the record to disk, fsync, read it back; the node writes nothing until then."""

    async def keep_proof(self, proof: VolumeProof, signature: bytes) -> None:
        """Complete the record on disk."""

    async def keep_lease(self, known: KnownLease) -> None:
        """Remember the lease, to find the node again in another run or when it is locked."""

    def seen(self, event: Event, signature: bytes) -> None:
        """An event of the node; those that change its state come with the node's signature."""

    def notice(self, text: str) -> None:
        """What the session itself does: found, connected, dialling again."""


_Input = Callable[[], list[OperatorEffect]]


class _Session:
    def __init__(
        self, machine: OperatorMachine, dialer: Dialer, target: Target, desk: Desk, find: float
    ) -> None:
        self.machine, self.dialer, self.target, self.desk = machine, dialer, target, desk
        self.find = find
        self.inputs, self._queue = trio.open_memory_channel[_Input](256)
        self.link: Link | None = None
        self.outcome: Done | errors.KnownError | None = None

    async def run(self) -> Done:
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            nursery.start_soon(self._dial, self._targets(self.machine.ways()), self.find)
            nursery.start_soon(clock, self.machine, self.inputs.send)
            async for take in self._queue:
                for effect in take():
                    self._apply(effect)
                if self.outcome is not None:
                    break
            await self._farewell()
            nursery.cancel_scope.cancel()
        if isinstance(self.outcome, errors.KnownError):
            raise self.outcome
        assert self.outcome is not None
        return self.outcome

    async def _farewell(self) -> None:
        if self.link:
            with trio.move_on_after(FAREWELL_SECONDS):
                await self.link.gone.wait()

    # --- reaching the node --------------------------------------------------------------------

    async def _dial(self, targets: Sequence[Target], within: float) -> None:
        # Who was ours once, now or in an earlier run, and has another key has restarted.
        try:
            channel = await self._reach(targets, within)
        except errors.KnownError as error:
            failed = self._unreachable(error)
            await self.inputs.send(partial(self.machine.fail, failed))
            return
        self.desk.notice(f"connected: {channel.path}")
        await self._hold(channel)

    async def _reach(self, targets: Sequence[Target], within: float) -> Channel:
        """The first of the node's keys that answers; the node's own is the first target."""
        found: list[Channel] = []
        failed: list[errors.KnownError] = []

        async def look(target: Target, ours: bool) -> None:
            try:
                found.append(await self._reach_one(target, within))
            except errors.KnownError as error:
                failed.append(error)
                if not ours:
                    return
            looking.cancel_scope.cancel()

        async with trio.open_nursery() as looking:
            for target in targets:
                looking.start_soon(look, target, target is targets[0])
        for extra in found[1:]:
            await extra.aclose()
        if found:
            return found[0]
        raise failed[0]

    async def _reach_one(self, target: Target, within: float) -> Channel:
        last: errors.KnownError = errors.UnreachableError(f"It was given {within:g} seconds.")
        grace = self._grace(target)
        with trio.move_on_after(within):
            while True:
                try:
                    # In rounds: who is there in the node's place is only told at a dial's end.
                    with trio.move_on_after(ROUND_SECONDS):
                        return await self.dialer.dial(target)
                except errors.UnreachableError as error:
                    last = error
                except errors.WrongKey as error:
                    if trio.current_time() >= grace:
                        raise
                    last = error
                await trio.sleep(REDIAL_PAUSE)
        raise last

    def _grace(self, target: Target) -> float:
        """Until when another machine in the node's place is only that: it may still be elsewhere.

        Who was ours, now or in an earlier run, has not written its disk and has another key has
        restarted; unless it has restarted from that disk and is locked: that is found out soon.
        """
        machine = self.machine
        if target.key != machine.token.key or not machine.may_have_restarted():
            return math.inf
        locked = machine.known is not None and machine.known.report is not None
        return trio.current_time() + (LOCKED_SECONDS if locked else 0.0)

    def _unreachable(self, error: errors.KnownError) -> errors.KnownError:
        if not isinstance(error, errors.WrongKey):
            return error
        if self.machine.may_have_restarted():
            return errors.NodeRestarted()
        if self.machine.view is None:
            return error
        return errors.UnreachableError(
            "Another machine answers at its address, or it started from its stick again."
        )

    async def _hold(self, channel: Channel) -> None:
        self.link = Link(channel, lambda: frames.FRAME_LIMIT)
        await self.inputs.send(lambda: self._opened(channel))
        try:
            await hold(self.link, self.machine, self.inputs.send)
        finally:
            self.link = None
        await self.inputs.send(lambda: self.machine.lost(trio.current_time()))

    def _opened(self, channel: Channel) -> list[OperatorEffect]:
        now = trio.current_time()
        return self.machine.opened(channel.local_key, channel.path, now, channel.remote_key)

    # --- effects ------------------------------------------------------------------------------

    def _apply(self, effect: OperatorEffect) -> None:
        match effect:
            case effects.Send(message):
                if self.link:
                    self.link.send(message)
            case effects.Close():
                if self.link:
                    self.link.close()
            case effects.Seen(event, signature):
                self.desk.seen(event, signature)
            case effects.Done() as done:
                self.outcome = done
            case effects.Fail(error):
                self.outcome = error
            case effects.Redial(ways):
                self._redial(ways)
            case _:
                self.nursery.start_soon(self._consult, effect)

    def _redial(self, ways: Sequence[Way]) -> None:
        self.desk.notice("connection lost; dialling again")
        patience = self.machine.patience
        within = max(patience.silence, patience.reboot)  # the machine's own deadline comes first
        self.nursery.start_soon(self._dial_again, self._targets(ways), within)

    async def _dial_again(self, targets: Sequence[Target], within: float) -> None:
        await trio.sleep(REDIAL_PAUSE)  # for a node that hangs up at once: it changes its key
        await self._dial(targets, within)

    def _targets(self, ways: Sequence[Way]) -> list[Target]:
        return [replace(self.target, key=way.key, label=way.label) for way in ways]

    async def _consult(self, effect: OperatorEffect) -> None:
        try:
            # What must be kept is kept, also when the goal is reached meanwhile.
            with trio.CancelScope(shield=isinstance(effect, KEEPING)):
                answer = await self._ask(effect)
        except errors.KnownError as error:
            answer = partial(self.machine.hold, error)
        if answer:
            await self.inputs.send(answer)

    async def _ask(self, effect: OperatorEffect) -> _Input | None:
        now = trio.current_time
        match effect:
            case effects.Decide(view):
                return self._decided(await self.desk.decide(view))
            case effects.KeepReportKey(known):
                await self.desk.keep_lease(known)
                return lambda: self.machine.report_key_kept(now())
            case effects.KeepEscrow(record, signature):
                await self.desk.keep_escrow(record, signature)
                return lambda: self.machine.escrow_kept(now())
            case effects.KeepProof(proof, signature):
                await self.desk.keep_proof(proof, signature)
            case effects.Leased(known):
                await self.desk.keep_lease(known)
        return None

    def _decided(self, decision: Decision) -> _Input:
        match decision:
            case Release():
                return lambda: self.machine.release(decision, trio.current_time())
            case Hold(error):
                return partial(self.machine.hold, error)
            case Refuse(error):
                return partial(self.machine.refuse, error)


async def register(
    machine: OperatorMachine, dialer: Dialer, target: Target, desk: Desk, *, find: float
) -> Done:
    """Pair one node: find it within `find` seconds, claim, decide, release, follow to the goal.

    Raises errors.KnownError with the exit code of the outcome. Cancellation says farewell and ends.
    """
    return await _Session(machine, dialer, target, desk, find).run()
