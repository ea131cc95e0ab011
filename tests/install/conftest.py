"""Machines for the steps of an installation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.facts import recorded
from node.plan.install import plan_install
from node.steps import Plan
from node.system.medium import image_in
from node.testing.ground import Ground
from pairing.config.document import Document, from_plain
from pairing.config.problem import Mark

FACTS = recorded(Path(__file__).parents[2] / "examples/machines/virtio-vm.json")
MakePlan = Callable[..., Plan]


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """A machine booted from our medium."""
    return Ground(tmp_path)


@pytest.fixture
def make_plan(ground: Ground) -> MakePlan:
    """The plan that installs it; `encrypt` as in `install.encrypt`."""

    def make(encrypt: Any = "tpm2", *, recovery: bool = False) -> Plan:
        value = {"hostname": "shop-17", "install": {"encrypt": encrypt, "wipe": recovery}}
        document = Document(from_plain(value, Mark("config.yaml", 1, 1)))
        image = image_in((ground.medium / "kairos/image.json").read_bytes())
        facts = replace(FACTS, image=image)
        if recovery:
            disk = replace(FACTS.disks[0], booted=True, in_use=True, content=("gpt",))
            facts = replace(facts, mode="recovery", disks=(disk,))
        return plan_install(facts, document)

    return make
