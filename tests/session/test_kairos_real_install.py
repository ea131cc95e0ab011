"""What came by Kairos' protocol is installed for real, on a machine of plain files and recorded
programs: config on the disk, no lease, no record of an owner, no key; then it restarts.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio

from node.agent import Agent
from node.facts import recorded
from node.running import keep_early
from node.settings import Form, Settings
from node.system.medium import image_in
from node.testing.ground import Ground, healthy
from pairing.config.load import load
from pairing.edgevpn import nettoken
from pairing.events import State
from pairing.facts import Facts
from pairing.process import Result
from pairing.testing.gopeer import go_send
from pairing.testing.gossip import MemoryGossip
from pairing.transport.memory import MemoryNetwork

MACHINE = Path(__file__).parents[2] / "examples/machines/virtio-vm.json"
CANARY = "canary-5e41f6"
CONFIG = f"""#cloud-config
hostname: shop-0815
users:
  - name: admin
    passwd: {CANARY}
    groups: [admin]
write_files:
  - path: /etc/shop.conf
    content: {CANARY}
install:
  encrypt: none
"""


def facts_of(ground: Ground) -> Facts:
    image = image_in((ground.medium / "kairos/image.json").read_bytes())
    assert image is not None
    return replace(recorded(MACHINE), image=image)


@dataclass(slots=True)
class Shop:
    """A machine that shows Kairos' code. `left`: how it left."""

    ground: Ground
    gossip: MemoryGossip = field(default_factory=MemoryGossip)
    left: list[State] = field(default_factory=list)

    async def leave(self, state: State) -> None:
        self.left.append(state)

    def show(self, agent: Agent) -> None:
        """Nobody looks."""

    @contextlib.asynccontextmanager
    async def running(self, form: Form) -> AsyncIterator[Agent]:
        agent = Agent(
            settings=Settings(port=0, abort_delay=0, form=form),
            look=lambda: facts_of(self.ground),
            display=self,
            state=self.ground.doors.own,
            doors=self.ground.doors,
            leave=self.leave,
            kairos=self.gossip,
        )
        keep_early(agent, self.ground.root)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.run, MemoryNetwork().transport("node"), lambda: None)
            await trio.sleep(1)
            yield agent
            nursery.cancel_scope.cancel()

    async def send(self, agent: Agent, **more: str) -> None:
        token = nettoken.parse(agent.token(), loopback=True)
        payload = json.dumps({"cc": CONFIG, "device": "", **more})
        await go_send(self.gossip, token, payload)


async def until(agent: Agent, state: State) -> None:
    with trio.fail_after(3000):
        while agent.machine.state is not state:
            assert agent.tried is None, agent.tried
            await trio.sleep(0.1)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    ground = Ground(tmp_path)
    healthy(ground)
    return Shop(ground)


@pytest.mark.parametrize("form", [Form.KAIROS, Form.BOTH])
async def test_it_is_on_the_disk_and_belongs_to_nobody(
    form: Form, shop: Shop, quick_clock: object
) -> None:
    async with shop.running(form) as agent:
        await shop.send(agent, reboot="")
        await until(agent, State.REBOOTING)
        await trio.sleep(1)
    own = shop.ground.doors.own
    kept = load((own / "oem/90_custom.yaml").read_bytes(), "kept")
    assert kept.get("hostname") == "shop-0815"
    assert str(kept.get("users", 0, "passwd")).startswith("$6$")
    assert (own / "esp/EFI/BOOT/BOOTX64.EFI").exists()
    assert not list(own.glob("oem/.kairos/tenancy.json"))
    assert not list(shop.ground.doors.boot_files.glob("kairos/*.json"))
    assert not list(own.glob("key-*"))
    assert shop.left == [State.REBOOTING]


async def test_it_is_switched_off_if_that_was_asked_for(shop: Shop, quick_clock: object) -> None:
    async with shop.running(Form.KAIROS) as agent:
        await shop.send(agent, poweroff="")
        await until(agent, State.WRITTEN)
        await trio.sleep(1)
    assert shop.left == [State.WRITTEN]


async def test_it_stays_on_if_nothing_was(shop: Shop, quick_clock: object) -> None:
    async with shop.running(Form.KAIROS) as agent:
        await shop.send(agent)
        await until(agent, State.WRITTEN)
        await trio.sleep(60)
    assert shop.left == []


async def test_no_secret_is_told(shop: Shop, quick_clock: object) -> None:
    """Neither the config nor the network token: command lines, environments, the journal."""
    async with shop.running(Form.KAIROS) as agent:
        secret = agent.code.valid(agent.machine)[0].crypto.key
        await shop.send(agent)
        await until(agent, State.WRITTEN)
    journal = (shop.ground.doors.own / "journal.jsonl").read_text()
    said = [repr((call.argv, dict(call.environment))) for call in shop.ground.programs.calls]
    assert said
    for text in (*said, journal):
        assert CANARY not in text
        assert secret not in text
    kept = (shop.ground.doors.own / "oem/90_custom.yaml").read_text()
    assert CANARY in kept  # the control: it is where it belongs


async def test_a_step_that_fails_is_shown_and_it_waits_again(
    shop: Shop, quick_clock: object
) -> None:
    good = shop.ground.programs.answers.get("systemd-repart")
    shop.ground.programs.answers["systemd-repart"] = Result(1, b"", b"no space\n")
    async with shop.running(Form.KAIROS) as agent:
        first = agent.token()
        await shop.send(agent)
        with trio.fail_after(3000):
            while agent.tried is None:  # noqa: ASYNC110 (virtual time)
                await trio.sleep(0.1)
        assert agent.machine.state is State.WAITING
        assert agent.tried.exit_code == 7
        assert agent.token() != first
        if good is None:
            del shop.ground.programs.answers["systemd-repart"]
        else:
            shop.ground.programs.answers["systemd-repart"] = good
        await shop.send(agent)
        await until(agent, State.WRITTEN)
