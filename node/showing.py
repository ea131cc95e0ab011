"""Keeps every display of a node current: its consoles, and a picture file for tests and demo."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from node.console import Console
from node.screen import Screen
from pairing import keys
from pairing.events import INSTALLS, Mode, State
from pairing.protocol.node import NodeMachine

if TYPE_CHECKING:
    from node.agent import Agent

LOG = logging.getLogger("kairos.node")
FIRST_DRAW_SECONDS = 3.0
"""A slow serial line need not be done before the node goes on."""
COMPARED = frozenset({State.CLAIMED, State.LOCKED})
"""States in which the words of both screens are compared."""
STARTED = frozenset({State.INSTALLED, State.JOINED, State.READY, State.LOCKED, State.FAILED})
"""States of an installed machine whose start has come to something."""
PICTURE_SIZE = (100, 37)
"""Columns and rows of the picture: a framebuffer of 800 x 592."""


@dataclass(slots=True)
class Showing:
    """Draws whatever the agent is, whenever told that it changed, and each second of a countdown.

    `picture` is a PNG of what a console would show, replaced atomically.
    """

    consoles: Sequence[Console] = ()
    picture: Path | None = None
    language: str = "en"
    _screen: Screen = field(default_factory=Screen)
    _changed: trio.Event = field(default_factory=trio.Event)

    def show(self, agent: Agent) -> None:
        """See `agent.Display`."""
        self._screen = screen_of(agent, trio.current_time())
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def run(
        self, agent: Agent, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Draw until cancelled; started once the code is on the displays."""
        self.show(agent)
        with trio.move_on_after(FIRST_DRAW_SECONDS):
            async with trio.open_nursery() as first:
                for console in self.consoles:
                    first.start_soon(console.show, self._screen)
                if self.picture:
                    first.start_soon(trio.to_thread.run_sync, self._paint, self._screen)
        task_status.started()
        async with trio.open_nursery() as nursery:
            for console in self.consoles:
                nursery.start_soon(self._follow, console)
                nursery.start_soon(console.follow_size)
            if self.picture:
                nursery.start_soon(self._follow_picture)
            nursery.start_soon(self._count_down, agent)

    async def _follow(self, console: Console) -> None:
        while True:
            changed, screen = self._changed, self._screen
            await console.show(screen)
            if screen.token:
                LOG.info("code drawn, address: %s", " ".join(screen.addresses) or "none")
            await changed.wait()

    async def _follow_picture(self) -> None:
        while True:
            changed, screen = self._changed, self._screen
            await trio.to_thread.run_sync(self._paint, screen)
            await changed.wait()

    async def _count_down(self, agent: Agent) -> None:
        while True:
            await trio.sleep(1)
            if agent.begins_at is not None:
                self.show(agent)

    def _paint(self, screen: Screen) -> None:
        from node import canvas, texts
        from node.screen import Abilities, layout
        from pairing.testing.screens import picture

        assert self.picture is not None
        lines = layout(screen, *PICTURE_SIZE, Abilities(), texts.load(self.language))
        image = picture(canvas.frame(lines, ()), *PICTURE_SIZE)
        unfinished = self.picture.with_suffix(".part")
        image.save(unfinished, format="PNG")
        with contextlib.suppress(OSError):
            unfinished.replace(self.picture)


def screen_of(agent: Agent, now: float) -> Screen:
    """What the displays show of an agent at a moment of trio's time."""
    machine, held, running = agent.machine, agent.machine.tenancy, agent.progress
    number, _, steps = running.of.partition("/")
    left = None if agent.begins_at is None else max(0, int(agent.begins_at - now + 0.999))
    error, shows = agent.error or agent.tried, _shows_code(machine)
    return Screen(
        state=machine.state,
        token=agent.token() if shows else "",
        smaller=agent.smaller_token() if shows else "",
        weak=agent.code.is_weak,
        tried=agent.tried is not None,
        step_name=running.step,
        step=running.text,
        number=int(number or 0),
        steps=int(steps or 0),
        percent=_percent(running.done, running.total, int(number or 0), int(steps or 0)),
        machine=keys.fingerprint_words(machine.public),
        operator=keys.fingerprint_words(held.operator) if held else (),
        compare=held.words if held and machine.state in COMPARED else (),
        serial=agent.facts.serial,
        addresses=tuple(address.host for address in agent.reachable.addresses[:2]),
        relay=_relay(agent),
        code=error.code if error else "",
        detail=error.sentence if error else "",
        abort_seconds=left,
        dry_run=agent.dry_run,
        visitor=agent.rescue.visitor,
        repaired=_is_repaired(agent),
        starting=machine.mode is Mode.INSTALLED and machine.state not in STARTED,
    )


def _is_repaired(agent: Agent) -> bool:
    """Whoever was let in has left, and asked for nothing else: an installation would say so."""
    rescue = agent.rescue
    return rescue.was_used and not rescue.visitor and agent.machine.state is State.CLAIMED


def _shows_code(machine: NodeMachine) -> bool:
    """While it can be claimed; and while it is locked, for who can help."""
    claimable = machine.state is State.WAITING and machine.mode in INSTALLS
    return claimable or machine.mode is Mode.LOCKED


def _relay(agent: Agent) -> str:
    up, down = agent.reachable.relays_up, agent.reachable.relays_down
    names = [name.partition("#")[0] for name in up[:1]]
    return " ".join(names) or (f"{down[0].partition('#')[0]} ..." if down else "")


def _percent(done: int, total: int, number: int, steps: int) -> int | None:
    if not steps:
        return None
    within = done / total if total else 0.0
    return int(100 * (max(0, number - 1) + within) / steps)
