"""From the photo through the reboot to ready in one process; what a locked node says instead."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
import trio
import trio.testing

from node import afterwards
from node.tenancy_store import TenancyStore
from node.testing.aftermath import Operator, installed_by, rebooted, shop, the_good_way
from pairing import errors, keys, peertoken
from pairing.events import State
from pairing.peertoken import Token
from pairing.protocol.effects import Done
from pairing.protocol.kept import ReportFile
from pairing.serving import Reporter
from pairing.testing.network import loopback_transport
from pairing.transport.memory import MemoryNetwork


async def test_one_process_from_the_photo_to_ready(tmp_path: Path, quick_clock: object) -> None:
    network, operator = MemoryNetwork(latency=0.05), Operator()
    async with (
        installed_by(operator, network, tmp_path),
        # Its old address belongs to somebody else now.
        network.transport("other").listener(keys.generate().seed, 1),
    ):
        agent = await rebooted(network, tmp_path, the_good_way)
    assert operator.outcome == Done(State.READY, already=False)
    states = [event.state for event in operator.desk.events]
    assert states[-5:] == [
        State.WRITTEN, State.REBOOTING, State.INSTALLED, State.JOINED, State.READY,
    ]  # fmt: skip
    seqs = [event.seq for event in operator.desk.events]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len({event.boot for event in operator.desk.events}) == 2
    assert agent.machine.tenancy is not None
    assert agent.machine.tenancy.told


async def test_a_node_that_has_told_everything_opens_no_port_at_later_starts(
    tmp_path: Path, quick_clock: object
) -> None:
    network, operator = MemoryNetwork(), Operator()
    async with installed_by(operator, network, tmp_path):
        await rebooted(network, tmp_path, the_good_way)
    seen: list[int] = []

    async def looking(reporter: Reporter) -> None:
        await the_good_way(reporter)
        seen.append(len(network._listeners))

    await rebooted(network, tmp_path, looking)
    assert seen == [0]


async def test_a_node_that_nobody_asks_is_quiet_after_report_for(
    tmp_path: Path, quick_clock: object
) -> None:
    network, operator = MemoryNetwork(), Operator(goal=State.WRITTEN)
    async with installed_by(operator, network, tmp_path):
        start = trio.current_time()
        with trio.move_on_after(400):  # the power goes
            await rebooted(network, tmp_path, the_good_way)
        await rebooted(network, tmp_path, the_good_way)
    assert 600 <= trio.current_time() - start < 600 + 500
    kept = TenancyStore(tmp_path / "tenancy.json").load()
    assert kept is not None
    assert kept.told


async def test_a_later_run_hears_how_it_ended(tmp_path: Path, quick_clock: object) -> None:
    network, operator = MemoryNetwork(), Operator(goal=State.WRITTEN)
    async with installed_by(operator, network, tmp_path) as agent, trio.open_nursery() as nursery:
        nursery.start_soon(rebooted, network, tmp_path, the_good_way)
        token = peertoken.parse(agent.token())
        token = Token(token.key, secrets.token_bytes(16))
        known = operator.desk.leases[-1]
        again = Operator(identity=operator.identity, known=known)
        await again.pair(token, network.transport())
        nursery.cancel_scope.cancel()
    assert isinstance(again.outcome, Done)
    assert again.outcome.state is State.READY


async def test_a_later_run_hears_the_last_failure_not_the_first(
    tmp_path: Path, quick_clock: object
) -> None:
    """A machine that was started several times while nobody listened."""

    async def away(reporter: Reporter) -> None:
        reporter.entered(State.INSTALLED)
        raise errors.JoinUnreachable

    async def refused(reporter: Reporter) -> None:
        reporter.entered(State.INSTALLED)
        reporter.said("a line after the state that counts comes, too")
        raise errors.JoinTokenRefused

    network, operator = MemoryNetwork(), Operator(goal=State.WRITTEN)
    async with installed_by(operator, network, tmp_path) as agent, trio.open_nursery() as nursery:
        with trio.move_on_after(100):  # the power goes
            await rebooted(network, tmp_path, away)
        nursery.start_soon(rebooted, network, tmp_path, refused)
        await trio.sleep(10)
        token = peertoken.parse(agent.token())
        token = Token(token.key, secrets.token_bytes(16))
        again = Operator(identity=operator.identity, known=operator.desk.leases[-1])
        await again.pair(token, network.transport())
        nursery.cancel_scope.cancel()
    assert isinstance(again.outcome, errors.JoinTokenRefused)


async def test_a_life_that_fails_is_failed_at_the_operator(
    tmp_path: Path, quick_clock: object
) -> None:
    async def bad(reporter: Reporter) -> None:
        reporter.entered(State.INSTALLED)
        raise errors.JoinFailed("the server says no")

    network, operator = MemoryNetwork(), Operator()
    async with installed_by(operator, network, tmp_path):
        await rebooted(network, tmp_path, bad)
    assert isinstance(operator.outcome, errors.JoinFailed)
    assert "the server says no" in operator.outcome.sentence


async def test_a_locked_node_is_exit_13_and_goes_on_once_it_is_open(
    tmp_path: Path, quick_clock: object
) -> None:
    network, operator = MemoryNetwork(latency=0.05), Operator()
    async with installed_by(operator, network, tmp_path) as first, trio.open_nursery() as nursery:
        agent = shop(tmp_path)
        file = ReportFile.from_bytes(first.report)
        afterwards.lock(agent, file, errors.UnlockFailed.slug, "not this TPM")
        nursery.start_soon(afterwards.run_locked, agent, network.transport("node"), lambda: None)
        while operator.outcome is None:  # noqa: ASYNC110 (virtual time)
            await trio.sleep(1)
        assert isinstance(operator.outcome, errors.LockedError)
        assert operator.outcome.exit_code == 13
        agent.opened()
        await trio.sleep(5)
        assert not network._listeners
    assert operator.desk.events[-1].state is State.LOCKED


async def test_a_damaged_lease_is_named(tmp_path: Path) -> None:
    agent, path = shop(tmp_path), tmp_path / "tenancy.json"
    assert not afterwards.restore(agent, path)
    path.write_bytes(b"{}")
    with pytest.raises(errors.TenancyDamaged):
        afterwards.restore(agent, path)


async def test_over_libp2p_at_another_port(tmp_path: Path) -> None:
    """Real sockets, real mDNS: the address in the photo is nobody's after the restart."""
    transport, agent = loopback_transport(), shop(tmp_path)
    operator = Operator()

    async def quick(reporter: Reporter) -> None:
        for state in (State.INSTALLED, State.JOINED, State.READY):
            reporter.entered(state)

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as first:
            first.start_soon(agent.run, transport, lambda: None)
            while not agent.reachable.addresses:  # noqa: ASYNC110 (a few turns)
                await trio.sleep(0.05)
            token = peertoken.parse(agent.token(), loopback=True)
            nursery.start_soon(operator.pair, token, transport)
            await agent.off.wait()
            first.cancel_scope.cancel()
        again = shop(tmp_path)
        assert afterwards.restore(again, tmp_path / "tenancy.json")
        assert again.machine.public == token.key
        await afterwards.run_installed(again, transport, lambda: None, quick)
    assert operator.outcome == Done(State.READY, already=False)


async def test_over_libp2p_a_locked_node(tmp_path: Path) -> None:
    transport, agent = loopback_transport(), shop(tmp_path)
    operator = Operator()
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as first:
            first.start_soon(agent.run, transport, lambda: None)
            while not agent.reachable.addresses:  # noqa: ASYNC110 (a few turns)
                await trio.sleep(0.05)
            token = peertoken.parse(agent.token(), loopback=True)
            nursery.start_soon(operator.pair, token, transport)
            await agent.off.wait()
            first.cancel_scope.cancel()
        again = shop(tmp_path)
        file = ReportFile.from_bytes(agent.report)
        afterwards.lock(again, file, errors.UnlockFailed.slug, "")
        nursery.start_soon(afterwards.run_locked, again, transport, lambda: None)
        while operator.outcome is None:  # noqa: ASYNC110 (a few turns)
            await trio.sleep(0.1)
        again.opened()
    assert isinstance(operator.outcome, errors.LockedError)
