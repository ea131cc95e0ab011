"""What an installed machine does reaches the operator of the same conversation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio
import trio.testing

from node.life import STAGES, live
from node.providers.base import Entered, Preparation, Scene
from node.stages.apply import Failure, Outcome
from node.stages.command import OUTCOMES
from node.testing.aftermath import Operator, installed_by, rebooted
from pairing import errors
from pairing.config.document import Document
from pairing.events import State
from pairing.facts import Facts
from pairing.protocol.effects import Done
from pairing.transport.memory import MemoryNetwork

FAILURE = Failure(stage="boot", step="s", what="w", code="command-unsuccessful", reason="r")


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
    for stage in STAGES:
        found = tuple(one for one in failures if one.stage == stage)
        Outcome(stage=stage, done=1, failures=found).keep(system / OUTCOMES)
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
