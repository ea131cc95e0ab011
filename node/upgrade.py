"""Upgrade and rollback of an installed system: source -> plan -> steps -> record."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.plan.slots import Entry, slot_versions
from node.plan.upgrade import UpgradeFacts, UpgradePlan, plan_upgrade
from node.step import Step
from node.system.bootpartition import boot_partition
from node.system.door import Door
from node.system.updatesource import require_no_password, signed, source_of
from node.system.upgrading import (
    LastCheck,
    LastUpgrade,
    Upgrader,
    exhaust,
    keep_record,
    upgrade_facts,
)
from pairing import errors

ROOM = "usr/local/.kairos/upgrade"
"""For what is fetched first: hundreds of megabytes, which do not fit in memory."""
ROOM_IN_MEMORY = "run/kairos-register/upgrade/files"
"""Where no volume is open (recovery): the list only; files need a source that is read directly."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan and what carries it out."""

    plan: UpgradePlan
    upgrader: Upgrader
    facts: UpgradeFacts
    source: str


def prepare(source: str, wanted: str, root: Path, run: Door) -> Prepared:
    """Look at disk and source and plan; changes nothing but a folder of its own.

    What came of it is kept for `kairos-node state`. Raises errors.UpgradeRefused,
    errors.UpgradeFailed (a full volume), errors.UsageError, errors.MissingError.
    """
    require_no_password(source)
    reason = version = ""
    try:
        with boot_partition(root, run), _disk_errors("prepare"):
            made = _prepared(source, wanted, root, run)
        version = made.plan.version
    except errors.KnownError as wrong:
        reason = wrong.sentence[:300]
        raise
    finally:
        checked = LastCheck(source=source, at=int(time.time()), version=version, reason=reason)
        keep_record(root, checked)
    return made


def _prepared(source: str, wanted: str, root: Path, run: Door) -> Prepared:
    facts = upgrade_facts(root, run)
    room = root / (ROOM if (root / ROOM).parent.is_dir() else ROOM_IN_MEMORY)
    shutil.rmtree(room, ignore_errors=True)
    found = signed(source_of(source, run), room, root, run)
    offer = found.source.offer(found.versions, room)
    plan = plan_upgrade(facts, offer, wanted)
    return Prepared(plan, Upgrader(root, run, found, room), facts, source)


def carry_out(made: Prepared, say: Callable[[str], None]) -> None:
    """All steps, in order. The version before stays whole whatever happens.

    Raises errors.UpgradeRefused, errors.UpgradeFailed, errors.MissingError.
    """
    upgrader, reason = made.upgrader, ""
    try:
        with boot_partition(upgrader.root, upgrader.run):
            run_steps(made.plan.steps, upgrader, say)
    except errors.KnownError as wrong:
        reason = wrong.sentence
        raise
    finally:
        shutil.rmtree(upgrader.room, ignore_errors=True)
        record = LastUpgrade(
            before=made.facts.version,
            version=made.plan.version,
            source=made.source,
            at=int(time.time()),
            reason=reason,
        )
        keep_record(upgrader.root, record)


def run_steps(steps: Sequence[Step], upgrader: Upgrader, say: Callable[[str], None]) -> None:
    """One after the other; each is told. Raises errors.KnownError, naming the step."""
    handlers = upgrader.handlers()
    for number, step in enumerate(steps, start=1):
        say(f"{number}/{len(steps)} {step.name}: {step.text}")
        with _disk_errors(step.name):
            handlers[type(step)](step)


@contextlib.contextmanager
def _disk_errors(doing: str) -> Iterator[None]:
    """Raises errors.UpgradeFailed for an OSError: a volume that is full, a disk that is broken."""
    try:
        yield
    except OSError as wrong:
        raise errors.UpgradeFailed(f"{wrong.strerror or wrong}.", element=doing) from None


def way_back(facts: UpgradeFacts) -> tuple[Entry, str]:
    """The entry to give up, and the version that runs then. Raises errors.UpgradeRefused.

    What is given up is what runs; from the recovery system, what the loader would start next.
    """
    given_up = next((entry for entry in facts.entries if _would_run(entry, facts)), None)
    whole = slot_versions(slot.label for slot in facts.slots)
    good = [entry.version for entry in facts.entries if entry.blessed and entry.version in whole]
    others = [version for version in good if given_up and version != given_up.version]
    if not given_up or not others:
        raise errors.UpgradeRefused("There is no other version that was proved good.")
    return given_up, others[0]


def _would_run(entry: Entry, facts: UpgradeFacts) -> bool:
    return entry.version == facts.version if facts.mode == "installed" else not entry.exhausted


def roll_back(root: Path, run: Door, *, rehearsed: bool = False) -> tuple[str, str]:
    """Let the version before run from the next start on: one rename, nothing else.

    Returns the version that is given up, and the one that runs then. Raises
    errors.UpgradeRefused, errors.UpgradeFailed, errors.MissingError.
    """
    with boot_partition(root, run):
        entry, version = way_back(upgrade_facts(root, run))
        if not rehearsed:
            with _disk_errors("roll-back"):
                exhaust(root, entry)
    return entry.version, version
