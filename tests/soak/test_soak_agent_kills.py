"""R2 on a machine: its program is killed (SIGKILL) in the middle of an installation, four times in
one. systemd starts it again; to its operator it is the same node (docs/adr/0013).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.testing.images import QUICK, Factory
from node.testing.shop import PLAIN, Shop
from pairing.errors import ExitCode
from pairing.testing import guest_system
from pairing.testing.diskview import Looker
from pairing.testing.lan import Lan
from pairing.testing.operators import Run
from pairing.testing.qemu import Machine
from tests.e2e.conftest import (  # noqa: F401 (fixtures)
    ARTEFACTS,
    INSTALL_SECONDS,
    factory,
    network,
    shared,
)
from tests.soak.conftest import Part

pytestmark = [pytest.mark.root, pytest.mark.timeout(0)]

TOLD_SECONDS = 300.0
STEPS = ("make-volumes", "write-disk", "keep-config")
KILL = "systemctl kill --signal KILL kairos-node"
JOURNAL = "/run/kairos-register/journal.jsonl"
BEGUN = '"step": "{}", "what": "begun"'
"""What a line there says of a step, before its first change."""


@dataclass(frozen=True, slots=True)
class Killed:
    """An installation whose machine's program was killed in its window and in each of `STEPS`."""

    shop: Shop
    run: Run
    status: int
    """The exit status of the one `kairos-register --wait written`."""
    journal: str
    """The machine's own, at the end."""


@pytest.fixture(scope="module")
def killed(network: Lan, factory: Factory) -> Killed:  # noqa: F811
    shop = Shop.new(network, ARTEFACTS / "agent-kills", PLAIN, 85)
    stick = factory.build(
        "1.0.0", into="shell", kernel_words=(*QUICK, guest_system.SHELL_WORD)
    ).stick
    with (
        shop.live(stick) as machine,
        shop.register(shop.photo(machine), "--wait", "written") as run,
    ):
        run.until("planned", TOLD_SECONDS)
        ask(machine, KILL)
        for step in STEPS:
            ask(machine, f"{until_begun(step)}; {KILL}")
        status = run.end(TOLD_SECONDS + INSTALL_SECONDS)
        return Killed(shop, run, status, ask(machine, f"cat {JOURNAL}"))


@pytest.mark.soak(share=0)
def test_one_registration_sees_it_through(killed: Killed, part: Part) -> None:
    part.kept.update(exit=killed.status, states=killed.run.states)
    assert killed.status == ExitCode.DONE, killed.run.end_of()
    assert killed.run.verdict["state"] == "written"


@pytest.mark.soak(share=0)
def test_each_kill_came_while_its_step_was_carried_out(killed: Killed, part: Part) -> None:
    """So the step was carried out again."""
    begun = Counter(re.findall(BEGUN.format("([a-z-]+)"), killed.journal))
    part.kept["begun"] = dict(begun)
    assert {step: begun[step] for step in STEPS} == dict.fromkeys(STEPS, 2)


@pytest.mark.soak(share=0)
def test_its_operator_knows_one_node_with_one_key(killed: Killed, part: Part) -> None:
    records = killed.shop.operator.escrow.parent
    part.kept.update({kind: len(kept(records, kind)) for kind in ("escrow", "journal")})
    assert len(kept(records, "escrow")) == 1
    assert len(kept(records, "journal")) == 1


@pytest.mark.soak(share=0)
def test_this_key_opens_what_is_on_the_disk(killed: Killed) -> None:
    disk = Looker(killed.shop.box.disk(), killed.shop.recovery_key()).look()
    assert {label: volume.opens for label, volume in disk.volumes.items()} == {
        "KR_OEM": True,
        "KR_PERSISTENT": True,
    }


# --- what the tests use -----------------------------------------------------------------------


def until_begun(step: str) -> str:
    """Shell words that wait for the node's own journal, which is ahead of what it reports."""
    return f"until grep -qs '{BEGUN.format(step)}' {JOURNAL}; do sleep 0.1; done"


def ask(machine: Machine, command: str) -> str:
    return machine.serial[guest_system.SHELL_LINE].ask(command, TOLD_SECONDS)


def kept(records: Path, kind: str) -> list[Path]:
    return list((records / kind).glob("*.json*"))
