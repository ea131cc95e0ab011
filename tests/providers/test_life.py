"""An installed machine's way to its verdict: stages, then the cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from node.life import STAGES, live
from node.plan.boot import EARLY_STAGES
from node.providers.base import Entered, Preparation, Scene
from node.stages.apply import Failure, Outcome
from node.stages.command import OUTCOMES
from node.started import BootReport, Trouble, write_report
from pairing import errors
from pairing.config.document import Document
from pairing.events import State
from pairing.facts import Facts
from pairing.protection import Protection
from tests.providers.conftest import Heard


@dataclass
class Listening(Heard):
    lines: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)

    def entered(
        self,
        state: State,
        *,
        code: str = "",
        text: str = "",
        protection: Protection | None = None,
    ) -> None:
        self.states.append((state, text))
        self.codes += [code] if code else []

    def said(self, text: str) -> None:
        self.lines.append(text)


@dataclass
class Cluster:
    """A provider that joins at once, or cannot."""

    wrong: errors.JoinFailed | None = None
    name: str = "cluster"
    order: int = 50

    def wanted(self, config: Document) -> bool:
        return config.get("x-cluster") is True

    def prepare(self, config: Document, facts: Facts) -> Preparation:
        return Preparation()

    async def check(self, scene: Scene) -> None:
        await trio.lowlevel.checkpoint()
        if self.wrong:
            raise self.wrong

    async def watch(self, scene: Scene, entered: Entered) -> None:
        await trio.sleep(5)
        entered(State.JOINED, "joined")
        entered(State.READY, "ready")


FAILURE = Failure(stage="boot", step="s", what="w", code="command-unsuccessful", reason="r")


def installed(system: Path, config: str, **failures: Failure) -> None:
    (system / "oem").mkdir()
    (system / "oem/90_custom.yaml").write_text(f"#cloud-config\nhostname: a\n{config}")
    write_report(system, BootReport(state="open"))
    for stage in (*EARLY_STAGES, *STAGES):
        found = (failures[stage],) if stage in failures else ()
        Outcome(stage=stage, done=2, failures=found).keep(system / OUTCOMES)


async def lived(system: Path, cluster: Cluster) -> Listening:
    heard = Listening()
    await live(heard, look=Facts, root=system, providers=[cluster])
    return heard


async def test_a_config_in_force_is_installed(system: Path) -> None:
    installed(system, "")
    heard = await lived(system, Cluster())
    assert [state for state, _ in heard.states] == [State.INSTALLED]
    assert [step[:4] for step in heard.steps] == [
        ("stage-boot", "1/2", 0, 1),
        ("stage-boot", "1/2", 1, 1),
        ("stage-network", "2/2", 0, 1),
        ("stage-network", "2/2", 1, 1),
    ]


async def test_installed_comes_before_joined(
    system: Path, autojump_clock: trio.testing.MockClock
) -> None:
    installed(system, "x-cluster: true\n")
    heard = await lived(system, Cluster())
    assert [state for state, _ in heard.states] == [State.INSTALLED, State.JOINED, State.READY]


@pytest.mark.parametrize("stage", [*EARLY_STAGES, *STAGES])
async def test_a_part_that_failed_is_the_verdict_and_the_cluster_is_joined(
    system: Path, autojump_clock: trio.testing.MockClock, stage: str
) -> None:
    installed(system, "x-cluster: true\n", **{stage: FAILURE})
    heard = await lived(system, Cluster())
    assert [state for state, _ in heard.states] == [State.FAILED]
    assert heard.codes == ["stage-incomplete"]
    assert heard.states[0][1] == FAILURE.text
    assert heard.lines == [FAILURE.text, "joined", "ready"]


async def test_a_stage_that_never_ends_is_named(
    system: Path, autojump_clock: trio.testing.MockClock
) -> None:
    installed(system, "")
    (system / OUTCOMES / "network.json").unlink()
    heard = await lived(system, Cluster())
    assert heard.codes == ["stage-incomplete"]
    assert "network: it did not end." in heard.states[0][1]


def in_trouble(system: Path, step: str) -> None:
    trouble = Trouble(step=step, text="It: no.")
    write_report(system, BootReport(state="open", troubles=(trouble,)))


@pytest.mark.parametrize("step", ["mount-esp", "keep-path", "keep-identity"])
async def test_a_start_that_failed_in_part_is_the_verdict(system: Path, step: str) -> None:
    installed(system, "")
    in_trouble(system, step)
    heard = await lived(system, Cluster())
    assert heard.states == [(State.FAILED, "It: no.")]
    assert heard.codes == ["boot-incomplete"]


async def test_a_tpm_that_guards_nothing_is_told_only(system: Path) -> None:
    installed(system, "")
    in_trouble(system, "seal-off")
    heard = await lived(system, Cluster())
    assert [state for state, _ in heard.states] == [State.INSTALLED]
    assert heard.lines == ["It: no."]


async def test_a_start_without_its_report_is_not_installed(system: Path) -> None:
    installed(system, "")
    (system / "run/kairos-register/boot.json").unlink()
    heard = await lived(system, Cluster())
    assert heard.codes == ["boot-incomplete"]


async def test_an_early_stage_without_an_outcome_is_named(system: Path) -> None:
    installed(system, "")
    (system / OUTCOMES / "fs.json").unlink()
    heard = await lived(system, Cluster())
    assert heard.states == [(State.FAILED, "fs: it did not end.")]


async def test_what_failed_after_the_installation_is_the_verdict(system: Path) -> None:
    installed(system, "")
    Outcome(stage="after-install", failures=(FAILURE,)).keep(system / "oem/.kairos")
    heard = await lived(system, Cluster())
    assert heard.states == [(State.FAILED, FAILURE.text)]


async def test_an_outcome_that_cannot_be_read_is_not_success(system: Path) -> None:
    installed(system, "")
    kept = system / "oem/.kairos/after-install.json"
    kept.parent.mkdir()
    kept.write_text("")
    heard = await lived(system, Cluster())
    assert heard.states == [(State.FAILED, "after-install: it did not end.")]


async def test_what_keeps_it_from_joining_is_raised_for_the_caller(system: Path) -> None:
    installed(system, "x-cluster: true\n")
    heard = Listening()
    cluster = Cluster(errors.JoinTokenRefused())
    with pytest.raises(errors.JoinTokenRefused):
        await live(heard, look=Facts, root=system, providers=[cluster])
    assert [state for state, _ in heard.states] == [State.INSTALLED]
