"""Back to pairing: facts -> plan -> steps, and the rest of a reset that was cut off."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from node.plan.reset import Data, EraseKeys, ResetPlan, UnmarkReset, plan_reset
from node.step import Step
from node.system import medium
from node.system.bootpartition import boot_partition
from node.system.door import Door
from node.system.onechange import one_change
from node.system.resetting import MARK, Resetter, begun, reset_facts
from pairing import errors, process
from pairing.facts import Facts

LOG = logging.getLogger("kairos.node")
ROOT = Path("/")
Say = Callable[[str], None]


def prepare(wanted: Data, root: Path, run: Door) -> ResetPlan:
    """Look and plan; changes nothing. Raises errors.ResetRefused."""
    with boot_partition(root, run):
        return plan_reset(reset_facts(root, run), wanted)


def rehearse(plan: ResetPlan, root: Path, run: Door, say: Say) -> None:
    """The steps that only look. Raises errors.ResetRefused."""
    with boot_partition(root, run):
        _carry_out([step for step in plan.steps if step.rehearsed], root, run, say)


def reset(plan: ResetPlan, root: Path, run: Door, say: Say) -> None:
    """All steps. Raises errors.ResetRefused if nothing was changed, else errors.ResetUnfinished."""
    with boot_partition(root, run):
        _carry_out(plan.steps, root, run, say)


def finish(root: Path, run: Door, say: Say) -> bool:
    """In the recovery system: do the rest of a reset that was begun. False if there is none.

    With an old kernel left the old system is whole, and may have gone on since: that reset never
    came to be, and its mark is taken away. Raises errors.ResetUnfinished.
    """
    folder = medium.mounted(root, run)
    if folder is None or not (folder / Path(MARK).relative_to("boot")).exists():
        return False
    try:
        with one_change(root, errors.ResetRefused), boot_partition(root, run):
            wanted, facts = begun(root), reset_facts(root, run)
            if wanted is None:
                return False
            plan = plan_reset(facts, wanted)
            if facts.entries:
                _carry_out([UnmarkReset()], root, run, say)
                return False
            _carry_out(plan.steps, root, run, say)
    except errors.ResetRefused as wrong:
        raise errors.ResetUnfinished(wrong.detail) from None
    except errors.MissingError as wrong:
        raise errors.ResetUnfinished(str(wrong)) from None
    return True


def finish_first(look: Callable[[], Facts], root: Path = ROOT, run: Door = process.run) -> Facts:
    """Look at the machine once no begun reset is left: it pairs as what it is then.

    One that cannot be finished keeps no machine from showing its code: that is how it is repaired.
    """
    try:
        if finish(root, run, LOG.info):
            LOG.info("a reset that had begun is complete")
    except errors.KnownError as wrong:
        LOG.warning("%s", wrong)
    return look()


def _carry_out(steps: Sequence[Step], root: Path, run: Door, say: Say) -> None:
    """One after the other. After keys that cannot be destroyed those of other volumes are still
    destroyed, and nothing else is done.
    """
    handlers = Resetter(root, run).handlers()
    failed: errors.KnownError | None = None
    for number, step in enumerate(steps, start=1):
        if failed and not isinstance(step, EraseKeys):
            break
        say(f"{number}/{len(steps)} {step.name}: {step.text}")
        try:
            handlers[type(step)](step)
        except (errors.KnownError, OSError) as wrong:
            failed = failed or _failure(step, wrong)
            if not isinstance(step, EraseKeys):
                break
    if failed:
        raise failed


def _failure(step: Step, wrong: errors.KnownError | OSError) -> errors.KnownError:
    if isinstance(wrong, errors.KnownError) and not isinstance(wrong, errors.MissingError):
        return wrong
    kind = errors.ResetUnfinished if step.destructive else errors.ResetRefused
    return kind(f"{wrong}", element=step.name)
