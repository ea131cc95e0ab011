"""A machine whose firmware is in setup mode starts from a CD, and has our keys then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from node.testing.images import Factory
from node.testing.shop import Shop
from pairing.testing import firmware, guest_system, qemu
from pairing.testing.hardware import Drive, Firmware, Plug
from pairing.testing.lan import Lan
from tests.e2e.conftest import ARTEFACTS, CONFIG, fresh

pytestmark = [pytest.mark.root, pytest.mark.soak, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def shop(network: Lan) -> Shop:
    shop = Shop.new(network, fresh(ARTEFACTS / "cd"), CONFIG, 30)
    shop.box.hardware = replace(shop.box.hardware, firmware=Firmware.SECURE)
    return shop


@pytest.fixture(scope="module")
def live(shop: Shop, factory: Factory) -> Iterator[qemu.Machine]:
    """The loader enrols the keys and restarts the machine; then it starts again."""
    built = factory.build("1.0.0", into="secure", media=("iso",), secure_boot="enroll")
    (image,) = built.media.values()
    assert "SecureBootEnable" not in firmware.described(shop.box.variables)
    with shop.running(Drive(image=image, plug=Plug.CD)) as machine:
        shop.wait_code(machine)
        yield machine


def test_a_cd_shows_a_code(live: qemu.Machine) -> None:
    assert guest_system.token_on_screen(live).addresses


def test_a_firmware_in_setup_mode_has_our_keys_then(live: qemu.Machine, shop: Shop) -> None:
    found = firmware.described(shop.box.variables)
    assert "SecureBootEnable" in found
    assert all(f"subject CN=e2e {role}" in found for role in ("PK", "KEK", "db"))
