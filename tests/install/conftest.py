"""Machines for the steps of an installation."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.execute import Handler
from node.facts import recorded
from node.plan.install import plan_install
from node.steps import Plan, Step
from node.system.install.handover import Handover
from node.system.install.table import handlers
from node.system.medium import image_in
from node.testing.ground import Ground
from pairing.config.document import Document, from_plain
from pairing.config.problem import Mark

FACTS = recorded(Path(__file__).parents[2] / "examples/machines/virtio-vm.json")
MakePlan = Callable[..., Plan]
CONFIG = b"#cloud-config\nhostname: shop-17\n"


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """A machine booted from our medium."""
    return Ground(tmp_path)


@pytest.fixture
def make_plan(ground: Ground) -> MakePlan:
    """The plan that installs it; `encrypt` as in `install.encrypt`. `keep`: around its data."""

    def make(encrypt: Any = "tpm2", *, recovery: bool = False, keep: bool = False) -> Plan:
        install = {"encrypt": encrypt, "wipe": recovery and not keep, "keep_data": keep}
        value = {"hostname": "shop-17", "install": install}
        document = Document(from_plain(value, Mark("config.yaml", 1, 1)))
        image = image_in((ground.medium / "kairos/image.json").read_bytes())
        assert image is not None
        facts = replace(FACTS, image=replace(image, policies=True))
        if recovery:
            disk = replace(FACTS.disks[0], booted=True, in_use=True, content=("gpt",))
            facts = replace(facts, mode="recovery", disks=(disk,))
        return plan_install(facts, document)

    return make


def handover_to(kept: list[Path]) -> Handover:
    return Handover(
        config=CONFIG, escrow=lambda: b"sealed", report=lambda: b"report", keep=kept.append
    )


async def run(ground: Ground, plan: Plan, name: str, handover: Handover | None = None) -> None:
    step = next(step for step in plan.steps if step.name == name)
    table: dict[type[Step], Handler] = dict(handlers(ground.doors, handover or handover_to([])))
    await table[type(step)](step, ground.work(plan))


def secret_forms(secret: bytes) -> list[bytes]:
    return [secret, base64.b64encode(secret), secret.hex().encode()]


def assert_not_told(ground: Ground, secret: bytes) -> None:
    """Neither in a command line nor in an environment, a log or the standard input."""
    for call in ground.programs.calls:
        text = repr((call.argv, dict(call.environment))).encode()
        assert not [form for form in secret_forms(secret) if form in text]
    assert secret.decode() not in "\n".join(ground.logged)
