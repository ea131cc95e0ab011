"""What a running agent may ask of its installed system: to open its volumes, to close its TPM, to
change their keys. All of it runs in threads, for its tools take seconds.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from node.system.door import Door
from pairing import process
from pairing.protocol.effects import CarryOut
from pairing.protocol.requests import UnlockKind

if TYPE_CHECKING:
    from node.agent import Agent
    from pairing.serving import Reporter

LOG = logging.getLogger("kairos.node")
ROOT = Path("/")


async def open_volumes(
    kind: UnlockKind, secret: bytes, root: Path = ROOT, run: Door = process.run
) -> None:
    """With what an operator sent; the start goes on from there, without a restart.

    Raises errors.LockedError saying why not, errors.BootIncomplete.
    """
    from node.boot import open_late  # not before it is needed
    from node.system.opening import Secret

    handed = Secret("key" if kind is UnlockKind.RECOVERY else "pin", secret)
    await trio.to_thread.run_sync(partial(open_late, handed, root, run, LOG.info))


async def change_keys(agent: Agent, order: CarryOut, reporter: Reporter) -> None:
    """Of the volumes of the disk that it runs from, as `agent`'s operator ordered.

    Raises what `node.system.keychange.KeyChange` raises.
    """
    from node.system.install.doors import Doors
    from node.system.keychange import KeyChange, Owner

    held, facts = agent.machine.tenancy, agent.facts
    assert held is not None, "orders come from who holds the node"
    owner = Owner(
        node=agent.machine.public,
        lease=held.lease,
        serial=facts.serial,
        ek_hash=facts.tpm.ek_hash if facts.tpm else "",
    )
    await KeyChange(agent.doors or Doors(), owner).carry_out(order, reporter)


def close_tpm(root: Path = ROOT, run: Door = process.run) -> None:
    """Until the next start it gives the volumes' key to nobody. Raises errors.TpmRefuses."""
    from node.system.tpmview import seal_off

    seal_off(root, run)
