"""Applies one stage of a config: every step in order, every action of a step in order.

Nothing stops a stage, as in Kairos: what fails is reported and kept in the outcome, and the next
action is tried. A step whose condition does not hold is left out, which is no failure.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from node.stages.actions import Action, RunCommand, Step
from node.stages.doing import System, carry_out, shell
from node.stages.planning import ONCE, plan_stage
from node.system.door import Door
from pairing import errors, process
from pairing.config.document import Document
from pairing.config.scrub import Scrub
from pairing.durable import write_durably

CONDITION_SECONDS = 30.0
COMMAND_SECONDS = dict.fromkeys(("initramfs", "fs", ONCE, "boot"), 120.0)
"""While these are applied the machine's start waits; later a command may take longer."""


class Report(Protocol):
    """Where progress goes: `node.execute.Emit`, or `Reporter.progressed`."""

    def __call__(self, step: str, of: str, done: int, total: int, text: str, /) -> None: ...


def silent(step: str, of: str, done: int, total: int, text: str, /) -> None:
    """Reports nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What could not be applied. `reason` holds no secret; `code` is an error's slug."""

    stage: str
    step: str
    what: str
    code: str
    reason: str

    @property
    def text(self) -> str:
        """One line, and what a command printed on further ones."""
        return f"{self.stage}, {self.step}: {self.what}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one stage: actions done, steps left out by their condition, and failures."""

    stage: str
    done: int = 0
    left_out: Sequence[str] = ()
    failures: Sequence[Failure] = ()

    def require(self) -> None:
        """Raises errors.StageIncomplete that names every failure, if there is one."""
        if self.failures:
            detail = "\n".join(failure.text for failure in self.failures)
            raise errors.StageIncomplete(detail, element=self.stage)

    def keep(self, folder: Path) -> None:
        """Leave it in `folder` for the agent, which reports it: NAME.json, for root only.

        Flushed: what is done once is not to be done again after a power cut. Raises OSError.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = self.stage.replace("/", "_")
        write_durably(folder / f"{name}.json", self.to_json().encode())

    def to_json(self) -> str:
        """For whoever reports it: one JSON object."""
        return json.dumps(asdict(self))


def outcome_from_json(text: str) -> Outcome:
    """The opposite of `Outcome.to_json`. Raises ValueError."""
    try:
        body = json.loads(text)
        failures = tuple(Failure(**one) for one in body.pop("failures"))
        return replace(Outcome(**body), failures=failures, left_out=tuple(body["left_out"]))
    except (KeyError, TypeError) as wrong:
        raise ValueError(f"not the outcome of a stage: {wrong}") from None


def apply(
    stage: str,
    config: Document,
    *,
    root: Path = Path("/"),
    run: Door = process.run,
    report: Report = silent,
) -> Outcome:
    """Apply `stage` of `config` to the system at `root`. Blocks; raises nothing that is known.

    Each step is reported as `stage-NAME`, `of` its number and the number of all ("2/5"). Commands
    have a deadline of 2 minutes before the network is up and of 10 minutes afterwards.
    """
    applying = _Applying(stage, root, run, report, Scrub.of(config))
    steps = plan_stage(config, stage)
    for number, step in enumerate(steps, start=1):
        applying.step(step, f"{number}/{len(steps)}")
    return Outcome(
        stage=stage,
        done=applying.done,
        left_out=tuple(applying.left_out),
        failures=tuple(applying.failures),
    )


class _Applying:
    """One call of `apply`."""

    def __init__(self, stage: str, root: Path, run: Door, report: Report, scrub: Scrub) -> None:
        self._stage, self._root, self._run = stage, root, run
        self._report, self._scrub = report, scrub
        self.done = 0
        self.left_out: list[str] = []
        self.failures: list[Failure] = []

    def step(self, step: Step, of: str) -> None:
        name, total = self._scrub(step.name), len(step.actions)
        if not self._holds(step, name):
            self.left_out.append(name)
            self._say(of, total, total, f"{name}: left out")
            return
        self._say(of, 0, total, name)
        for done, action in enumerate(step.actions, start=1):
            text = self._scrub(action.text)
            if failure := self._try(step, name, action, text):
                self.failures.append(failure)
                text = f"{text}: {failure.reason}"
            else:
                self.done += 1
            self._say(of, done, total, f"{name}: {text}")

    def _holds(self, step: Step, name: str) -> bool:
        """Whether the step's conditions hold. One that cannot be decided is a failure."""
        try:
            if not all(_only(self._root, key, wanted) for key, wanted in step.only):
                return False
            if not step.condition:
                return True
            system = System(self._root, self._run)
            return shell(system, step.condition, CONDITION_SECONDS).status == 0
        except (errors.KnownError, OSError, re.error) as wrong:
            self.failures.append(self._failure(step, name, "its condition", wrong))
            return False

    def _try(self, step: Step, name: str, action: Action, text: str) -> Failure | None:
        if isinstance(action, RunCommand):
            seconds = COMMAND_SECONDS.get(self._stage, action.seconds)
            action = replace(action, seconds=seconds)
        try:
            carry_out(action, self._root, self._run)
        except (errors.KnownError, OSError) as wrong:
            return self._failure(step, name, text, wrong)
        except (AttributeError, TypeError, ValueError, OverflowError) as wrong:
            # A value that no schema let through. One of them must not keep the others from people.
            strange = errors.KeyNotExecuted(f"Its value cannot be used ({type(wrong).__name__}).")
            return self._failure(step, name, text, strange)
        return None

    def _failure(self, step: Step, name: str, what: str, wrong: Exception) -> Failure:
        if isinstance(wrong, errors.KnownError):
            code, reason = wrong.slug, wrong.sentence
        else:
            code = errors.StageIncomplete.slug
            reason = getattr(wrong, "strerror", None) or str(wrong)
        reason = self._scrub(reason)
        return Failure(stage=step.stage, step=name, what=what, code=code, reason=reason)

    def _say(self, of: str, done: int, total: int, text: str) -> None:
        self._report(f"stage-{self._stage}"[:64], of[:16], done, total, text[:1000])


def _only(root: Path, key: str, wanted: str) -> bool:
    """Kairos' conditions without a shell: regular expressions, and `|` between architectures."""
    match key:
        case "only_arch":
            ours = {platform.machine(), _GO_NAMES.get(platform.machine(), "")}
            return bool(ours & set(re.split(r"[|,\s]+", wanted)))
        case "only_service_manager":
            return wanted == "systemd"
        case "node":
            names = (os.uname().nodename, _word(root / "etc/machine-id"))
            return any(name and re.fullmatch(wanted, name) for name in names)
        case "only_os":
            release = _os_release(root)
            return any(re.search(wanted, release.get(name, "")) for name in ("ID", "NAME"))
        case _:
            return bool(re.search(wanted, _os_release(root).get("VERSION_ID", "")))


_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _os_release(root: Path) -> dict[str, str]:
    """os-release(5): names and values without quotes."""
    lines = _word(root / "etc/os-release").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
