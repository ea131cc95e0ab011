"""Puts an installer together for an agent, and takes it up again after a restart of the program.

Within one boot the program may die (killed, out of memory, a bug) and be started again by the
service manager. Then the machine is still the same one to its operator: same key, same lease, and
the installation goes on where its journal stands. All that it needs for this lies in memory
(tmpfs, 0700) and is gone with the power: docs/adr/0013.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import trio

from node.afterwards import restore
from node.agent import TENANCY, Agent
from node.execute import Handler
from node.installer import Installer
from node.steps import CheckDisk, Step
from node.system.check import check_disk
from node.system.install.doors import Doors
from node.system.install.handover import Handover
from node.system.install.table import handlers
from node.tenancy_store import NAME
from pairing import errors
from pairing.durable import write_durably
from pairing.events import State
from pairing.facts import Facts, from_json
from pairing.protocol.messages import Manifest
from pairing.protocol.tenancy import Tenancy
from pairing.serving import Serving

LOG = logging.getLogger("kairos.node")
CONFIG, FACTS = "released.yaml", "released.json"
UNHEARD = frozenset({State.CLAIMED, State.APPROVED})
"""A config was on its way: it comes again."""
BEGUN = frozenset({State.PLANNED, State.INSTALLING})
LEAVING = frozenset({State.WRITTEN, State.REBOOTING})


def installer_of(agent: Agent, snapshot: Facts) -> Installer:
    """The installer for this agent's machine, as `snapshot` describes it."""
    doors = agent.doors or Doors()
    handover = Handover(
        config=b"",
        report=agent.report_file,
        keep=lambda folder: agent.keep(folder / TENANCY),
    )
    table = partial(table_of, agent, snapshot)
    return Installer(snapshot, agent.state, agent.dry_run, table, handover, doors)


def table_of(agent: Agent, snapshot: Facts, handover: Handover) -> Mapping[type[Step], Handler]:
    """Who carries out which step on this agent's machine."""
    if snapshot.image is None:
        # A rehearsal away from our medium: nothing but the disk can be looked at.
        return {CheckDisk: check_disk(agent.look)}
    return handlers(agent.doors or Doors(), handover)


# --- what outlives the program ------------------------------------------------------------------


def keep_release(agent: Agent, snapshot: Facts, config: bytes) -> None:
    """Remember what was released and what it was planned with, until it is written."""
    if agent.early is not None:
        write_durably(agent.state / CONFIG, config)
        write_durably(agent.state / FACTS, json.dumps(snapshot.to_json()).encode())


def forget_release(agent: Agent) -> None:
    """It is on the disk: nothing of it stays in memory."""
    for name in (CONFIG, FACTS):
        (agent.state / name).unlink(missing_ok=True)


def restore_early(agent: Agent) -> None:
    """Go on with the lease that the program had before it was restarted, if it had one.

    Call it before the screen is drawn. Damage is no reason not to start: it is a new node then.
    """
    doors = agent.doors or Doors()
    late = doors.own / "oem" / TENANCY
    with contextlib.suppress(errors.TenancyDamaged):
        if restore(agent, late if late.exists() else agent.state / NAME, agent.mode):
            assert agent.machine.tenancy is not None
            _allow_again(agent.machine.tenancy)
            LOG.info("started again: going on as %s", agent.machine.state)
            return
    agent.store = agent.early


def _allow_again(held: Tenancy) -> None:
    """What was on its way when the program died may come once more."""
    if held.state in UNHEARD and held.sequence:
        held.state, held.sequence = State.CLAIMED, held.sequence - 1


async def go_on(agent: Agent, serving: Serving) -> None:
    """Carry on with what the program was doing when it died. Never raises a known error."""
    held = agent.machine.tenancy
    if held is None or held.manifest is None:
        return
    try:
        if held.state in BEGUN:
            await _install_again(agent, held.manifest, serving)
        elif held.state in LEAVING:
            await agent.go_away(held.manifest, serving.reporter)
    except errors.KnownError as error:
        serving.reporter.entered(State.FAILED, code=error.slug, text=error.detail)


async def _install_again(agent: Agent, manifest: Manifest, serving: Serving) -> None:
    config, snapshot = await trio.to_thread.run_sync(_released, agent.state)
    if snapshot is None or hashlib.sha256(config).digest() != manifest.digest:
        raise errors.StepFailed("The program was restarted and its config is gone.")
    agent.take_up(snapshot)
    await trio.to_thread.run_sync(agent.plan, manifest, config)
    # Killed while it could still be switched off: whoever stands there gets all of the time again.
    delay = agent.machine.abort_delay if agent.machine.state is State.PLANNED else 0.0
    await agent.install(manifest, delay, serving.reporter)


def _released(folder: Path) -> tuple[bytes, Facts | None]:
    try:
        config = (folder / CONFIG).read_bytes()
        return config, from_json(json.loads((folder / FACTS).read_bytes()))
    except (OSError, ValueError):
        return b"", None
