"""The last look at the disk before anything is written to it. Reads only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import trio

from node.execute import Handler, Work
from node.steps import CheckDisk
from pairing import errors
from pairing.facts import Disk, Facts


def check_disk(look: Callable[[], Facts]) -> Handler:
    """The handler of `CheckDisk`; `look` probes the machine (in a thread)."""

    async def handler(step: CheckDisk, work: Work) -> None:
        require_same(step, await trio.to_thread.run_sync(look))

    return handler


def require_same(step: CheckDisk, facts: Facts, *, ours: bool = False) -> None:
    """Raises errors.ConfigNotForThisMachine if the disk is not as the plan says.

    `ours`: an earlier attempt of this boot has written to it, so its content is nobody's.
    """
    found = next((disk for disk in facts.disks if disk.path == step.disk), None)
    if ours and found is not None:
        found = replace(found, content=())
    wrong = difference(step, found)
    if wrong:
        raise errors.ConfigNotForThisMachine(wrong, element=step.disk)


def difference(step: CheckDisk, found: Disk | None) -> str:
    """What is not as the plan says, as a sentence; empty if all is."""
    if found is None:
        return "The disk is gone."
    if (found.serial, found.size) != (step.serial, step.size):
        return "It is another disk than the one that was chosen."
    if found.in_use and not (step.own and found.booted):
        return "The disk is in use now."
    if found.read_only:
        return "The disk is read-only now."
    new = [one for one in found.content if one not in step.content]
    return f"The disk now holds {', '.join(new)}." if new else ""
