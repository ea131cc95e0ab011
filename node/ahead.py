"""What a live system does while its code is on the screen and nobody has asked for anything yet."""

from __future__ import annotations

import trio

from node.agent import Agent
from pairing.events import Mode

LOOK_SECONDS = 1.0


async def check_medium(agent: Agent) -> None:
    """Check the stick once the code can be used, instead of when somebody waits for it.

    Not once somebody holds the machine, nor where an earlier run of this program, or
    `kairos-node install`, has begun: what is checked is staged, and theirs would be lost.
    """
    if agent.mode is not Mode.LIVE:
        return
    while not (agent.reachable.addresses and agent.machine.facts):  # noqa: ASYNC110 (for as long as there is no network)
        await trio.sleep(LOOK_SECONDS)
    # Not before: imports take their time on a small machine, and the code comes first.
    from node.system.install.check_image import check_ahead
    from node.system.install.doors import Doors

    doors = agent.doors or Doors()
    if agent.machine.tenancy is None and agent.facts.image and not doors.staging.exists():
        agent.doors = doors
        await check_ahead(doors)
