"""The start of an installed system: plan -> steps -> report. No trio: it is on the way of every
start, and does one thing after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.plan.boot import (
    ApplyStage,
    BootFacts,
    BootStep,
    KeepIdentity,
    KeepPath,
    MatchVolumes,
    MountEsp,
    MountVolume,
    OpenVolume,
    SealOff,
    plan_boot,
)
from node.stages.apply import apply
from node.stages.command import CONFIG, OUTCOMES
from node.started import BootReport, Trouble, on_trial, write_report
from node.system import board
from node.system.door import Door
from node.system.keeping import Keeper
from node.system.opening import Opener, Secret
from node.system.tpmview import seal_off
from node.system.volumes import boot_facts
from pairing import errors, process
from pairing.config.load import load_file

Say = Callable[[str], None]
Stage = Callable[[str], Sequence[str]]
"""Applies a stage of the config; returns a line for each part that failed."""
Handler = Callable[[Any], None]

OPEN_TARGET = "kairos-open.target"
TARGET_SECONDS = 30.0
STAYS_OPEN = (errors.ApprovalNeeded, errors.TangUnreachable)
"""Locked only until somebody answers: the TPM is needed again in this same start."""


@dataclass(slots=True)
class Starter:
    """Carries out the steps of one start, and remembers what went wrong."""

    root: Path
    run: Door
    stage: Stage
    say: Say
    secret: Secret | None = None
    troubles: list[Trouble] = field(default_factory=list)

    def boot(self) -> BootReport:
        """The whole start; its report is left for others too. Never raises a known error."""
        try:
            facts = boot_facts(self.root, self.run)
            report = self._carry_out(facts)
        except errors.KnownError as wrong:
            report = self._stopped(wrong, "")
        write_report(self.root, report)
        about = (report.state, report.code, report.text)
        self.say(": ".join(filter(None, about)))
        return report

    def _carry_out(self, facts: BootFacts) -> BootReport:
        means = ""
        handlers = self._handlers()
        for step in plan_boot(facts):
            if isinstance(step, OpenVolume):
                means = step.means
            self.say(step.text)
            try:
                self._step(step, handlers[type(step)])
            except errors.KnownError as wrong:
                return self._stopped(wrong, means, opening=isinstance(step, OpenVolume))
        volumes = tuple(volume.uuid for volume in facts.volumes)
        return self._report("open", means=means or "none", volumes=volumes)

    def _step(self, step: BootStep, handler: Handler) -> None:
        """Raises errors.KnownError if the start must not go on."""
        try:
            handler(step)
        except errors.LockedError:
            raise
        except (errors.KnownError, OSError) as wrong:
            if step.required:
                raise errors.BootIncomplete(str(wrong), element=step.name) from None
            self._note(step, str(wrong))

    def _note(self, step: BootStep, text: str) -> None:
        self.troubles.append(Trouble(step=step.name, text=f"{step.text}: {text}"[:500]))
        self.say(f"failed: {step.text}: {text}")

    def _stopped(
        self, wrong: errors.KnownError, means: str, *, opening: bool = False
    ) -> BootReport:
        locked = isinstance(wrong, errors.LockedError)
        if not self._may_follow(wrong, by_pin=opening and means == "approval"):
            try:
                # Nothing that comes later in this start needs the TPM's key, whoever asks for it.
                seal_off(self.root, self.run)
            except errors.KnownError as failed:
                self.troubles.append(Trouble(step=SealOff.name, text=str(failed)))
        return self._report(
            "locked" if locked else "incomplete", code=wrong.slug, text=_details(wrong), means=means
        )

    def _may_follow(self, wrong: errors.KnownError, *, by_pin: bool) -> bool:
        """Whether the TPM's key is wanted again in this start: somebody's approval is awaited, also
        after a wrong recovery key, or wrong numbers, which the TPM itself counts and waits for."""
        again = (errors.UnlockFailed, errors.TpmRefuses) if by_pin else ()
        return isinstance(wrong, (*again, *STAYS_OPEN))

    def _report(self, state: Any, **more: Any) -> BootReport:
        return BootReport(
            state=state,
            version=board.medium(self.root),
            trial=on_trial(self.root),
            troubles=tuple(self.troubles),
            **more,
        )

    # --- what each step does ------------------------------------------------------------------

    def _handlers(self) -> Mapping[type[BootStep], Handler]:
        keeper = Keeper(self.root, self.run)
        return {
            MountEsp: keeper.mount_esp,
            OpenVolume: Opener(self.root, self.run, self.secret).open,
            SealOff: self._seal_off,
            MountVolume: keeper.mount_volume,
            MatchVolumes: keeper.match,
            KeepPath: keeper.keep_path,
            KeepIdentity: keeper.keep_identity,
            ApplyStage: self._apply_stage,
        }

    def _seal_off(self, step: SealOff) -> None:
        try:
            seal_off(self.root, self.run, step.volumes)
        except errors.LockedError as wrong:
            if step.strict:
                raise
            self._note(step, str(wrong))

    def _apply_stage(self, step: ApplyStage) -> None:
        for line in self.stage(step.stage):
            self._note(step, line)


def _details(wrong: errors.KnownError) -> str:
    """What the error's own sentence does not say."""
    return ": ".join(filter(None, (wrong.element, wrong.detail)))[:1000]


def open_late(secret: Secret, root: Path, run: Door, say: Say) -> None:
    """The start of a locked machine, again, with what somebody handed in; then all that waits.

    Raises errors.LockedError, or errors.BootIncomplete.
    """
    report = Starter(root=root, run=run, stage=apply_stage, say=say, secret=secret).boot()
    if report.state != "open":
        raise errors.from_slug(report.code, report.text)
    run(("systemctl", "start", "--no-block", OPEN_TARGET), seconds=TARGET_SECONDS)


def apply_stage(stage: str, root: Path = Path("/"), run: Door = process.run) -> Sequence[str]:
    """A stage of the config on the open volume; a line for each part that failed.

    The outcome is kept like those of the later stages' units. Raises errors.ConfigError.
    """
    document = load_file(root / str(CONFIG).lstrip("/"))
    outcome = apply(stage, document, root=root, run=run)
    outcome.keep(root / OUTCOMES)
    return [failure.text for failure in outcome.failures]


def planned(root: Path, run: Door) -> Iterator[str]:
    """The steps of this start, one line each. Raises errors.HeaderDamaged."""
    yield from (f"{step.name}: {step.text}" for step in plan_boot(boot_facts(root, run)))
