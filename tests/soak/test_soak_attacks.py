"""The whole matrix of attacks. Its control: `tests/e2e/test_attacks.py`.

Register 12 has one of its own: a machine whose volumes are sealed like ours, but for that register.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from node.testing import attacks
from node.testing.attacks import MATRIX, Attack, Thief
from node.testing.images import Factory
from node.testing.shop import OPEN, Shop
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

OFF_SECONDS = 120.0
BY_WORDS = ("words", "credential", "addon", "loader-entry")
"""What no other register stops. A kernel without its stub has no signed register 11 either."""
REGISTER = "/sys/class/tpm/tpm0/pcr-sha256/12"


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


@pytest.fixture(scope="module")
def without_register(branch: Callable[[str], Shop]) -> Shop:  # noqa: F811
    """A machine whose TPM does not ask for register 12, switched off."""
    shop = branch("without-register")
    with shop.running() as machine:
        assert shop.came_to(machine) == OPEN
        attacks.weaken(shop, shop.recovery_key(), attacks.ANY_WORDS)
        shop.on("sudo -n systemctl --no-block poweroff")
        machine.wait_off(OFF_SECONDS)
    return shop


@pytest.mark.soak
@pytest.mark.parametrize("name", BY_WORDS)
def test_without_register_12_the_same_attack_opens_the_volumes(
    name: str,
    without_register: Shop,
    factory: Factory,  # noqa: F811
) -> None:
    """The control of its row in the matrix."""
    box = without_register.box.copy(fresh(ARTEFACTS / f"unasked-{name}") / "box")
    shop = replace(without_register, box=box)
    target = Thief.equipped(fresh(ARTEFACTS / "thief"), factory.recipe).takes(box)
    (attack,) = attacks.named(name)
    attack.act(target)
    with shop.running(words=target.words, credentials=target.credentials) as machine:
        assert shop.came_to(machine) == OPEN
        assert shop.on(f"cat {REGISTER}").strip("0"), "nothing was given from outside"
