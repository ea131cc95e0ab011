"""The agent installs for real, on a machine of plain files and recorded programs: with its own
steps, its own key file, its own lease; killed at every step and started again.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio

from node.agent import Agent
from node.ahead import check_medium
from node.facts import recorded
from node.running import keep_early
from node.settings import Settings
from node.system.medium import image_in
from node.testing.ground import DONE, IMAGE, Answer, Call, Ground, healthy
from pairing import errors, keys, peertoken
from pairing.events import EventType, State
from pairing.facts import Facts
from pairing.peertoken import Token
from pairing.process import Result
from pairing.protocol import handshake
from pairing.protocol.effects import Done, NodeView
from pairing.protocol.kept import KeptTenancy, ReportFile
from pairing.protocol.operator import OperatorMachine
from pairing.protocol.terms import Identity, Patience, Release
from pairing.session import Decision, register
from pairing.testing.desks import RecordingDesk
from pairing.transport.base import Target
from pairing.transport.memory import MemoryNetwork

MACHINE = Path(__file__).parents[2] / "examples/machines/virtio-vm.json"
CONFIG = b"""#cloud-config
hostname: shop-0815
users:
  - name: admin
    groups: [admin]
    ssh_authorized_keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a
"""
ESCROW = keys.generate_escrow()


@dataclass(slots=True)
class Watcher:
    """Looks at the screen; `seen` once it shows that step, or that state."""

    step: str = ""
    state: State | None = None
    seen: trio.Event = field(default_factory=trio.Event)

    def show(self, agent: Agent) -> None:
        """See `node.agent.Display`."""
        if agent.machine.state is self.state or (self.step and agent.progress.step == self.step):
            self.seen.set()


def releasing(view: NodeView) -> Decision:
    return Release(
        config=CONFIG, escrow=(ESCROW.public,), reboot=True, report_for=600, time=1_000_000
    )


def facts_of(ground: Ground) -> Facts:
    image = image_in((ground.medium / "kairos/image.json").read_bytes())
    assert image is not None
    return replace(recorded(MACHINE), image=replace(image, policies=True))


@dataclass(slots=True)
class Shop:
    """A machine whose agent can be killed. `left` is set once it restarts the machine."""

    ground: Ground
    network: MemoryNetwork
    left: trio.Event = field(default_factory=trio.Event)
    watcher: Watcher = field(default_factory=Watcher)
    agents: list[Agent] = field(default_factory=list)
    abort_delay: int = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Agent]:
        async def leave(state: State) -> None:
            assert state is State.REBOOTING
            self.left.set()

        agent = Agent(
            settings=Settings(port=0, abort_delay=self.abort_delay),
            look=lambda: facts_of(self.ground),
            display=self.watcher,
            state=self.ground.doors.own,
            doors=self.ground.doors,
            leave=leave,
        )
        keep_early(agent, self.ground.root)
        self.agents.append(agent)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.run, self.network.transport("node"), lambda: None)
            while not agent.reachable.addresses:  # noqa: ASYNC110 (virtual time)
                await trio.sleep(0.1)
            yield agent
            nursery.cancel_scope.cancel()


@dataclass(slots=True)
class Operator:
    desk: RecordingDesk = field(default_factory=lambda: RecordingDesk(releasing))
    done: Done | None = None
    photo: Token | None = None
    identity: Identity = field(default_factory=lambda: Identity(keys.generate()))

    async def pair(self, agent: Agent, network: MemoryNetwork) -> None:
        token = self.photo = self.photo or peertoken.parse(agent.token())
        patience = Patience(silence=30, verdict=3000)
        machine = OperatorMachine(
            token, self.identity, State.WRITTEN, secrets.token_bytes, patience
        )
        label = handshake.label(token.secret, token.key)
        target = Target(token.key, label, agent.reachable.addresses)
        async with network.transport().dialer() as dialer:
            self.done = await register(machine, dialer, target, self.desk, find=60)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    ground = Ground(tmp_path)
    healthy(ground)
    return Shop(ground, MemoryNetwork(latency=0.05))


def oem(shop: Shop) -> Path:
    return shop.ground.doors.own / "oem"


def assert_installed(shop: Shop, operator: Operator) -> None:
    assert operator.done == Done(State.WRITTEN, already=False)
    assert (oem(shop) / "90_custom.yaml").read_bytes() == CONFIG
    kept = KeptTenancy.from_bytes((oem(shop) / ".kairos/tenancy.json").read_bytes())
    assert kept.state == State.REBOOTING.value
    boot = shop.ground.doors.boot_files / "kairos"
    assert ReportFile.from_bytes((boot / "report.json").read_bytes()).lease == kept.lease
    record = operator.desk.escrow[-1]
    assert json.loads((boot / "escrow.json").read_bytes()) == record.to_json()
    context = handshake.escrow_context(record.node, record.lease)
    assert len(ESCROW.open(record.keys[0].sealed, context)) == 71
    loader = shop.ground.doors.own / "esp/EFI/BOOT/BOOTX64.EFI"
    assert loader.exists()
    assert not list(shop.ground.doors.own.glob("key-*")), "the key is gone"
    assert not list(shop.ground.doors.own.glob("released*")), "the config is gone"


async def test_from_the_code_to_the_restart(shop: Shop, quick_clock: object) -> None:
    operator = Operator()
    async with trio.open_nursery() as nursery, shop.running() as agent:
        nursery.start_soon(operator.pair, agent, shop.network)
        await shop.left.wait()
    assert_installed(shop, operator)
    steps = [e.step for e in operator.desk.events if e.type is EventType.STEP]
    assert list(dict.fromkeys(steps))[-1] == "mark-complete"
    assert [volume.name for volume in operator.desk.proofs[-1].volumes] == [
        "KR_OEM",
        "KR_PERSISTENT",
    ]
    assert IMAGE["version"] == "1.0.0"


def opened(operator: Operator) -> set[bytes]:
    """The recovery keys that the operator was given, whatever they are sealed in."""
    return {
        ESCROW.open(record.keys[0].sealed, handshake.escrow_context(record.node, record.lease))
        for record in operator.desk.escrow
    }


async def test_no_secret_is_told(
    shop: Shop, quick_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Command lines, environments, the journal, events: canaries in none of them."""
    canary = "canary-5e41f6"
    monkeypatch.setattr(f"{__name__}.CONFIG", CONFIG.replace(b"shop-0815", canary.encode()))
    shop.ground.programs.answers["systemd-repart"] = Result(0, b"", b"repart: done\n")
    operator, journal = Operator(), b""
    async with trio.open_nursery() as nursery, shop.running() as agent:
        nursery.start_soon(operator.pair, agent, shop.network)
        await shop.left.wait()
        journal = (shop.ground.doors.own / "journal.jsonl").read_bytes()
    (key,) = opened(operator)
    said = [repr((call.argv, dict(call.environment))) for call in shop.ground.programs.calls]
    said += [str(event.to_json()) for event in operator.desk.events if event.step]
    said += [journal.decode()]
    for secret in (key.decode(), base64.b64encode(key).decode(), key.hex(), canary):
        assert not [text for text in said if secret in text]
    assert canary.encode() in (oem(shop) / "90_custom.yaml").read_bytes(), "the control"
    assert any("--key-file" in text for text in said), "the key went as a file"


async def test_the_medium_is_checked_before_anybody_asks(shop: Shop) -> None:
    operator = Operator()
    async with trio.open_nursery() as nursery, shop.running() as agent:
        await check_medium(agent)
        assert agent.doors is not None
        assert agent.doors.ahead.image is not None
        (shop.ground.medium / "kairos/SHA256SUMS").unlink()
        nursery.start_soon(operator.pair, agent, shop.network)
        await shop.left.wait()
    assert_installed(shop, operator)


async def test_what_an_installation_has_staged_is_left_alone(shop: Shop) -> None:
    shop.ground.write("run/kairos-register/staging/loader.efi", b"of an earlier run")
    async with shop.running() as agent:
        await check_medium(agent)
        assert agent.doors is not None
        assert agent.doors.ahead.image is None
    assert (shop.ground.doors.staging / "loader.efi").read_bytes() == b"of an earlier run"


# --- faults (R8): stopped with a name, and resumed with the same key -----------------------------

NO_SPACE = Result(1, b"", b"Failed to copy: No space left on device\n")


def no_oem(call: Call) -> Result:
    """What was just written cannot be mounted."""
    if "/dev/mapper/kr_oem" in call.argv:
        return Result(32, b"", b"mount: can't read superblock\n")
    return DONE


def refused(said: str) -> Result:
    return Result(1, b"", f"{said}\n".encode())


REPART = "systemd-repart --no-pager"
PROVE = "cryptsetup open --test-passphrase"
FAULTS: dict[str, tuple[str, Answer, str, str]] = {
    "full": (REPART, NO_SPACE, "step-failed", "No space left"),
    "read-only": (REPART, refused("Read-only file system"), "step-failed", "Read-only"),
    "removed": (REPART, refused("No such device"), "step-failed", "No such device"),
    "broken": (REPART, refused("Input/output error"), "step-failed", "Input/output"),
    "key": (PROVE, Result(2, b"", b"No key available\n"), "key-not-proved", "KR_OEM"),
    "chip": ("systemd-cryptenroll", refused("Failed to seal"), "step-failed", "Failed to seal"),
    "files": ("mkfs.ext4", NO_SPACE, "step-failed", "No space left"),
    "volume": ("mount", no_oem, "step-failed", "superblock"),
    "tpm": ("systemd-creds", refused("TPM error 0x921"), "tpm-unusable", "0x921"),
    "nvram": ("systemd-creds", refused("NV read error 0x14a"), "tpm-unusable", "0x14a"),
    "firmware": ("efibootmgr --create-only", NO_SPACE, "boot-entries-refused", "No space left"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_has_a_name_and_the_same_command_goes_on(
    shop: Shop, quick_clock: object, fault: str
) -> None:
    program, answer, slug, said = FAULTS[fault]
    operator = Operator()
    shop.ground.programs.answers[program] = answer
    async with shop.running() as agent:
        with pytest.raises(errors.NodeError) as failed:
            await operator.pair(agent, shop.network)
        assert failed.value.slug == slug
        assert said in failed.value.detail
        assert not (shop.ground.doors.own / "esp/EFI/BOOT").exists()
        del shop.ground.programs.answers[program]
        healthy(shop.ground)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(operator.pair, agent, shop.network)
            await shop.left.wait()
    assert_installed(shop, operator)
    assert len(opened(operator)) == 1, "a fault never leads to a second key"


STEPS = ("check-image", "escrow-key", "write-disk", "prove-key", "keep-config", "mark-complete")


@pytest.mark.slow
@pytest.mark.parametrize("at", STEPS)
async def test_killed_in_a_step_it_goes_on_with_the_same_lease(
    shop: Shop, quick_clock: object, at: str
) -> None:
    operator, shop.watcher.step = Operator(), at
    async with trio.open_nursery() as nursery:
        async with shop.running() as agent:
            nursery.start_soon(operator.pair, agent, shop.network)
            await shop.watcher.seen.wait()
        async with shop.running():
            await shop.left.wait()
    first, second = shop.agents
    assert first.machine.key.seed == second.machine.key.seed
    assert first.machine.boot != second.machine.boot
    assert_installed(shop, operator)
    assert len(operator.desk.views) == 1, "it was decided once"
    runs = shop.ground.programs.called("systemd-repart")
    assert len(runs) <= (2 if at == "write-disk" else 1), "no second format"


@dataclass(slots=True)
class SlowDesk(RecordingDesk):
    """A person who thinks for a while."""

    async def decide(self, view: NodeView) -> Decision:
        await trio.sleep(30)
        return await RecordingDesk.decide(self, view)


@pytest.mark.slow
@pytest.mark.parametrize("at", [State.CLAIMED, State.APPROVED, State.PLANNED, State.INSTALLING])
async def test_killed_before_it_installs_it_keeps_the_lease(
    shop: Shop, quick_clock: object, at: State
) -> None:
    operator, shop.watcher.state = Operator(SlowDesk(releasing)), at
    async with trio.open_nursery() as nursery:
        async with shop.running() as agent:
            nursery.start_soon(operator.pair, agent, shop.network)
            await shop.watcher.seen.wait()
        async with shop.running():
            await shop.left.wait()
    assert shop.agents[0].machine.key.seed == shop.agents[1].machine.key.seed
    assert_installed(shop, operator)
    assert len(operator.desk.leases) >= 1


async def test_killed_while_it_can_be_switched_off_it_counts_the_seconds_again(
    shop: Shop, quick_clock: object
) -> None:
    operator, shop.watcher.state, shop.abort_delay = Operator(), State.PLANNED, 30
    async with trio.open_nursery() as nursery:
        async with shop.running() as agent:
            nursery.start_soon(operator.pair, agent, shop.network)
            await shop.watcher.seen.wait()
        async with shop.running() as agent:
            while agent.begins_at is None:
                assert agent.machine.state is State.PLANNED
                await trio.sleep(0.1)
            await shop.left.wait()
    assert_installed(shop, operator)


@pytest.mark.slow
@pytest.mark.parametrize(
    "at", [State.CLAIMED, State.APPROVED, State.PLANNED, "check-image", "escrow-key"], ids=str
)
async def test_switched_off_and_on_before_it_writes_it_is_another_node(
    shop: Shop, quick_clock: object, at: State | str
) -> None:
    """R9. The control is above: where the memory survives, the same lease goes on."""
    operator = Operator(SlowDesk(releasing))
    shop.watcher.state = at if isinstance(at, State) else None
    shop.watcher.step = "" if isinstance(at, State) else at
    heard: list[errors.KnownError] = []

    async def pair(agent: Agent) -> None:
        try:
            await operator.pair(agent, shop.network)
        except errors.KnownError as error:
            heard.append(error)
        shop.left.set()

    async with trio.open_nursery() as nursery:
        async with shop.running() as agent:
            nursery.start_soon(pair, agent)
            await shop.watcher.seen.wait()
            while not operator.desk.leases:  # noqa: ASYNC110 (virtual time)
                await trio.sleep(0.1)
        forget(shop)
        async with shop.running():
            await shop.left.wait()
    (error,) = heard
    released = at is not State.CLAIMED
    assert type(error) is (errors.RestartedAfterRelease if released else errors.NodeRestarted)
    assert error.hint == errors.NodeRestarted.hint, "also where the config was released"
    first, second = shop.agents
    assert first.machine.key.seed != second.machine.key.seed
    assert second.machine.state is State.WAITING
    runs = [argv for argv in shop.ground.programs.called("systemd-repart") if len(argv) > 2]
    assert runs == [], "nothing is on the disk"


def forget(shop: Shop) -> None:
    """The power goes: everything in memory with it, not the stick."""
    for path in shop.ground.doors.own.iterdir():
        if path != shop.ground.medium:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("damage", [b"", b"{}", b"\x00" * 64])
async def test_a_damaged_lease_is_a_new_node(shop: Shop, damage: bytes) -> None:
    (shop.ground.doors.own / "tenancy.json").write_bytes(damage)
    async with shop.running() as agent:
        assert agent.machine.state is State.WAITING
