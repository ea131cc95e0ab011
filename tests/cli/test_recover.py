"""`kairos-fleet nodes` and `recover`: records, the audit log, and real errands over memory."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from cli import asking, audit, nodes
from cli.errand import NodeErrand
from cli.keyring import Keyring
from cli.pairing_run import WarmUp
from cli.records import Records
from cli.testing.fleet import Machine
from node import afterwards
from node.recoverykey import RecoveryKey
from node.testing.aftermath import Operator, Shop, installed_by, shop, the_good_way
from pairing import approval, errors, peertoken
from pairing.events import State
from pairing.peertoken import Token
from pairing.protocol import handshake
from pairing.protocol.effects import CarryOut
from pairing.protocol.kept import ReportFile
from pairing.protocol.messages import VolumeProof
from pairing.protocol.requests import Task, UnlockKind
from pairing.report import Lines
from pairing.serving import Reporter
from pairing.transport.memory import MemoryNetwork

Station = Any

KEY = RecoveryKey(b"k" * 32).passphrase
NEW = RecoveryKey(b"n" * 32).passphrase


@dataclass(slots=True)
class Volumes:
    """What opens them, and what was tried."""

    shop: Shop
    key: bytes = KEY
    tried: list[tuple[UnlockKind, bytes]] = field(default_factory=list)

    async def open(self, kind: UnlockKind, secret: bytes) -> None:
        self.tried.append((kind, secret))
        wanted = self.key if kind is UnlockKind.RECOVERY else approval.pin(self.key)
        if secret != wanted:
            raise errors.UnlockFailed

    async def change(self, order: CarryOut, reporter: Reporter) -> None:
        assert order.task is Task.ROTATE
        if order.recovery != self.key:
            raise errors.UnlockFailed
        record = self.shop.sealed(NEW, order.escrow)
        await reporter.escrow(record)
        self.key = NEW
        digest = handshake.record_digest(record)
        reporter.proved(VolumeProof(digest=digest, volumes=(), ek_hash="", dry_run=False))


async def registered(network: MemoryNetwork, folder: Path) -> tuple[Records, Volumes]:
    """A machine that this station has installed and that is off now, and our records of it."""
    keyring, records = Keyring.at(None), Records()
    operator = Operator(goal=State.WRITTEN, identity=keyring.identity())
    async with installed_by(operator, network, folder) as first:
        known = operator.desk.leases[-1]
    records.keep_lease("CODE", known, released=True, hostname="shop-17")
    records.keep_escrow(first.sealed(KEY, (keyring.escrow().public,)), b"")
    return records, Volumes(first)


async def locked(network: MemoryNetwork, folder: Path, volumes: Volumes, code: str) -> None:
    agent = shop(folder)
    agent.opener, agent.maintainer = volumes.open, volumes.change
    report, volumes.shop = ReportFile.from_bytes(volumes.shop.report), agent
    await afterwards.run_started(
        agent,
        network.transport("node"),
        lambda: None,
        afterwards.Start(code=code),
        tenancy=folder / "tenancy.json",
        report=report,
        life=the_good_way,
    )


def errand(
    network: MemoryNetwork, records: Records, said: io.StringIO, name: str = "shop-17"
) -> NodeErrand:
    return NodeErrand(
        node=nodes.find(records, name),
        keyring=Keyring.at(None),
        records=records,
        timeout=30,
        network=network.transport().dialer,
        warm=WarmUp(lambda: None),
        talk=Lines(said, said),
    )


def actions(records: Records) -> list[str]:
    return [entry.action for entry in audit.read(records.folder)]


async def test_approve_opens_the_volumes_and_is_noted(
    station: Station, tmp_path: Path, quick_clock: object
) -> None:
    network, said = MemoryNetwork(), io.StringIO()
    records, volumes = await registered(network, tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(locked, network, tmp_path, volumes, errors.LockedError.slug)
        one = errand(network, records, said)
        assert await one.approve()
        nursery.cancel_scope.cancel()
    assert volumes.tried == [(UnlockKind.APPROVAL, approval.pin(KEY))]
    assert actions(records) == ["recovery-key-opened"]
    assert KEY.decode() not in said.getvalue() + (records.folder / "audit.jsonl").read_text()
    assert approval.pin(KEY).decode() not in said.getvalue()


async def test_recover_and_rotate_makes_the_old_key_worthless(
    station: Station, tmp_path: Path, quick_clock: object
) -> None:
    network, said = MemoryNetwork(), io.StringIO()
    records, volumes = await registered(network, tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(locked, network, tmp_path, volumes, errors.LockedError.slug)
        one = errand(network, records, said)
        await one.recover([Task.ROTATE])
        nursery.cancel_scope.cancel()
    assert volumes.tried == [(UnlockKind.RECOVERY, KEY)]
    assert volumes.key == NEW
    assert errand(network, records, said).recovery_key("test") == NEW
    newest, oldest = nodes.escrow_of(records, one.node)
    assert newest.proof is not None
    assert oldest.proof is None
    assert actions(records)[:3] == ["recovery-key-opened", "recovery-key-opened", "keys-changed"]


@pytest.mark.parametrize("ask", ["unlock", "approve", "rotate"])
async def test_where_one_key_is_refused_the_one_before_is_tried(
    station: Station, tmp_path: Path, quick_clock: object, ask: str
) -> None:
    """A change of keys that was cut off leaves two records, and one of them opens the machine."""
    network, said = MemoryNetwork(), io.StringIO()
    records, volumes = await registered(network, tmp_path)
    records.keep_escrow(volumes.shop.sealed(NEW, (Keyring.at(None).escrow().public,)), b"")
    assert errand(network, records, said).recovery_key("test") == NEW, "the newest is the best"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(locked, network, tmp_path, volumes, errors.LockedError.slug)
        one = errand(network, records, said)
        if ask == "rotate":
            await one.recover([Task.ROTATE])
        else:
            assert await (one.unlock() if ask == "unlock" else one.approve())
        nursery.cancel_scope.cancel()
    asked = [secret for _, secret in volumes.tried]
    pins = [approval.pin(NEW), approval.pin(KEY)]
    assert asked == (pins if ask == "approve" else [NEW, KEY])
    assert actions(records).count("recovery-key-opened") == (5 if ask == "rotate" else 3)
    assert "the one before is tried" in said.getvalue()


async def test_records_without_the_latest_key_are_said_to_be_old(
    station: Station, tmp_path: Path, quick_clock: object
) -> None:
    """A backup of yesterday: the key was changed since, by the same operator elsewhere."""
    network, said = MemoryNetwork(), io.StringIO()
    records, volumes = await registered(network, tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(locked, network, tmp_path, volumes, errors.LockedError.slug)
        one = errand(network, records, said)
        await one.recover([Task.ROTATE])
        newest, oldest = nodes.escrow_of(records, one.node)
        newest.path.unlink()
        assert not await errand(network, records, said).unlock(), "it is open"
        nursery.cancel_scope.cancel()
    assert "latest recovery key is not in these records" in said.getvalue()
    assert nodes.escrow_of(records, one.node) == [oldest]


async def test_where_no_key_opens_it_the_machine_stays_locked(
    station: Station, tmp_path: Path, quick_clock: object
) -> None:
    network, said = MemoryNetwork(), io.StringIO()
    records, volumes = await registered(network, tmp_path)
    volumes.key = b"another"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(locked, network, tmp_path, volumes, errors.LockedError.slug)
        with pytest.raises(errors.UnlockFailed):
            await errand(network, records, said).unlock()
        nursery.cancel_scope.cancel()
    assert len(volumes.tried) == 1


async def test_an_open_machine_needs_no_approval(
    station: Station, tmp_path: Path, quick_clock: object
) -> None:
    network, said = MemoryNetwork(), io.StringIO()
    records, _ = await registered(network, tmp_path)

    async def installed() -> None:
        agent = shop(tmp_path)
        assert afterwards.restore(agent, tmp_path / "tenancy.json")
        await afterwards.run_installed(agent, network.transport("node"), lambda: None, the_good_way)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(installed)
        assert not await errand(network, records, said).approve()
        nursery.cancel_scope.cancel()
    assert actions(records) == []


async def started(network: MemoryNetwork, folder: Path, news: str = "") -> None:
    """The registered machine, started again: until it has nothing more to tell."""
    agent = shop(folder)
    assert afterwards.restore(agent, folder / "tenancy.json")
    transport = network.transport("node")
    await afterwards.run_installed(agent, transport, lambda: None, the_good_way, news=news)


async def test_a_machine_that_went_back_a_version_waits_to_be_asked_and_tells_it_once(
    station: Station, tmp_path: Path, quick_clock: object
) -> None:
    network, said = MemoryNetwork(), io.StringIO()
    records, _ = await registered(network, tmp_path)
    news = "Version 1.2.0 was not good: the check 10-till: status 1 (start 01234567)."
    for told in ("", news):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(started, network, tmp_path, told)
            await trio.sleep(100)  # it has said that it is ready
            assert await errand(network, records, said).ask()
        (node,) = nodes.all_nodes(records)
        assert node.state == "ready"
        assert node.told.endswith(told)
    assert said.getvalue().count(news) == 1
    with trio.fail_after(600):
        await started(network, tmp_path, news)  # quiet: it waits for nobody
    shown = await trio.to_thread.run_sync(station.fleet, "nodes", "show", "shop-17")
    assert news in shown.out
    body = json.loads(
        (await trio.to_thread.run_sync(station.fleet, "nodes", "list", "--output", "jsonl")).out
    )
    assert body["told"].endswith(news)


async def test_a_locked_machine_that_is_asked_says_so(
    station: Station, tmp_path: Path, quick_clock: object
) -> None:
    network, said = MemoryNetwork(), io.StringIO()
    records, volumes = await registered(network, tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(locked, network, tmp_path, volumes, errors.LockedError.slug)
        assert not await errand(network, records, said).ask()
        nursery.cancel_scope.cancel()
    assert volumes.tried == []


async def test_several_are_asked_at_once_and_nobody_waits_for_one_that_is_not_there(
    station: Station, tmp_path: Path, quick_clock: object
) -> None:
    network, news = MemoryNetwork(), "Version 1.2.0 was not good: the check 10-till: status 1."
    records, _ = await registered(network, tmp_path)
    Machine(hostname="shop-18").put(records)
    errands = [errand(network, records, io.StringIO(), name) for name in ("shop-18", "shop-17")]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(started, network, tmp_path, news)
        await trio.sleep(100)  # it has said that it is ready
        absent, there = await asking.answers(errands, at_once=1)
    assert (absent.exit, there.exit) == (5, 0)
    assert absent.text.startswith("shop-18: E400")
    assert there.text == "shop-17: has told"
    shown = await trio.to_thread.run_sync(station.fleet, "status")
    assert news in shown.out.partition("have told something since:")[2]


async def test_another_stations_escrow_key_is_needed(
    station: Station, tmp_path: Path, quick_clock: object
) -> None:
    network = MemoryNetwork()
    records, _ = await registered(network, tmp_path)
    one = errand(network, records, io.StringIO())
    one.keyring = Keyring.at(str(tmp_path / "other"))
    with pytest.raises(errors.EscrowKeyMissing) as missing:
        one.recovery_key("test")
    assert missing.value.exit_code == 13
    assert actions(records) == []


async def test_list_show_and_the_key_in_a_file(
    station: Station, tmp_path: Path, quick_clock: object
) -> None:
    records, _ = await registered(MemoryNetwork(), tmp_path)
    (node,) = nodes.all_nodes(records)
    said = await trio.to_thread.run_sync(station.fleet, "nodes", "list")
    assert node.node in said.out
    assert "shop-17" in said.out
    said = await trio.to_thread.run_sync(station.fleet, "nodes", "show", node.node.lower())
    assert "never tried" in said.out
    file = tmp_path / "key.txt"
    said = await trio.to_thread.run_sync(station.fleet, "recover", "shop-17", "--to", str(file))
    assert said.status == 0, said.err
    assert file.read_bytes() == KEY + b"\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "--rotate" in said.err
    again = await trio.to_thread.run_sync(station.fleet, "recover", "shop-17", "--to", str(file))
    assert again.status == 2
    assert "There is such a file already" in again.err
    shown = await trio.to_thread.run_sync(station.fleet, "recover", "shop-17", "--show")
    assert shown.status == 2
    assert KEY.decode() not in said.out + said.err + again.err + shown.out + shown.err
    assert actions(records) == ["recovery-key-opened"], "no key is opened for nothing"


def test_a_machine_that_nobody_knows(station: Station) -> None:
    said = station.fleet("nodes", "show", "shop-99")
    assert said.status == 2
    assert "E105" in said.err


@pytest.mark.parametrize("port", ["70000", "0", "x"])
def test_an_address_that_is_none(station: Station, port: str) -> None:
    said = station.fleet("recover", "shop-99", "--address", f"192.0.2.1:{port}")
    assert said.status == 2


async def test_one_registration_goes_through_a_start_that_needs_approval(
    station: Station, tmp_path: Path, quick_clock: object
) -> None:
    station.config.write_text(station.config.read_text() + "k3s:\n  enabled: true\n")
    network, agent = station.network, shop(tmp_path)
    agent.key = KEY
    volumes = Volumes(agent)

    async def machine(scope: trio.CancelScope) -> None:
        await agent.off.wait()
        scope.cancel()
        await trio.sleep(30)
        await locked(network, tmp_path, volumes, approval.AWAITS)

    async with trio.open_nursery() as nursery, trio.open_nursery() as first:
        first.start_soon(agent.run, network.transport("node"), lambda: None)
        while not agent.reachable.addresses:  # noqa: ASYNC110 (virtual time)
            await trio.sleep(0.1)
        run = station.run("--wait", "ready", "--approve", "yes")
        nursery.start_soon(machine, first.cancel_scope)
        nursery.start_soon(through, run, peertoken.parse(agent.token()), nursery.cancel_scope)
    (verdict,) = VERDICTS
    VERDICTS.clear()
    assert (verdict.exit, verdict.state) == (0, "ready"), verdict.text
    assert volumes.tried == [(UnlockKind.APPROVAL, approval.pin(KEY))]
    assert actions(run.records) == ["recovery-key-opened", "start-approved"]
    assert "first start" in station.err.getvalue()


VERDICTS: list[Any] = []


async def through(run: Any, token: Token, scope: trio.CancelScope) -> None:
    VERDICTS.append(await run.pair("photo.png", token))
    scope.cancel()
