"""What an operator asks of a node later: to unlock, to change the keys of its volumes."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio
import trio.testing

from node import afterwards, listening
from node.agent import TENANCY
from node.living import BOOT, OEM
from node.recoverykey import RecoveryKey
from node.tenancy_store import TenancyStore
from node.testing.aftermath import Operator, Shop, installed_by, shop, the_good_way
from pairing import errors, keys
from pairing.errands import Do, Errand, UnlockWith, run_errand
from pairing.events import Mode, State
from pairing.protocol import handshake
from pairing.protocol.effects import CarryOut
from pairing.protocol.errand import ErrandMachine, Standing
from pairing.protocol.kept import ReportFile
from pairing.protocol.messages import EscrowRecord, SealedKey, VolumeProof
from pairing.protocol.requests import Task, UnlockKind
from pairing.protocol.terms import Identity, KnownLease, Way
from pairing.protocol.voice import AGAIN_SECONDS
from pairing.serving import Reporter
from pairing.testing.desks import RecordingDesk
from pairing.transport.base import Target
from pairing.transport.memory import MemoryNetwork

ESCROW = keys.generate_escrow()
KEY = RecoveryKey(b"k" * 32).passphrase


@dataclass(slots=True)
class Clerk(RecordingDesk):
    """Asks by a rule."""

    ask: Callable[[Standing], Errand] = lambda standing: None
    standings: list[Standing] = field(default_factory=list)

    async def choose(self, standing: Standing) -> Errand:
        self.standings.append(standing)
        return self.ask(standing)


def clerk(ask: Callable[[Standing], Errand] = lambda standing: None) -> Clerk:
    return Clerk(rule=None, ask=ask)  # type: ignore[arg-type]


async def errand(
    network: MemoryNetwork, known: KnownLease, identity: Identity, at: Clerk, find: float = 30
) -> bool:
    def machine() -> ErrandMachine:
        return ErrandMachine(known=known, identity=identity, random=secrets.token_bytes)

    async with network.transport().dialer() as dialer:
        return await run_errand(machine, dialer, target, at, find)


def target(way: Way) -> Target:
    return Target(way.key, way.label)


async def open_again(network: MemoryNetwork, known: KnownLease, identity: Identity) -> None:
    """Until the node answers under its own key."""
    while True:
        looking = clerk()
        assert not await errand(network, known, identity, looking)
        if looking.standings[0].locked is None:
            return
        await trio.sleep(1)


@dataclass(slots=True)
class Machine:
    """Volumes that one key opens, and what was done to them."""

    key: bytes = KEY
    tried: list[bytes] = field(default_factory=list)
    orders: list[CarryOut] = field(default_factory=list)
    node: bytes = b""
    lease: bytes = b""
    seconds: float = 0.0
    """How long a change takes."""
    late: float = 0.0
    """Seconds until the start goes on, after `seen` was told that the volumes are open."""
    seen: Callable[[], None] = lambda: None

    async def open(self, kind: UnlockKind, secret: bytes) -> None:
        self.tried.append(secret)
        await trio.sleep(10)
        if secret != self.key:
            raise errors.UnlockFailed("wrong")
        if self.late:
            self.seen()
            await trio.sleep(self.late)

    async def change(self, order: CarryOut, reporter: Reporter) -> None:
        self.orders.append(order)
        await trio.sleep(self.seconds)
        if order.recovery != self.key:
            raise errors.UnlockFailed("the present key is another one")
        new = RecoveryKey(b"n" * 32).passphrase
        context = handshake.escrow_context(self.node, self.lease)
        sealed = tuple(
            SealedKey(recipient=to, sealed=keys.seal(new, to, context)) for to in order.escrow
        )
        record = EscrowRecord(node=self.node, lease=self.lease, serial="S", keys=sealed)
        await reporter.escrow(record)
        self.key = new
        digest = handshake.record_digest(record)
        reporter.proved(VolumeProof(digest=digest, volumes=(), ek_hash="", dry_run=False))


async def lives_on(
    network: MemoryNetwork, folder: Path, file: ReportFile, volumes: Machine
) -> None:
    """Locked, then open, as the installed system does it."""
    agent = shop(folder)
    agent.opener, agent.maintainer, volumes.seen = volumes.open, volumes.change, agent.opened
    await afterwards.run_started(
        agent,
        network.transport("node"),
        lambda: None,
        afterwards.Start(code=errors.LockedError.slug, text="another TPM"),
        tenancy=folder / "tenancy.json",
        report=file,
        life=the_good_way,
    )


def unlocking(secret: bytes) -> Callable[[Standing], Errand]:
    return lambda standing: UnlockWith(UnlockKind.RECOVERY, secret) if standing.locked else None


async def locked_shop(
    network: MemoryNetwork, folder: Path, nursery: trio.Nursery
) -> tuple[Operator, KnownLease, Machine]:
    operator, volumes = Operator(goal=State.WRITTEN), Machine()
    async with installed_by(operator, network, folder) as first:
        assert isinstance(first, Shop)
        known = operator.desk.leases[-1]
        assert known.report is not None
        volumes.node, volumes.lease = known.report.node, known.lease
        file = ReportFile.from_bytes(first.report)
    nursery.start_soon(lives_on, network, folder, file, volumes)
    return operator, known, volumes


async def test_unlock_then_rotate(tmp_path: Path, quick_clock: object) -> None:
    network = MemoryNetwork(latency=0.05)
    async with trio.open_nursery() as nursery:
        operator, known, volumes = await locked_shop(network, tmp_path, nursery)
        first = clerk(unlocking(KEY))
        assert await errand(network, known, operator.identity, first)
        (standing,) = first.standings
        assert standing.locked is not None
        assert standing.locked.text == "another TPM"
        await open_again(network, known, operator.identity)
        order = Do(Task.ROTATE, (ESCROW.public,), KEY, 1_800_000_000)
        second = clerk(lambda standing: order)
        assert await errand(network, known, operator.identity, second)
        assert second.standings[0].mode == Mode.INSTALLED
        nursery.cancel_scope.cancel()
    assert volumes.tried == [KEY]
    (record,) = second.escrow
    opened = ESCROW.open(record.keys[0].sealed, handshake.escrow_context(record.node, record.lease))
    assert opened == volumes.key != KEY
    assert [proof.digest for proof in second.proofs] == [handshake.record_digest(record)]


async def test_who_sent_the_key_is_answered_by_a_slow_machine_too(
    tmp_path: Path, quick_clock: object
) -> None:
    """Its agent sees the open volumes before the start that opened them has gone on."""
    network = MemoryNetwork(latency=0.05)
    async with trio.open_nursery() as nursery:
        operator, known, volumes = await locked_shop(network, tmp_path, nursery)
        volumes.late = 30
        assert await errand(network, known, operator.identity, clerk(unlocking(KEY)))
        await open_again(network, known, operator.identity)
        nursery.cancel_scope.cancel()
    assert volumes.tried == [KEY]


async def test_a_change_that_begins_late_is_answered(tmp_path: Path, quick_clock: object) -> None:
    """A node listens for 15 minutes after it was opened, and again after an order."""
    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        operator, known, volumes = await locked_shop(network, tmp_path, nursery)
        volumes.seconds = 200
        store = TenancyStore(tmp_path / "tenancy.json")
        kept = store.load()
        assert kept is not None
        store.save(replace(kept, told=True))
        assert await errand(network, known, operator.identity, clerk(unlocking(KEY)))
        await open_again(network, known, operator.identity)
        await trio.sleep(800)
        order = Do(Task.ROTATE, (ESCROW.public,), KEY, 1_800_000_000)
        assert await errand(network, known, operator.identity, clerk(lambda standing: order))
        nursery.cancel_scope.cancel()
    assert volumes.key != KEY


async def test_a_wrong_key_is_named_and_another_may_follow(
    tmp_path: Path, quick_clock: object
) -> None:
    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        operator, known, volumes = await locked_shop(network, tmp_path, nursery)
        with pytest.raises(errors.UnlockFailed):
            await errand(network, known, operator.identity, clerk(unlocking(b"wrong")))
        assert await errand(network, known, operator.identity, clerk(unlocking(KEY)))
        nursery.cancel_scope.cancel()
    assert volumes.tried == [b"wrong", KEY]


async def test_a_stranger_with_the_report_key_asks_in_vain(
    tmp_path: Path, quick_clock: object
) -> None:
    """Who has the disk knows every public half and the rendezvous secret; that unlocks nothing."""
    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        _, known, volumes = await locked_shop(network, tmp_path, nursery)
        stranger = Identity(keys.generate())
        with pytest.raises(errors.Taken):
            await errand(network, known, stranger, clerk(unlocking(KEY)))
        nursery.cancel_scope.cancel()
    assert volumes.tried == []


async def test_a_key_that_was_not_kept_changes_nothing(tmp_path: Path, quick_clock: object) -> None:
    @dataclass(slots=True)
    class Forgetful(Clerk):
        async def keep_escrow(self, record: EscrowRecord, signature: bytes) -> None:
            raise errors.StoreUnwritable("disk full")

    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        operator, known, volumes = await locked_shop(network, tmp_path, nursery)
        assert await errand(network, known, operator.identity, clerk(unlocking(KEY)))
        await open_again(network, known, operator.identity)
        order = Do(Task.ROTATE, (ESCROW.public,), KEY, 0)
        forgetful = Forgetful(rule=None, ask=lambda standing: order)  # type: ignore[arg-type]
        with pytest.raises(errors.StoreUnwritable):
            await errand(network, known, operator.identity, forgetful)
        await trio.sleep(700)
        assert volumes.key == KEY
        nursery.cancel_scope.cancel()


async def test_orders_of_others_and_of_another_boot_are_refused(
    tmp_path: Path, quick_clock: object
) -> None:
    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        operator, known, volumes = await locked_shop(network, tmp_path, nursery)
        assert await errand(network, known, operator.identity, clerk(unlocking(KEY)))
        await open_again(network, known, operator.identity)
        order = Do(Task.ROTATE, (ESCROW.public,), KEY, 0)
        machine = ErrandMachine(known=known, identity=operator.identity, random=secrets.token_bytes)

        def at_another_boot(standing: Standing) -> Errand:
            assert machine._lease is not None
            machine._lease = replace(machine._lease, boot="yesterday")
            return order

        async with network.transport().dialer() as dialer:
            with pytest.raises(errors.BadProof):
                await run_errand(lambda: machine, dialer, target, clerk(at_another_boot), 30)
        nursery.cancel_scope.cancel()
    assert volumes.orders == []


async def test_nobody_there_is_exit_5_in_time(tmp_path: Path, quick_clock: object) -> None:
    network, operator = MemoryNetwork(), Operator(goal=State.WRITTEN)
    async with installed_by(operator, network, tmp_path):
        pass
    start = trio.current_time()
    with pytest.raises(errors.UnreachableError):
        await errand(network, operator.desk.leases[-1], operator.identity, clerk(), 20)
    assert trio.current_time() - start < 25


async def test_a_quiet_machine_listens_once_more_when_asked(
    tmp_path: Path, quick_clock: object
) -> None:
    """It has told everything and its port is closed; root on it asks it to listen."""
    network, root = MemoryNetwork(), tmp_path / "root"
    operator, volumes = Operator(goal=State.WRITTEN), Machine()
    async with installed_by(operator, network, tmp_path) as first:
        known = operator.desk.leases[-1]
        volumes.node, volumes.lease = first.machine.public, known.lease
    store = TenancyStore(root / OEM / TENANCY)
    store.path.parent.mkdir(parents=True)
    kept = TenancyStore(tmp_path / "tenancy.json").load()
    assert kept is not None
    store.save(replace(kept, told=True))
    agent = shop(tmp_path, Mode.INSTALLED)
    agent.maintainer = volumes.change
    order = Do(Task.ROTATE, (ESCROW.public,), KEY, 1_800_000_000)
    asking = clerk(lambda standing: order)
    with pytest.raises(errors.UsageError):
        listening.ask(root)
    (root / BOOT).parent.mkdir(parents=True)
    (root / BOOT).write_text('{"state": "open"}')
    async with trio.open_nursery() as nursery:
        transport = network.transport("node")
        nursery.start_soon(listening.listen_when_asked, agent, transport, lambda: None, root)
        await trio.sleep(30)
        with pytest.raises(errors.UnreachableError):
            await errand(network, known, operator.identity, asking)
        for _ in range(2):
            listening.ask(root)
            order = replace(order, recovery=volumes.key)
            assert await errand(network, known, operator.identity, asking)
            await trio.sleep(AGAIN_SECONDS + 60)
            with pytest.raises(errors.UnreachableError):
                await errand(network, known, operator.identity, asking)
        nursery.cancel_scope.cancel()
    assert len(volumes.orders) == 2


def test_a_machine_of_nobodys_does_not_listen(tmp_path: Path) -> None:
    (tmp_path / BOOT).parent.mkdir(parents=True)
    (tmp_path / BOOT).write_text('{"state": "open"}')
    with pytest.raises(errors.UsageError, match="Nobody"):
        listening.ask(tmp_path)
