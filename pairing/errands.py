"""An errand's driver at the operator: finds the node, locked or not, and asks one thing of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import trio

from pairing import errors
from pairing.events import Event
from pairing.link import Link, clock, hold
from pairing.protocol import effects, frames
from pairing.protocol.errand import Answered, ErrandEffect, ErrandMachine, Standing
from pairing.protocol.messages import EscrowRecord, VolumeProof
from pairing.protocol.requests import Task, UnlockKind
from pairing.protocol.terms import KnownLease, Way
from pairing.transport.base import Channel, Dialer, Target

REDIAL_PAUSE = 0.5
FAREWELL_SECONDS = 3.0
KEEPING = (effects.KeepReportKey, effects.KeepEscrow, effects.KeepProof)


@dataclass(frozen=True, slots=True)
class UnlockWith:
    """Open it with this."""

    kind: UnlockKind
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Do:
    """Have it do this; `time` in Unix seconds."""

    task: Task
    escrow: tuple[bytes, ...]
    recovery: bytes = field(repr=False)
    time: int


@dataclass(frozen=True, slots=True)
class Hear:
    """Take what it has to tell."""


Errand = UnlockWith | Do | Hear | None
"""What to ask for; None: nothing."""
_Input = Callable[[], list[ErrandEffect]]


class Clerk(Protocol):
    """What an errand asks of the operator's side. The awaitable ones may raise errors.KnownError,
    which ends it."""

    async def choose(self, standing: Standing) -> Errand:
        """What to ask of the node, now that it is known how it is."""

    async def keep_escrow(self, record: EscrowRecord, signature: bytes) -> None:
        """Write the record to disk, fsync, read it back; no key is changed until then."""

    async def keep_proof(self, proof: VolumeProof, signature: bytes) -> None:
        """Complete the record on disk."""

    async def keep_lease(self, known: KnownLease) -> None:
        """Remember the lease."""

    def seen(self, event: Event, signature: bytes) -> None:
        """What the node says while it works."""

    def notice(self, text: str) -> None:
        """What happens on the way there."""


async def reach_any(dialer: Dialer, targets: Sequence[Target], within: float) -> Channel:
    """A channel to whichever of these answers first. Raises errors.KnownError."""
    found: list[Channel] = []
    failed: list[errors.KnownError] = [errors.UnreachableError(f"It was given {within:g} seconds.")]

    async def look(target: Target) -> None:
        while True:
            try:
                found.append(await dialer.dial(target))
                looking.cancel_scope.cancel()
                return
            except (errors.UnreachableError, errors.WrongKey) as error:
                failed.append(error)
            await trio.sleep(REDIAL_PAUSE)

    with trio.move_on_after(within):
        async with trio.open_nursery() as looking:
            for target in targets:
                looking.start_soon(look, target)
    for extra in found[1:]:
        await extra.aclose()
    if found:
        return found[0]
    raise failed[-1]


class _Errand:
    def __init__(self, machine: ErrandMachine, clerk: Clerk) -> None:
        self.machine, self.clerk = machine, clerk
        self.inputs, self._queue = trio.open_memory_channel[_Input](64)
        self.outcome: Answered | errors.KnownError | None = None
        self.over = False

    async def run(self, channel: Channel) -> bool:
        now = trio.current_time
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            self.link = Link(channel, lambda: frames.FRAME_LIMIT)
            nursery.start_soon(self._hold)
            nursery.start_soon(clock, self.machine, self.inputs.send)
            self._apply_all(self.machine.opened(channel.local_key, channel.remote_key, now()))
            async for take in self._queue:
                self._apply_all(take())
                if self.over:
                    break
            with trio.move_on_after(FAREWELL_SECONDS):
                await self.link.gone.wait()
            nursery.cancel_scope.cancel()
        if isinstance(self.outcome, errors.KnownError):
            raise self.outcome
        return self.outcome is not None

    async def _hold(self) -> None:
        await hold(self.link, self.machine, self.inputs.send)
        await self.inputs.send(self.machine.lost)

    def _apply_all(self, todo: Sequence[ErrandEffect]) -> None:
        for effect in todo:
            self._apply(effect)

    def _apply(self, effect: ErrandEffect) -> None:
        match effect:
            case effects.Send(message):
                self.link.send(message)
            case effects.Close():
                self.over = True
                self.link.close()
            case effects.Seen(event, signature):
                self.clerk.seen(event, signature)
            case Answered() as answered:
                self.outcome = answered
            case effects.Fail(error):
                self.outcome = error
            case _:
                self.nursery.start_soon(self._consult, effect)

    async def _consult(self, effect: ErrandEffect) -> None:
        answer: _Input | None
        try:
            with trio.CancelScope(shield=isinstance(effect, KEEPING)):
                answer = await self._ask(effect)
        except errors.KnownError as error:
            answer = partial(self.machine.fail, error)
        if answer:
            await self.inputs.send(answer)

    async def _ask(self, effect: ErrandEffect) -> _Input | None:
        match effect:
            case Standing() as standing:
                return self._chosen(await self.clerk.choose(standing))
            case effects.KeepReportKey(known):
                await self.clerk.keep_lease(known)
                return self.machine.report_key_kept
            case effects.KeepEscrow(record, signature):
                await self.clerk.keep_escrow(record, signature)
                return self.machine.escrow_kept
            case effects.KeepProof(proof, signature):
                await self.clerk.keep_proof(proof, signature)
        return None

    def _chosen(self, errand: Errand) -> _Input:
        machine, now = self.machine, trio.current_time
        match errand:
            case UnlockWith(kind, secret):
                return lambda: machine.unlock(kind, secret, now())
            case Do(task, escrow, recovery, time):
                return lambda: machine.maintain(task, escrow, recovery, time, now())
            case Hear():
                return lambda: machine.hear(now())
            case None:
                return machine.leave


async def run_errand(
    new_machine: Callable[[], ErrandMachine],
    dialer: Dialer,
    target: Callable[[Way], Target],
    clerk: Clerk,
    find: float,
) -> bool:
    """Find the node within `find` seconds, see how it is, ask; whether anything was asked.

    A node that hangs up before it has said anything is between two of its keys: it is dialled
    again, by a new machine. Raises errors.KnownError: that the node is not found, refuses, or could
    not do it.
    """
    until = trio.current_time() + find
    while True:
        machine = new_machine()
        targets = [target(way) for way in machine.ways()]
        channel = await reach_any(dialer, targets, max(0.0, until - trio.current_time()))
        clerk.notice(f"connected: {channel.path}")
        try:
            return await _Errand(machine, clerk).run(channel)
        except errors.ConnectionLost:
            if machine.met or trio.current_time() >= until:
                raise
        await trio.sleep(REDIAL_PAUSE)
