"""What an installed machine does reaches the operator of the same conversation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import trio
import trio.testing

from node import afterwards
from node.life import STAGE_SECONDS, STAGES, live
from node.plan.boot import EARLY_STAGES
from node.providers.base import Entered, Preparation, Scene
from node.stages.apply import Failure, Outcome
from node.stages.command import OUTCOMES
from node.started import BootReport, write_report
from node.testing.aftermath import Operator, installed_by, rebooted, shop
from pairing import errors
from pairing.config.document import Document
from pairing.events import State
from pairing.facts import Facts
from pairing.protocol.effects import Done
from pairing.transport.memory import MemoryNetwork

FAILURE = Failure(stage="boot", step="s", what="w", code="command-unsuccessful", reason="r")
ONCE = replace(FAILURE, stage="after-install")


@dataclass(frozen=True)
class Cluster:
    """Takes the machine after a while, or says why not."""

    wrong: type[errors.JoinFailed] | None = None
    name: str = "cluster"
    order: int = 50

    def wanted(self, config: Document) -> bool:
        return True

    def prepare(self, config: Document, facts: Facts) -> Preparation:
        return Preparation()

    async def check(self, scene: Scene) -> None:
        await trio.sleep(3)
        if self.wrong:
            raise self.wrong("It said no.")

    async def watch(self, scene: Scene, entered: Entered) -> None:
        for state in (State.JOINED, State.READY):
            await trio.sleep(10)
            entered(state, state.value)


async def told(folder: Path, cluster: Cluster, *failures: Failure) -> Operator:
    """The operator, once a machine with this fate has told it."""
    system = folder / "system"
    (system / "oem").mkdir(parents=True)
    (system / "oem/90_custom.yaml").write_text("#cloud-config\nhostname: a\n")
    write_report(system, BootReport(state="open"))
    for stage in (*EARLY_STAGES, *STAGES, "after-install"):
        found = tuple(one for one in failures if one.stage == stage)
        kept = system / ("oem/.kairos" if stage == "after-install" else OUTCOMES)
        Outcome(stage=stage, done=1, failures=found).keep(kept)
    network, operator = MemoryNetwork(), Operator()
    life = partial(live, look=Facts, root=system, providers=[cluster])
    async with installed_by(operator, network, folder):
        await rebooted(network, folder, life)
    return operator


async def test_to_ready(tmp_path: Path, quick_clock: object) -> None:
    operator = await told(tmp_path, Cluster())
    assert operator.outcome == Done(State.READY, already=False)
    steps = [event.step for event in operator.desk.events if event.step]
    assert list(dict.fromkeys(steps)) == ["stage-boot", "stage-network", "join-cluster"]


async def test_a_cluster_that_says_no(tmp_path: Path, quick_clock: object) -> None:
    operator = await told(tmp_path, Cluster(errors.JoinTokenRefused))
    assert isinstance(operator.outcome, errors.JoinTokenRefused)
    assert "It said no." in str(operator.outcome)
    assert State.INSTALLED in [event.state for event in operator.desk.events]


async def test_a_part_of_the_config_that_failed(tmp_path: Path, quick_clock: object) -> None:
    operator = await told(tmp_path, Cluster(), FAILURE)
    assert isinstance(operator.outcome, errors.StageIncomplete)
    assert FAILURE.text in str(operator.outcome)
    assert State.INSTALLED not in [event.state for event in operator.desk.events]


async def started_again(folder: Path) -> State:
    """The state in which the machine's next start ends; nobody is there to hear it."""
    agent = shop(folder)
    afterwards.restore(agent, folder / "tenancy.json")
    life = partial(
        live, look=Facts, root=folder / "system", providers=[], held=agent.machine.tenancy
    )
    with trio.move_on_after(30):
        await afterwards.run_installed(agent, MemoryNetwork().transport("n"), lambda: None, life)
    return agent.machine.state


async def test_what_failed_once_is_told_once(tmp_path: Path, quick_clock: object) -> None:
    operator = await told(tmp_path, Cluster(), ONCE)
    assert ONCE.text in str(operator.outcome)
    assert [await started_again(tmp_path) for _ in range(2)] == [State.INSTALLED] * 2


async def test_what_failed_in_the_boot_is_told_at_each_start(
    tmp_path: Path, quick_clock: object
) -> None:
    await told(tmp_path, Cluster(), FAILURE)
    assert await started_again(tmp_path) is State.FAILED


async def test_what_failed_once_stays_until_it_was_heard(
    tmp_path: Path, quick_clock: object
) -> None:
    unheard = replace(ONCE, reason="another")
    await told(tmp_path, Cluster(), ONCE)
    Outcome(stage="after-install", failures=(unheard,)).keep(tmp_path / "system/oem/.kairos")
    assert [await started_again(tmp_path) for _ in range(2)] == [State.FAILED] * 2


async def test_a_damaged_config_is_told_without_waiting(
    tmp_path: Path, quick_clock: trio.testing.MockClock
) -> None:
    """Its stages leave nothing; each of them would be waited for until its time is over."""
    system = tmp_path / "system"
    (system / "oem").mkdir(parents=True)
    (system / "oem/90_custom.yaml").write_text("#cloud-config\n: [\n")
    network, operator = MemoryNetwork(), Operator()
    async with installed_by(operator, network, tmp_path):
        began = trio.current_time()
        await rebooted(network, tmp_path, partial(live, look=Facts, root=system, providers=[]))
    assert isinstance(operator.outcome, errors.ConfigError)
    assert trio.current_time() - began < STAGE_SECONDS
