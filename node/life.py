"""What an installed machine does and tells once its volumes are open: installed, joined, ready.

Installed means that the whole config is in force: its start left nothing undone, and every stage
was applied without a failure. A part that failed makes the verdict Failed, never silence; the
cluster is joined nevertheless, and that is told as lines.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from node.plan.boot import EARLY_STAGES
from node.providers.base import Provider
from node.providers.join import join
from node.stages.apply import Outcome, outcome_from_json
from node.stages.command import CONFIG, KEPT, OUTCOMES
from node.stages.planning import ONCE
from node.started import Trouble, read_report
from node.system import protected
from node.system.door import Door
from pairing import errors, process
from pairing.config.document import Document
from pairing.config.load import load_file
from pairing.config.rules import encryption
from pairing.events import TEXT_LIMIT, EventType, State
from pairing.facts import Facts
from pairing.protection import Protection
from pairing.protocol.tenancy import Tenancy

STAGES = ("boot", "network")
"""What is waited for, in this order; the early stages are over before the volumes count as open."""
STAGE_SECONDS = 1200.0
"""How long each is waited for: its unit has 15 minutes, and waits for an address before."""
LOOK_SECONDS = 0.5


class Reporter(Protocol):
    """`pairing.serving.Reporter`, as far as it is used here."""

    def entered(
        self,
        state: State,
        *,
        code: str = "",
        text: str = "",
        protection: Protection | None = None,
    ) -> None:
        """The node reached a state."""

    def progressed(self, step: str, of: str, done: int, total: int, text: str = "") -> None:
        """A step began (`done` 0), advanced or ended (`done == total`)."""

    def said(self, text: str) -> None:
        """A line for people; no secrets."""


async def live(
    reporter: Reporter,
    *,
    look: Callable[[], Facts],
    root: Path = Path("/"),
    run: Door = process.run,
    providers: Sequence[Provider] | None = None,
    held: Tenancy | None = None,
) -> None:
    """From open volumes to the last state that the config asks for.

    `look` probes the machine (in a thread); `held` is its lease. Raises errors.ConfigError for a
    config that was damaged since, errors.JoinFailed or a class below it; the caller reports that
    as Failed.
    """
    # First: of a damaged config no stage leaves an outcome, and each would be waited for.
    config = await trio.to_thread.run_sync(load_file, root / str(CONFIG).lstrip("/"))
    failed = await _failed(reporter, root, held)
    facts = await trio.to_thread.run_sync(look)
    if failed is None:
        protection = await trio.to_thread.run_sync(_protection, config, facts, held, root, run)
        reporter.entered(State.INSTALLED, text="The config is in force.", protection=protection)
    else:
        reporter.entered(State.FAILED, code=failed.slug, text=failed.detail)
    hears = reporter if failed is None else _Lines(reporter)
    await join(config, facts, hears, root=root, run=run, providers=providers)


def _protection(
    config: Document, facts: Facts, held: Tenancy | None, root: Path, run: Door
) -> Protection | None:
    mode = encryption(config).mode
    return protected.running(root, run, mode=mode, secure_boot=facts.secure_boot, held=held)


async def _failed(reporter: Reporter, root: Path, held: Tenancy | None) -> errors.NodeError | None:
    """Wait for the stages; what of the start or of the config failed, if anything."""
    report = read_report(root)
    parts = report.parts if report else (Trouble(step="", text="The start left no report."),)
    failures = [*_early(root), *await _waited_for(reporter, root), *_once(root, held)]
    for detail in (*(part.text for part in parts), *failures):
        reporter.said(detail)
    if undone := [part.text for part in parts if not part.harmless]:
        return errors.BootIncomplete("\n".join((*undone, *failures)))
    return errors.StageIncomplete("\n".join(failures)) if failures else None


def _early(root: Path) -> Iterator[str]:
    for stage in EARLY_STAGES:
        yield from _details(stage, _left(root / OUTCOMES / f"{stage}.json"))


async def _waited_for(reporter: Reporter, root: Path) -> list[str]:
    details: list[str] = []
    for number, stage in enumerate(STAGES, start=1):
        told = partial(reporter.progressed, f"stage-{stage}", f"{number}/{len(STAGES)}")
        told(0, 1, f"Apply the stage {stage}")
        outcome = await _outcome(root / OUTCOMES / f"{stage}.json")
        details += _details(stage, outcome)
        if outcome is not None:
            told(1, 1, f"Apply the stage {stage}: {outcome.done} done")
    return details


def _details(stage: str, outcome: Outcome | None) -> list[str]:
    if outcome is None:
        return [f"{stage}: it did not end."]
    return [failure.text for failure in outcome.failures]


def _once(root: Path, held: Tenancy | None) -> list[str]:
    """What failed of the stage that is applied once, until the operator has heard of it.

    It is not tried again: a later start, with another version even, is not to blame for it. So the
    failures are taken out of the outcome once they were heard of; the log of events forgets them.
    """
    if not (root / KEPT / f"{ONCE}.json").exists():
        return []
    details = _details(ONCE, _left(root / KEPT / f"{ONCE}.json"))
    if details and held is not None and _heard(held, "\n".join(details)):
        with contextlib.suppress(OSError):
            Outcome(stage=ONCE).keep(root / KEPT)
        return []
    return details


def _heard(held: Tenancy, end: str) -> bool:
    """Whether the operator has acknowledged a Failed that ends so."""
    return any(
        (event.type, event.state) == (EventType.STATE, State.FAILED)
        and event.seq <= held.acknowledged
        and event.text.endswith(end[-TEXT_LIMIT:])
        for event in held.log.since(0)
    )


async def _outcome(file: Path) -> Outcome | None:
    """What a stage's unit left; None if there is nothing in time."""
    with trio.move_on_after(STAGE_SECONDS):
        while True:
            found = await trio.to_thread.run_sync(_left, file)
            if found is not None:
                return found
            await trio.sleep(LOOK_SECONDS)
    return None


def _left(file: Path) -> Outcome | None:
    try:
        return outcome_from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class _Lines:
    """After a verdict: states are told as lines, steps as they are."""

    reporter: Reporter

    def entered(
        self,
        state: State,
        *,
        code: str = "",
        text: str = "",
        protection: Protection | None = None,
    ) -> None:
        self.reporter.said(text or state.value)

    def progressed(self, step: str, of: str, done: int, total: int, text: str = "") -> None:
        self.reporter.progressed(step, of, done, total, text)
