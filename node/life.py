"""What an installed machine does and tells once its volumes are open: installed, joined, ready.

Installed means that the whole config is in force: the stages `boot` and `network` were applied by
their units without a failure. A part that failed makes the verdict Failed, never silence; the
cluster is joined nevertheless, and that is told as lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from node.providers.base import Provider
from node.providers.join import join
from node.stages.apply import Outcome, outcome_from_json
from node.stages.command import CONFIG, OUTCOMES
from node.system import protected
from node.system.door import Door
from pairing import errors, process
from pairing.config.document import Document
from pairing.config.load import load_file
from pairing.config.rules import encryption
from pairing.events import State
from pairing.facts import Facts
from pairing.protection import Protection
from pairing.protocol.tenancy import Tenancy

STAGES = ("boot", "network")
"""What must be applied for Installed, in this order."""
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
    failed = await _applied(reporter, root)
    config = await trio.to_thread.run_sync(load_file, root / str(CONFIG).lstrip("/"))
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


async def _applied(reporter: Reporter, root: Path) -> errors.StageIncomplete | None:
    """Wait for the stages; what makes them incomplete, if anything."""
    details: list[str] = []
    for number, stage in enumerate(STAGES, start=1):
        told = partial(reporter.progressed, f"stage-{stage}", f"{number}/{len(STAGES)}")
        told(0, 1, f"Apply the stage {stage}")
        outcome = await _outcome(root / OUTCOMES / f"{stage}.json")
        if outcome is None:
            details.append(f"{stage}: it did not end.")
            continue
        told(1, 1, f"Apply the stage {stage}: {outcome.done} done")
        details += [failure.text for failure in outcome.failures]
    for detail in details:
        reporter.said(detail)
    return errors.StageIncomplete("\n".join(details)) if details else None


async def _outcome(file: Path) -> Outcome | None:
    """What a stage's unit left; None if there is nothing in time."""
    with trio.move_on_after(STAGE_SECONDS):
        while True:
            try:
                text = await trio.Path(file).read_text(encoding="utf-8")
                return outcome_from_json(text)
            except (OSError, ValueError):
                await trio.sleep(LOOK_SECONDS)
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
