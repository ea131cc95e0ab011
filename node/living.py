"""`kairos-node run` on an installed system: waits for the start's end, then tells how it went.

The start itself (`kairos-node boot`) opens the volumes and leaves its report in memory; what it
came to decides whether this is the node of before the reboot, or a locked one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import trio

from node.afterwards import Start, run_started
from node.agent import LOG, TENANCY, Agent
from pairing import errors
from pairing.events import State
from pairing.protocol.kept import ReportFile
from pairing.serving import Reporter
from pairing.transport.base import Transport

BOOT = "run/kairos-register/boot.json"
OEM = "oem"
START_SECONDS = 900.0
"""For a start to end, as long as its own unit may take (`kairos-boot.service`)."""
LOOK_SECONDS = 0.5


async def run_living(
    agent: Agent, transport: Transport, warm_up: Callable[[], None], root: Path = Path("/")
) -> None:
    """Until there is nothing more to do or to tell."""
    agent.machine.state = State.REBOOTING
    agent.changed()
    start = await start_of(root)
    report = await trio.to_thread.run_sync(_report, agent) if start.code else None

    async def life(reporter: Reporter) -> None:
        from node.life import live  # providers and stages: not before they are needed

        await live(reporter, look=agent.look, root=root, held=agent.machine.tenancy)

    async with trio.open_nursery() as nursery:
        if start.code:
            nursery.start_soon(_until_open, agent, root)
        await run_started(
            agent,
            transport,
            warm_up,
            start,
            tenancy=root / OEM / TENANCY,
            report=report,
            life=life,
            news=given_up(root),
        )
        nursery.cancel_scope.cancel()
    agent.changed()


def given_up(root: Path) -> str:
    """The last version that was not good here, and why; empty if there was none."""
    from node.health import failed_trial  # and with it the stages

    failed = failed_trial(root / "boot")
    if failed is None:
        return ""
    why = "; ".join(failed.reasons) or "no reason is known"
    return f"Version {failed.version} was not good: {why} (start {failed.boot[:8]})."


async def _until_open(agent: Agent, root: Path) -> None:
    """Whoever opens the volumes, here or over the network, leaves another report."""
    while read_start(root / BOOT) != Start():  # noqa: ASYNC110 (another program's file)
        await trio.sleep(LOOK_SECONDS)
    agent.opened()


async def start_of(root: Path) -> Start:
    """What the start came to; a start that does not end is not open either."""
    with trio.move_on_after(START_SECONDS):
        while True:
            found = read_start(root / BOOT)
            if found is not None:
                return found
            await trio.sleep(LOOK_SECONDS)
    return Start(code=errors.StartUnknown.slug)


def read_start(path: Path) -> Start | None:
    """The start's report; None while there is none. One that says nothing known is not open."""
    try:
        body = json.loads(path.read_bytes())
        state, code, text = (str(body.get(name, "")) for name in ("state", "code", "text"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError):
        return Start(code=errors.StartUnknown.slug)
    if state == "open":
        return Start()
    return Start(code=code or errors.StartUnknown.slug, text=text)


def _report(agent: Agent) -> ReportFile | None:
    try:
        return agent.installed()
    except (ValueError, errors.KnownError) as wrong:
        LOG.warning("report record: %s", wrong)
        return None
