"""Whether this start is good. On trial that decides about the version; off trial it is only told.

Good is: the volumes are open, the early stages and `boot` were tried, the agent is up, no unit of
ours failed, the root is as it was made, each check that the image brings says yes, and the config
fails in nothing that it did not fail in at the last good start.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from node.plan.reset import TRIAL
from node.stages.apply import Outcome, outcome_from_json
from node.stages.command import OUTCOMES
from node.started import BootReport, boot_id, counted_entry, on_trial, read_report
from node.system import board
from node.system.booted import ROOT_NAME
from node.system.door import Door
from node.system.reading import names, read
from pairing import errors
from pairing.durable import write_durably

CHECKS = "usr/lib/kairos-register/health.d"
"""Executables of the image: each has to end with status 0 within a minute."""
CHECK_SECONDS, UNIT_SECONDS = 60.0, 30.0
KNOWN = "usr/local/.kairos/health.json"
"""What failed at the last good start."""
BOOT = "boot"
STAGES = ("initramfs", "fs", "boot")
AGENT = "kairos-node.service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`reasons`: why it is not good, one short line each; no secrets."""

    version: str
    trial: bool
    reasons: Sequence[str] = ()

    @property
    def good(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTrial:
    """A version that was not good on trial, in the start with this id."""

    version: str
    boot: str
    reasons: Sequence[str]


def health(root: Path, run: Door) -> Health:
    """Look at everything once."""
    report = read_report(root)
    reasons = [*_of_start(report), *_of_root(run), *_of_units(run), *_of_checks(root, run)]
    reasons += [f"the config fails anew: {one}" for one in sorted(troubles(root) - known(root))]
    return Health(version=board.medium(root), trial=on_trial(root), reasons=tuple(reasons))


def judge(root: Path, run: Door, say: Callable[[str], None]) -> Health:
    """Look, tell, and remember: what failed at a good start, why a trial failed."""
    found = health(root, run)
    for reason in found.reasons:
        say(f"not good: {reason}")
    if found.good:
        say(f"good: {found.version}" + (" (on trial)" if found.trial else ""))
        remember(root)
    elif found.trial:
        note_failure(root, found)
    return found


def trial_is_over(root: Path) -> bool:
    """Whether this start was on trial and its entry still has its counter: it was not blessed."""
    entry = counted_entry(root).lstrip("/")
    return bool(entry) and (root / BOOT / entry).exists()


def note_failure(root: Path, found: Health, *, unless_told: bool = False) -> None:
    """Leave the reasons where the version before this one finds them, and the recovery system.
    Never raises.
    """
    boot = root / BOOT
    told = failed_trial(boot)
    if unless_told and told is not None and told.boot == boot_id(root):
        return
    failed = FailedTrial(version=found.version, boot=boot_id(root), reasons=found.reasons[:20])
    try:
        (boot / TRIAL).parent.mkdir(exist_ok=True)
        write_durably(boot / TRIAL, json.dumps(asdict(failed)).encode())
    except OSError:
        return


def failed_trial(boot: Path) -> FailedTrial | None:
    """The last one that failed, None if there is none or it cannot be read. `boot`: the folder of
    the boot partition."""
    try:
        body = json.loads(read(boot / TRIAL))
        reasons = tuple(str(reason)[:500] for reason in body["reasons"])
        return FailedTrial(
            version=str(body["version"])[:64], boot=str(body["boot"])[:64], reasons=reasons
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def troubles(root: Path) -> set[str]:
    """What of the config failed in this start, and stages that were not tried at all."""
    found: set[str] = set()
    for stage in STAGES:
        outcome = _outcome(root, stage)
        if outcome is None:
            found.add(f"{stage}: not applied")
        else:
            found |= {f"{stage}: {failure.step}: {failure.what}" for failure in outcome.failures}
    return found


def known(root: Path) -> set[str]:
    """What failed at the last good start already: an upgrade is not to blame for it."""
    try:
        return {str(line) for line in json.loads(read(root / KNOWN))}
    except (ValueError, TypeError):
        return set()


def remember(root: Path) -> None:
    """Keep what failed at this good start. Never raises."""
    try:
        if (root / KNOWN).parent.is_dir():
            write_durably(root / KNOWN, json.dumps(sorted(troubles(root))).encode())
    except OSError:
        return


def _outcome(root: Path, stage: str) -> Outcome | None:
    try:
        return outcome_from_json(read(root / OUTCOMES / f"{stage}.json").decode())
    except ValueError:
        return None


def _of_start(report: BootReport | None) -> Iterator[str]:
    if report is None:
        yield "the start did not come to its end"
    elif report.state != "open":
        yield f"the volumes are not open: {report.code}"
    else:
        grave = (trouble for trouble in report.parts if not trouble.harmless)
        yield from (f"the start failed in part: {trouble.text}" for trouble in grave)


def _of_root(run: Door) -> Iterator[str]:
    """Whether dm-verity has met a changed block. The next start reads all of them first, and does
    not use them (docs/adr/0018)."""
    argv = ("veritysetup", "status", ROOT_NAME)
    lines = run(argv, seconds=UNIT_SECONDS, check=False).text().splitlines()
    if any(line.split() == ["status:", "corrupted"] for line in lines):
        yield "its root has changed on the disk"


def _of_units(run: Door) -> Iterator[str]:
    argv = ("systemctl", "is-active", "--quiet", AGENT)
    if run(argv, seconds=UNIT_SECONDS, check=False).status:
        yield f"{AGENT} is not up"
    listing = ("systemctl", "list-units", "--failed", "--plain", "--no-legend", "kairos-*")
    failed = [line.split()[0] for line in run(listing, seconds=UNIT_SECONDS).text().splitlines()]
    # Their outcomes are looked at one by one; this one's own is being made.
    left = ("kairos-stage-", "kairos-reconcile", "kairos-health", "kairos-boot")
    yield from (f"{unit} failed" for unit in failed if not unit.startswith(left))


def _of_checks(root: Path, run: Door) -> Iterator[str]:
    for name in names(root / CHECKS):
        try:
            status = run((str(root / CHECKS / name),), seconds=CHECK_SECONDS, check=False).status
        except errors.MissingError as wrong:
            yield f"the check {name}: {wrong}"
            continue
        except OSError as wrong:
            yield f"the check {name}: {wrong.strerror}"
            continue
        if status:
            yield f"the check {name}: status {status}"
