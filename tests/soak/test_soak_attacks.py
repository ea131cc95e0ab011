"""The whole matrix of attacks. Its control: `tests/e2e/test_attacks.py`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from node.testing import attacks
from node.testing.attacks import MATRIX, Attack, Thief
from node.testing.images import Factory
from node.testing.shop import Shop
from tests.e2e.conftest import (  # noqa: F401 (fixtures)
    ARTEFACTS,
    branch,
    factory,
    fresh,
    installed_once,
    network,
    shared,
)
from tests.soak.conftest import Part

pytestmark = [pytest.mark.root, pytest.mark.timeout(0)]


@pytest.mark.soak(share=0.02)
@pytest.mark.parametrize("attack", MATRIX, ids=lambda attack: attack.name)
def test_attack(
    attack: Attack,
    branch: Callable[[str], Shop],  # noqa: F811
    factory: Factory,  # noqa: F811
    part: Part,
) -> None:
    shop = branch(f"attacked-{attack.name}")
    thief = Thief.equipped(fresh(ARTEFACTS / "thief"), factory.recipe)
    attacks.check(attack, shop, thief.takes(shop.box))
