"""An installed machine that has told everything listens to nobody. `kairos-node listen`, which root
runs on it, has it listen once more: for its operator, who wants its keys changed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio

from node.afterwards import Start, restore, run_installed
from node.agent import LOG, TENANCY, Agent
from node.living import BOOT, LOOK_SECONDS, OEM, read_start
from pairing import errors
from pairing.protocol.voice import AGAIN_SECONDS
from pairing.serving import Reporter
from pairing.transport.base import Transport

ASKED = "run/kairos-register/listen"


def ask(root: Path) -> None:
    """Have the running agent listen. Raises errors.UsageError where it would not."""
    if read_start(root / BOOT) != Start():
        raise errors.UsageError("Only an installed machine with open volumes listens once more.")
    if not (root / OEM / TENANCY).exists():
        raise errors.UsageError("Nobody holds this machine: it was installed without an operator.")
    (root / ASKED).touch(mode=0o600)


async def listen_when_asked(
    agent: Agent, transport: Transport, warm_up: Callable[[], None], root: Path = Path("/")
) -> None:
    """For ever: for 15 minutes each time, and for as long as its operator is connected."""
    while True:
        while not (root / ASKED).exists():  # noqa: ASYNC110 (another program's file)
            await trio.sleep(LOOK_SECONDS)
        (root / ASKED).unlink()
        try:
            restore(agent, root / OEM / TENANCY)
        except errors.TenancyDamaged as error:
            LOG.warning("%s", error)
            continue
        LOG.info("listening for %g minutes", AGAIN_SECONDS / 60)
        await run_installed(agent, transport, warm_up, _nothing, AGAIN_SECONDS)


async def _nothing(reporter: Reporter) -> None:
    """It lives already."""
