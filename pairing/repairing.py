"""A repair session's driver at the operator: finds the node, joins machine and terminal.

Like `pairing.session`: one queue of inputs, one loop. It ends with the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import trio

from pairing import errors
from pairing.link import Link, clock, hold
from pairing.protocol import effects, frames
from pairing.protocol.repair import Ended, Opened, RepairEffect, RepairMachine, Shown
from pairing.protocol.terms import KnownLease
from pairing.transport.base import Channel, Dialer, Target

REDIAL_PAUSE = 0.5
FAREWELL_SECONDS = 3.0
CLOSE_SECONDS = 10.0
"""For a node to say that the session has ended."""
KEYS_LIMIT = 64 * 1024
"""Bytes of keys that may wait for the node; until it takes some, no more are read."""

_Input = Callable[[], list[RepairEffect]]


class Front(Protocol):
    """The operator's end of the terminal."""

    async def keys(self) -> bytes:
        """Keys that were pressed; nothing when the operator wants to end the session."""

    async def size_changed(self) -> tuple[int, int]:
        """Wait until the window has another size: columns, rows."""

    async def show(self, data: bytes) -> None:
        """Show a stranger's bytes; returns when they are out. Raises errors.KnownError."""

    def opened(self, opened: Opened) -> None:
        """The session begins."""

    async def keep_lease(self, known: KnownLease) -> None:
        """Remember the lease, to find the node again in another run."""

    def notice(self, text: str) -> None:
        """What happens on the way there."""


class _Repair:
    def __init__(self, machine: RepairMachine, front: Front) -> None:
        self.machine, self.front = machine, front
        self.inputs, self._queue = trio.open_memory_channel[_Input](64)
        self._output, self._shown = trio.open_memory_channel[bytes](1024)
        self.outcome: Ended | errors.KnownError | None = None
        self.room = trio.Event()

    async def run(self, dialer: Dialer, target: Target, find: float) -> Ended:
        channel = await _reach(dialer, target, find, self.front)
        self.front.notice(f"connected: {channel.path}")
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            self.link = Link(channel, lambda: frames.FRAME_LIMIT)
            nursery.start_soon(self._hold)
            nursery.start_soon(clock, self.machine, self.inputs.send)
            nursery.start_soon(self._show)
            self._apply(self.machine.opened(channel.local_key, trio.current_time()))
            async for take in self._queue:
                self._apply(take())
                if self.outcome is not None:
                    break
            await self._farewell(channel)
            nursery.cancel_scope.cancel()
        if isinstance(self.outcome, errors.KnownError):
            raise self.outcome
        assert self.outcome is not None
        return self.outcome

    async def _farewell(self, channel: Channel) -> None:
        with trio.move_on_after(FAREWELL_SECONDS):
            await self._all_shown()
            await self.link.gone.wait()

    async def _all_shown(self) -> None:
        """What came before the end is shown before it."""
        while self._shown.statistics().current_buffer_used or self._showing:  # noqa: ASYNC110
            await trio.sleep(0.1)

    async def _hold(self) -> None:
        await hold(self.link, self.machine, self.inputs.send)
        await self.inputs.send(self.machine.lost)

    # --- the terminal -------------------------------------------------------------------------

    _showing = False

    async def _show(self) -> None:
        async for data in self._shown:
            self._showing = True
            try:
                await self.front.show(data)
            except errors.KnownError as error:
                await self.inputs.send(partial(self.machine.fail, error))
                return
            finally:
                self._showing = False
            await self.inputs.send(partial(self.machine.shown, len(data)))

    async def _read_keys(self) -> None:
        while True:
            while self.machine.waiting() > KEYS_LIMIT:
                self.room = trio.Event()
                await self.room.wait()
            pressed = await self.front.keys()
            if not pressed:
                await self.inputs.send(self.machine.close)
                await trio.sleep(CLOSE_SECONDS)
                await self.inputs.send(partial(self.machine.fail, errors.RescueCut()))
                return
            await self.inputs.send(partial(self.machine.pressed, pressed))

    async def _follow_size(self) -> None:
        while True:
            columns, rows = await self.front.size_changed()
            await self.inputs.send(partial(self.machine.resized, columns, rows))

    # --- effects ------------------------------------------------------------------------------

    def _apply(self, todo: list[RepairEffect]) -> None:
        for effect in todo:
            self._carry_out(effect)

    def _carry_out(self, effect: RepairEffect) -> None:
        match effect:
            case effects.Send(message):
                self.link.send(message)
                self.room.set()
            case effects.Close():
                self.link.close()
            case effects.Leased(known):
                self.nursery.start_soon(self.front.keep_lease, known)
            case Opened():
                self.front.opened(effect)
                self.nursery.start_soon(self._read_keys)
                self.nursery.start_soon(self._follow_size)
            case Shown(data):
                # Never full: the flow window is smaller than this.
                self._output.send_nowait(data)
            case Ended():
                self.outcome = effect
            case effects.Fail(error):
                self.outcome = error


async def _reach(dialer: Dialer, target: Target, within: float, front: Front) -> Channel:
    last: errors.KnownError = errors.UnreachableError(f"It was given {within:g} seconds.")
    front.notice("looking for the node")
    with trio.move_on_after(within):
        while True:
            try:
                return await dialer.dial(target)
            except errors.UnreachableError as error:
                last = error
            await trio.sleep(REDIAL_PAUSE)
    raise last


async def repair(
    machine: RepairMachine, dialer: Dialer, target: Target, front: Front, *, find: float
) -> Ended:
    """Find the node within `find` seconds and let the operator repair it, until either ends it.

    Raises errors.KnownError with the exit code of the outcome.
    """
    return await _Repair(machine, front).run(dialer, target, find)
