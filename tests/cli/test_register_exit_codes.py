"""Every exit code that `kairos-register` can reach, reached."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.agent import Agent
from pairing import errors, keys
from pairing.errors import ExitCode
from pairing.events import State
from pairing.facts import Facts
from pairing.peertoken import parse
from pairing.protocol.messages import Manifest
from pairing.serving import Reporter

Station = Any
NewNode = Any


async def test_0_done(station: Station, node: NewNode) -> None:
    async with node() as shop:
        verdict = await station.pair(shop.agent)
    assert (verdict.exit, verdict.state, verdict.error) == (0, "written", None)
    assert verdict.serial == "FL2240817733"
    assert verdict.released
    assert verdict.dry_run
    assert "hostname: shop-0815" in station.err.getvalue()
    assert station.out.getvalue() == "photo.png: written (serial FL2240817733, dry run)\n"


async def test_0_a_second_run_with_the_same_photo(station: Station, node: NewNode) -> None:
    async with node() as shop:
        await station.pair(shop.agent)
        machine = shop.agent.machine
        token = _first_token(station, shop.agent)
        run = station.run("--timeout", "5")
        verdict = await run.pair("photo.png", token)
    assert verdict.exit == 0
    assert verdict.already
    assert verdict.serial == "FL2240817733"
    assert machine.state is State.WRITTEN


def _first_token(station: Station, agent: Agent) -> Any:
    """The photo of the first run: its lease is on disk, so any secret will do to find it."""
    from pairing.peertoken import Token

    (stored,) = (station.data / "leases").glob("*.json")

    class Same(Token):
        @property
        def name(self) -> str:
            return str(stored.stem)

    return Same(agent.machine.public, b"s" * 16, ipv4=agent.reachable.addresses[0])


async def test_0_dry_run_releases_nothing(station: Station, node: NewNode) -> None:
    async with node() as shop:
        verdict = await station.pair(shop.agent, "--dry-run")
        assert shop.agent.machine.state is State.CLAIMED
    assert (verdict.exit, verdict.state, verdict.released) == (0, "claimed", False)
    said = station.err.getvalue()
    assert "1/11 check-image" in said
    assert "/dev/mmcblk0 63 GB" in said


async def test_a_dry_run_and_then_the_real_one(station: Station, node: NewNode) -> None:
    async with node() as shop:
        token = parse(shop.agent.token())
        assert (await station.run("--dry-run").pair("photo.png", token)).exit == 0
        verdict = await station.run().pair("photo.png", token)
    assert (verdict.exit, verdict.state) == (0, "written")


async def test_3_the_config_does_not_fit_the_machine(station: Station, node: NewNode) -> None:
    async with node("without-disk") as shop:
        verdict = await station.pair(shop.agent)
    assert verdict.exit == ExitCode.CONFIG
    assert isinstance(verdict.error, errors.ConfigNotForThisMachine)
    assert not verdict.released


async def test_3_an_expectation_does_not_hold(station: Station, node: NewNode) -> None:
    async with node() as shop:
        verdict = await station.pair(shop.agent, "--set", "expect.serial=SOMETHING-ELSE")
    assert verdict.exit == ExitCode.CONFIG
    assert "FL2240817733" in verdict.error.sentence
    assert not verdict.released


async def test_5_the_node_is_gone(station: Station, node: NewNode) -> None:
    async with node() as shop:
        shop.scope.cancel()
        verdict = await station.pair(shop.agent, "--timeout", "1")
    assert verdict.exit == ExitCode.UNREACHABLE
    assert not verdict.released


async def test_6_taken_by_somebody_else(station: Station, node: NewNode, tmp_path: Path) -> None:
    async with node() as shop:
        token = shop.agent.token()
        await station.pair(shop.agent)
        stranger = station.run("--timeout", "5", "--keys", str(tmp_path / "others"))
        stranger.records.folder = tmp_path / "other-records"
        verdict = await stranger.pair("photo.png", parse(token))
    assert verdict.exit == ExitCode.NOT_AUTHENTIC
    assert isinstance(verdict.error, errors.Taken)


async def test_6_a_fleet_wants_its_own_stations(station: Station, node: NewNode) -> None:
    fleet = keys.PinnedFleet(keys.generate().public)
    async with node(fleets=(fleet,)) as shop:
        verdict = await station.pair(shop.agent)
    assert verdict.exit == ExitCode.NOT_AUTHENTIC
    assert isinstance(verdict.error, errors.FleetSignatureNeeded)
    assert verdict.serial == "", "no facts for strangers"


async def test_0_a_certified_station(station: Station, node: NewNode) -> None:
    from cli.keyring import Keyring, certificate_text

    ring = Keyring()
    fleet = ring.make_fleet()
    mine = ring.certify(ring.operator().public, "north")
    ring.keep_certificate(certificate_text(mine).encode(), element="test")
    async with node(fleets=(keys.PinnedFleet(fleet.public),)) as shop:
        verdict = await station.pair(shop.agent)
    assert verdict.exit == 0
    assert "O1" in station.err.getvalue()


class FailingAgent(Agent):
    async def install(self, manifest: Manifest, delay: float, reporter: Reporter) -> None:
        reporter.entered(State.INSTALLING)
        raise errors.StepFailed("sfdisk: cannot open /dev/mmcblk0", element="write-disk")


class LockedAgent(Agent):
    async def install(self, manifest: Manifest, delay: float, reporter: Reporter) -> None:
        reporter.entered(State.LOCKED, text="The TPM does not open the disk.")


class DeadAgent(Agent):
    async def install(self, manifest: Manifest, delay: float, reporter: Reporter) -> None:
        assert self.machine.tenancy is not None
        self.machine.tenancy = None  # forgets everything: nothing is heard any more


async def test_7_the_node_failed(station: Station, node: NewNode) -> None:
    async with node(kind=FailingAgent) as shop:
        verdict = await station.pair(shop.agent)
    assert verdict.exit == ExitCode.NODE_FAILED
    assert isinstance(verdict.error, errors.StepFailed)
    assert "cannot open /dev/mmcblk0" in station.err.getvalue()


def test_9_libp2p_is_missing(station: Station) -> None:
    def load() -> None:
        raise errors.TransportMissing("(No module named 'libp2p')")

    run = station.run(load=load)
    run.sources = [_token_source()]
    with run:
        assert run.all() == [ExitCode.MISSING]
    assert "make install" in station.err.getvalue()


def _token_source() -> Any:
    from cli.sources import Source
    from pairing.peertoken import Token, to_text

    return Source("token", text=to_text(Token(keys.generate().public, b"s" * 16)))


async def test_11_the_disk_is_not_empty(station: Station, node: NewNode) -> None:
    async with node("pc-with-windows") as shop:
        verdict = await station.pair(shop.agent, "--set", "install.wipe=true")
        assert shop.agent.machine.state is State.CLAIMED, "held, not refused"
    assert verdict.exit == ExitCode.NOT_APPROVED
    assert isinstance(verdict.error, errors.MustBeAsked)
    assert "not empty" in verdict.error.sentence
    assert not verdict.released


async def test_11_several_disks(station: Station, node: NewNode) -> None:
    async with node("nvme-server-two-disks") as shop:
        verdict = await station.pair(shop.agent)
    assert isinstance(verdict.error, errors.DiskNotChosen)
    assert verdict.exit == ExitCode.NOT_APPROVED
    assert "/dev/nvme0n1" in verdict.error.sentence


async def test_0_several_disks_and_one_named(station: Station, node: NewNode) -> None:
    async with node("nvme-server-two-disks") as shop:
        verdict = await station.pair(shop.agent, "--device", "/dev/nvme1n1")
    assert verdict.exit == 0
    assert "disk: /dev/nvme1n1" in station.err.getvalue()


async def test_11_to_be_asked_without_a_terminal(station: Station, node: NewNode) -> None:
    for arguments in (("--approve", "ask"), ("--confirm-words",)):
        async with node() as shop:
            verdict = await station.pair(shop.agent, *arguments)
        assert isinstance(verdict.error, errors.MustBeAsked)
        assert verdict.exit == ExitCode.NOT_APPROVED


async def test_11_then_0_by_policy(station: Station, node: NewNode) -> None:
    policy = station.home / "policy.yaml"
    policy.write_text("rules:\n  - {name: ours, serial: 'XX*'}\n")
    async with node() as shop:
        verdict = await station.pair(shop.agent, "--approve", str(policy))
        assert isinstance(verdict.error, errors.PolicyUnmet)
        assert verdict.exit == ExitCode.NOT_APPROVED
        assert "ours: serial is FL2240817733" in verdict.error.sentence
        policy.write_text("rules:\n  - {serial: 'fl22*', disk: {empty: true, at_least: 32 GB}}\n")
        run = station.run("--timeout", "5", "--approve", str(policy))
        assert (await run.pair("photo.png", _first_token(station, shop.agent))).exit == 0


async def test_12_released_and_then_silence(station: Station, node: NewNode) -> None:
    async with node(abort_delay=3600) as shop:
        token = shop.agent.token()
        run = station.run("--timeout", "1")
        seen = run.report.event

        def kill_when_planned(event: Any, at: str, serial: str) -> None:
            seen(event, at, serial)
            if event.state is State.PLANNED:
                shop.scope.cancel()

        run.report.event = kill_when_planned
        verdict = await run.pair("photo.png", parse(token))
        assert verdict.exit == ExitCode.NO_VERDICT
        assert verdict.released
        again = await station.run("--timeout", "1").pair("photo.png", parse(token))
    assert again.exit == ExitCode.NO_VERDICT, "a later run knows that a config had left"


async def test_13_locked(station: Station, node: NewNode) -> None:
    async with node(kind=LockedAgent) as shop:
        verdict = await station.pair(shop.agent)
    assert verdict.exit == ExitCode.LOCKED
    assert "TPM does not open" in verdict.error.sentence


async def test_a_journal_that_cannot_be_written_stops_nothing(
    station: Station, node: NewNode
) -> None:
    station.data.mkdir(parents=True)
    (station.data / "journal").write_text("a file in the place of the folder")
    async with node() as shop:
        verdict = await station.pair(shop.agent)
    assert verdict.exit == 0
    assert "not in the journal" in station.err.getvalue()


async def test_9_a_recovery_key_that_cannot_be_kept(station: Station, node: NewNode) -> None:
    """The node's disk stays untouched: it waits for an acknowledgement that never comes."""
    station.data.mkdir(parents=True)
    (station.data / "escrow").write_text("a file in the place of the folder")
    async with node() as shop:
        verdict = await station.pair(shop.agent)
        assert shop.agent.machine.state is State.INSTALLING
        assert shop.agent.progress.step == "escrow-key"
    assert verdict.exit == ExitCode.MISSING
    assert isinstance(verdict.error, errors.StoreUnwritable)


async def test_0_wait_until_it_is_planned(station: Station, node: NewNode) -> None:
    """Not before the recovery key is kept: the node could not go on without us."""
    async with node() as shop:
        verdict = await station.pair(shop.agent, "--wait", "planned")
    assert verdict.exit == 0
    assert verdict.state == "installing"
    assert len(list((station.data / "escrow").glob("*.json"))) == 1


@pytest.mark.parametrize("output", ["human", "jsonl", "json"])
async def test_a_hostile_node_paints_nothing(station: Station, node: NewNode, output: str) -> None:
    """T13, through the whole command: hardware whose names drive terminals."""
    hostile = "\x1b[2J\x1b]0;owned\x07\rerror E000\n\u202elive"

    def paint(facts: Facts) -> Facts:
        disk = replace(facts.disks[0], model=hostile, serial=hostile)
        return replace(facts, serial=hostile, vendor=hostile, disks=(disk, *facts.disks[1:]))

    async with node(change=paint) as shop:
        verdict = await station.pair(shop.agent, "--output", output)
    assert verdict.exit == 0
    said = station.err.getvalue() + station.out.getvalue()
    assert "owned" in said, "the name is shown, as text"
    assert not [c for c in said if c != "\n" and not c.isprintable()]
    assert not [line for line in said.split("\n") if line.startswith("error")]
    (journal,) = (station.data / "journal").glob("*.jsonl")
    assert all(json.loads(line) for line in journal.read_text().splitlines())
    assert journal.read_text().isascii()


@pytest.mark.parametrize("goal", ["joined", "ready"])
def test_3_a_config_that_joins_nothing_never_gets_there(station: Station, goal: str) -> None:
    with pytest.raises(errors.JoinsNothing) as refused:
        station.run("--wait", goal)
    assert refused.value.exit_code == 3
    station.config.write_text(station.config.read_text() + "k3s:\n  enabled: true\n")
    station.run("--wait", goal)
