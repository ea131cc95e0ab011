"""The node after its installation: it tells its operator how it went, until the verdict is known.

An installed node goes on with the lease and the key of before the reboot. One whose volumes are not
open has neither: it is known by its report key, says that it is locked, waits for what opens it.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from node.agent import FACTS_LIMIT, LOG, Agent, Progress, facts_within
from node.tenancy_store import TenancyStore
from pairing import errors
from pairing.events import Mode, State
from pairing.protection import Protection
from pairing.protocol.kept import ReportFile
from pairing.protocol.locked import LockedMachine, locked_machine
from pairing.protocol.node import NodeMachine
from pairing.protocol.voice import AGAIN_SECONDS
from pairing.serving import Reporter, Serving
from pairing.transport.base import Transport

Life = Callable[[Reporter], Awaitable[None]]
"""What an installed node does and tells: installed, joined, ready. A known error it raises is told
as failed."""
LOOK_SECONDS = 1.0
"""How often it is looked whether there is anything left to tell."""
FAREWELL_SECONDS = 2.0
"""For the last word to arrive before the port is closed."""
ANSWER_SECONDS = 120.0
"""How long the start of what was opened may take before who sent the key is left unanswered."""


def restore(agent: Agent, path: Path, mode: Mode = Mode.INSTALLED) -> bool:
    """Go on with the lease in this file. False where there is none: nobody holds the node.

    Raises errors.TenancyDamaged.
    """
    store = TenancyStore(path)
    kept = store.load()
    if kept is None:
        agent.machine = _machine(agent, mode)
        return False
    now = agent.uptime()
    try:
        key, held = kept.restored(now)
    except ValueError as wrong:
        raise errors.TenancyDamaged(f"({wrong})", element=str(path)) from None
    agent.machine = NodeMachine(
        key=key,
        boot=secrets.token_hex(8),
        facts=facts_within(agent.facts, FACTS_LIMIT),
        policy=agent.settings.policy(),
        random=secrets.token_bytes,
        mode=mode,
        now=now,
        tenancy=held,
    )
    agent.store = store
    return True


def _machine(agent: Agent, mode: Mode) -> NodeMachine:
    """One that nobody holds, under the agent's own key of this boot."""
    return NodeMachine(
        key=agent.machine.key,
        boot=agent.machine.boot,
        facts=agent.machine.facts,
        policy=agent.settings.policy(),
        random=secrets.token_bytes,
        mode=mode,
        now=agent.uptime(),
    )


def lock(agent: Agent, file: ReportFile, code: str, text: str) -> None:
    """The volumes are not open, for the reason `code` (an error's slug)."""
    agent.store = None
    agent.machine = locked_machine(
        file,
        boot=secrets.token_hex(8),
        facts=facts_within(agent.facts, FACTS_LIMIT),
        policy=agent.settings.policy(),
        random=secrets.token_bytes,
        now=agent.uptime(),
        code=code,
        text=text,
    )
    agent.error = errors.locked(code, text)


async def run_installed(
    agent: Agent,
    transport: Transport,
    warm_up: Callable[[], None],
    life: Life,
    again: float = 0.0,
    news: str = "",
) -> None:
    """Live, and listen until the operator knows the verdict or `report_for` has passed.

    `again`: listen for so many seconds at least, also when everything was told before: an operator
    who has just unlocked the node may have more to ask (`AGAIN_SECONDS`). `news`: why it went back
    to the version before, if it did.

    Returns when both are over. A port that cannot be opened keeps no system from working.
    """
    held = agent.machine.tenancy
    agent.machine.again_until = agent.machine.now + again if again else 0.0
    relays = held.manifest.relays if held and held.manifest else ()
    serving = Serving(agent.machine, agent, agent.presence(relays))
    if news:
        code = errors.UpgradeFellBack.slug
        serving.apply(agent.machine.news(code, news, serving.now()))
    alive = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_live, agent, life, _Shown(agent, serving), alive)
        if not agent.machine.all_told(more=True):
            async with trio.open_nursery() as listening:
                listening.start_soon(_listen, agent, transport, warm_up, serving)
                await _until_told(serving, alive)
                listening.cancel_scope.cancel()


class _Shown(Reporter):
    """Tells the screen as well."""

    def __init__(self, agent: Agent, serving: Serving) -> None:
        super().__init__(serving)
        self._agent = agent

    def entered(
        self,
        state: State,
        *,
        code: str = "",
        text: str = "",
        protection: Protection | None = None,
    ) -> None:
        """See `Reporter`."""
        self._agent.progress = Progress()
        super().entered(state, code=code, text=text, protection=protection)

    def progressed(self, step: str, of: str, done: int, total: int, text: str = "") -> None:
        """See `Reporter`."""
        self._agent.progress = Progress(step=step, of=of, done=done, total=total, text=text)
        super().progressed(step, of, done, total, text)
        self._agent.display.show(self._agent)


async def _live(agent: Agent, life: Life, reporter: Reporter, over: trio.Event) -> None:
    try:
        await life(reporter)
    except errors.KnownError as error:
        agent.error = error
        reporter.entered(State.FAILED, code=error.slug, text=error.detail)
    finally:
        over.set()


async def _listen(
    agent: Agent, transport: Transport, warm_up: Callable[[], None], serving: Serving
) -> None:
    try:
        await agent.prepare(warm_up)
        await agent.listen(transport, serving)
    except* errors.KnownError as group:
        LOG.warning("not reachable: %s", group.exceptions[0])


async def _until_told(serving: Serving, alive: trio.Event) -> None:
    machine = serving.machine
    while True:
        machine.now = serving.now()
        if machine.all_told(more=not alive.is_set()):
            break
        await trio.sleep(LOOK_SECONDS)
    await trio.sleep(FAREWELL_SECONDS)
    serving.apply(machine.quiet())


async def run_locked(
    agent: Agent, transport: Transport, warm_up: Callable[[], None], relays: tuple[str, ...] = ()
) -> None:
    """Say that it is locked, under the report key, until `agent.opener` has opened the volumes."""
    serving = Serving(agent.machine, agent, agent.presence(relays))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_listen, agent, transport, warm_up, serving)
        await agent.is_open.wait()
        if isinstance(agent.machine, LockedMachine):
            agent.machine.open = True  # whoever opened it
            with trio.move_on_after(ANSWER_SECONDS):
                while agent.machine.trying:  # noqa: ASYNC110 (the protocol has no events)
                    await trio.sleep(LOOK_SECONDS)
        await trio.sleep(FAREWELL_SECONDS)
        nursery.cancel_scope.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a start of the installed system came to: open, or locked for the reason `code`."""

    code: str = ""
    text: str = ""


async def run_started(
    agent: Agent,
    transport: Transport,
    warm_up: Callable[[], None],
    start: Start,
    *,
    tenancy: Path,
    report: ReportFile | None,
    life: Life,
    news: str = "",
) -> None:
    """All of it: locked until somebody opens the volumes, then the lease in `tenancy` and `life`.

    `agent.opener` opens them when an operator sends the key; whoever opens them otherwise calls
    `agent.opened`. Without a `report` record a locked node can tell nobody. A lease that cannot be
    read keeps the system from reporting, not from working.
    """
    if start.code:
        if report is None:
            agent.machine.state = State.LOCKED
            agent.error = errors.locked(start.code, start.text)
            agent.changed()
            await agent.is_open.wait()
        else:
            lock(agent, report, start.code, start.text)
            await run_locked(agent, transport, warm_up, report.relays)
    agent.error = None
    try:
        restore(agent, tenancy)
    except errors.TenancyDamaged as error:
        agent.machine, agent.error = _machine(agent, Mode.INSTALLED), error
        LOG.warning("%s", error)
    again = AGAIN_SECONDS if start.code else 0.0
    await run_installed(agent, transport, warm_up, life, again, news)
