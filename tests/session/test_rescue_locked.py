"""A locked node, found by our record of it: repaired by a station of its image's fleet."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from cli.records import Records
from cli.rescue_way import Way, by_record
from node.afterwards import lock, run_locked
from node.agent import Agent
from node.testing.repair import GOODBYE, Person, agent_in, station
from pairing import errors, keys, repairing
from pairing.events import Mode
from pairing.protocol import handshake
from pairing.protocol.kept import ReportFile
from pairing.protocol.repair import Ended, RepairMachine, Wanted
from pairing.protocol.reportkey import PrivateReportKey
from pairing.protocol.terms import Identity, KnownLease
from pairing.transport.memory import MemoryNetwork

FLEET = keys.generate()
NODE = keys.generate()
LEASE, SECRET, SEED = b"L" * 16, b"s" * 32, b"r" * 32
PINNED = (keys.PinnedFleet(FLEET.public),)


def on_disk(operator: keys.SigningKey, fleet: bytes) -> ReportFile:
    return ReportFile(
        seed=SEED,
        node=NODE.public,
        lease=LEASE,
        secret=handshake.report_secret(SECRET, NODE.public),
        operator=operator.public,
        fleet=fleet,
        relays=(),
        unlock="approval",
    )


@contextlib.asynccontextmanager
async def locked(agent: Agent, file: ReportFile, network: MemoryNetwork) -> AsyncIterator[None]:
    lock(agent, file, errors.LockedError.slug, "")
    assert agent.machine.mode is Mode.LOCKED
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_locked, agent, network.transport("node"), lambda: None)
        while not agent.reachable.addresses:  # noqa: ASYNC110 (virtual time)
            await trio.sleep(0.1)
        yield
        nursery.cancel_scope.cancel()


def known(folder: Path) -> Way:
    records = Records(folder)
    shown = PrivateReportKey(SEED).shown(NODE, LEASE).record
    records.keep_lease("token", KnownLease(LEASE, SECRET, shown), released=True)
    return by_record(keys.fingerprint(NODE.public), (), records)


async def repaired(way: Way, network: MemoryNetwork, identity: Identity, person: Person) -> Ended:
    machine = RepairMachine(
        key=way.key,
        subject=way.subject,
        secret=way.secret,
        lease=way.lease,
        identity=identity,
        wanted=Wanted(columns=80, rows=24, kind="xterm"),
        random=secrets.token_bytes,
    )
    async with network.transport().dialer() as dialer:
        return await repairing.repair(machine, dialer, way.target, person, find=20)


async def test_a_station_gets_in_and_the_tpm_is_closed(
    tmp_path: Path, patient_clock: object
) -> None:
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)
    closed: list[bool] = []
    agent.rescue.close_tpm = lambda: closed.append(not agent.rescue.visitor)
    operator = station(FLEET)
    async with locked(agent, on_disk(operator.key, FLEET.public), network):
        ended = await repaired(known(tmp_path), network, operator, Person([*GOODBYE]))
    assert ended == Ended(0)
    assert closed == [True]


async def test_who_writes_himself_into_the_boot_partition_gets_nothing(
    tmp_path: Path, patient_clock: object
) -> None:
    """A thief with the disk knows what is in the record, and can make himself its operator, even
    with a fleet of his own. On an open image that is the lease, and no terminal; where a fleet is
    pinned it is not even that. Control: the same thief is let in where his fleet is the pinned one.
    """
    thieves = keys.generate()
    thief = station(thieves)
    record = on_disk(thief.key, thieves.public)
    for fleets, error in (
        ((), "rescue-refused"),
        (PINNED, "fleet-only"),
        ((keys.PinnedFleet(thieves.public),), None),
    ):
        network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=fleets)
        person = Person([*GOODBYE])
        async with locked(agent, record, network):
            if error is None:
                await repaired(known(tmp_path), network, thief, person)
                continue
            with pytest.raises(errors.NotAuthenticError) as refused:
                await repaired(known(tmp_path), network, thief, person)
            assert refused.value.slug == error
            assert person.shown == ""
