"""A machine whose image says `token: kairos`, and stock Kairos' own sender: what that reads on the
screen and sends is refused and said there; with the next code it is installed. `make soak`.

Each fixture is a stage that begins where the one before it ended; each test looks at a stage.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node import texts
from node.image import recipe
from node.testing.images import QUICK, Factory
from node.testing.shop import NODE, PLAIN, Shop
from pairing import errors
from pairing.edgevpn import nettoken
from pairing.edgevpn.nettoken import NetworkToken
from pairing.events import State
from pairing.qr.read import PhotoReader
from pairing.qr.reading import token_from
from pairing.testing import qemu, stock
from pairing.testing.hardware import Drive
from pairing.testing.lan import Lan
from pairing.testing.patience import patient
from pairing.testing.stock import Stock
from tests.e2e.conftest import ARTEFACTS, INSTALL_SECONDS, RESTART_SECONDS, fresh

pytestmark = [pytest.mark.root, pytest.mark.soak, pytest.mark.timeout(2400)]

CODE_SECONDS, SEND_SECONDS, LOOK_SECONDS = 420.0, 300.0, 3.0
RECIPE = f"""#kairos-image
id: shop
version: 1.0.0
open: true
token: kairos
kernel_words: [{", ".join(QUICK)}]
"""
SENT = PLAIN.replace("  encrypt: tpm2\n", "  encrypt: none\n  reboot: true\n")
NOT_ENCRYPTED = "  encrypt: none\n"
"""A config without this line asks for encryption, and nobody could keep its recovery key."""
TOLD = texts.load("en")


@dataclass(frozen=True, slots=True)
class Code:
    """What a picture of the screen shows."""

    picture: Path
    token: NetworkToken


@dataclass(frozen=True, slots=True)
class Refused:
    """What was on the screen after a config that is not carried out; the blocks on its disk."""

    said: str
    code: Code
    blocks: int


@pytest.fixture(scope="module")
def stick() -> Path:
    """The image of a recipe that asks for Kairos' form of the code."""
    folder = fresh(ARTEFACTS / "kairos-code-image")
    (folder / "recipe.yaml").write_text(RECIPE)
    wanted = recipe.read(folder / "recipe.yaml", sources=True)
    return Factory(folder / "images", folder / "keys", wanted).build("1.0.0").stick


@pytest.fixture(scope="module")
def shop(network: Lan) -> Shop:
    if not stock.possible():
        pytest.skip("needs Go: stock Kairos peers are built from their sources")
    return Shop.new(network, ARTEFACTS / "kairos-code", SENT, 120)


@pytest.fixture(scope="module")
def live(shop: Shop, stick: Path) -> Iterator[qemu.Machine]:
    """Started from the stick, which stays in it."""
    with shop.running(Drive(image=stick, serial="STICK", read_only=True)) as machine:
        yield machine


@pytest.fixture(scope="module")
def first(live: qemu.Machine) -> Code:
    """The code that it shows once it is there."""
    return shown(live, "first.png", CODE_SECONDS)


@pytest.fixture(scope="module")
def refused(first: Code, live: qemu.Machine, shop: Shop) -> Refused:
    """After the stock sender has delivered a config that would have to be encrypted."""
    send(shop, first, shop.config.read_text().replace(NOT_ENCRYPTED, ""))
    live.serial[0].wait_for(f"{TOLD.read_aloud}: {errors.KairosEncryptionRefused().code}", 60)
    said = live.serial[0].text()
    code = shown(live, "second.png", CODE_SECONDS, other_than=first)
    return Refused(said, code, shop.box.disk().stat().st_blocks)


@pytest.fixture(scope="module")
def installed(refused: Refused, live: qemu.Machine, shop: Shop) -> Shop:
    """The same sender, the picture of the new code, a config that it carries out; it restarts."""
    send(shop, refused.code, shop.config.read_text())
    live.serial[0].wait_for(TOLD.states[State.REBOOTING], INSTALL_SECONDS)
    shop.wait_ssh(RESTART_SECONDS)
    return shop


def test_the_screen_shows_kairos_own_code(first: Code) -> None:
    assert first.token.native is None


def test_what_would_be_encrypted_is_refused_and_nothing_is_written(refused: Refused) -> None:
    assert TOLD.tried in refused.said
    assert refused.blocks == 0


def test_after_a_refusal_there_is_another_code(refused: Refused, first: Code) -> None:
    assert refused.code.token.crypto != first.token.crypto
    assert refused.code.token.native is None


def test_it_is_installed_with_what_the_stock_sender_sent(installed: Shop) -> None:
    assert installed.on("hostname") == "till-7"
    assert installed.on("sudo -n id -u") == "0"
    assert installed.on("findmnt -no SOURCE /oem").startswith("/dev/vda")
    assert installed.box.disk().stat().st_blocks, "the control of the refusal"


def test_it_runs_and_nobody_holds_it(installed: Shop) -> None:
    shown = "systemctl show --value --property NRestarts kairos-node.service"
    assert installed.on(shown) == "0"
    assert "volumes   open" in installed.on(f"sudo -n {NODE} state")
    assert not installed.on("sudo -n find /oem -name 'tenancy*'")


# --- what the tests use -----------------------------------------------------------------------


def send(shop: Shop, code: Code, config: str) -> None:
    """What `kairosctl register` does with a picture; until the machine has said that it has it."""
    payload = {"cc": config, "device": ""}
    flags = ("-photo", str(code.picture))
    with Stock().start(shop.network.place, "send", {"payload": payload}, *flags) as operator:
        operator.wait("sent", patient(SEND_SECONDS))


def shown(
    machine: qemu.Machine, name: str, seconds: float, *, other_than: Code | None = None
) -> Code:
    """The next code of Kairos' form on the screen, and the picture with it."""
    deadline = time.monotonic() + patient(seconds)
    before = other_than.token if other_than else None
    while True:
        with contextlib.suppress(errors.PhotoError, OSError, SyntaxError):  # while it is drawn
            picture = machine.screen(name)
            with PhotoReader() as reader:
                token = nettoken.parse(token_from(reader.read(picture)).text)
            if token != before:
                return Code(picture, token)
        assert time.monotonic() < deadline, machine.serial[0].text()[-2000:]
        time.sleep(LOOK_SECONDS)
