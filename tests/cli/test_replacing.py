"""`kairos-fleet nodes replace`: a new machine gets the name, labels and config of an old one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from cli import audit, nodes, replacing
from cli.inventory import Entry, Inventory, Origin, Retirement
from cli.keyring import Keyring
from cli.nodes import NodeRecord
from cli.pairing_run import Run, WarmUp
from cli.records import Records
from cli.register import Asked, command
from cli.testing.fleet import Machine
from node.testing.aftermath import Shop, shop
from pairing import errors, peertoken
from pairing.events import State
from pairing.report import Verdict, report_for

Station = Any
LABELS = {"region": "north", "role": "till"}


def old_machine(station: Station, *assigned: str, **more: Any) -> NodeRecord:
    origin = Origin(files=(str(station.config),), assigned=("hostname", *assigned))
    Machine(hostname="shop-17", serial="S-1", labels=LABELS, origin=origin, **more).put(Records())
    return nodes.find(Records(), "shop-17")


def asked(*words: str) -> Asked:
    given = ["--wait", "written", "--timeout", "5", *words]
    with command.make_context("kairos-register", given) as made:
        return Asked(**made.params)


def run_for(station: Station, old: NodeRecord, *words: str) -> Run:
    run = replacing.prepared(old, asked(*words))
    run.network = station.network.transport().dialer
    run.warm = WarmUp(lambda: None)
    run.report = report_for("human", station.err, station.out)
    return run


async def pair(run: Run, agent: Shop, station: Station) -> Verdict:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.run, station.network.transport("node"), lambda: None)
        while not agent.reachable.addresses:  # noqa: ASYNC110 (a few turns)
            await trio.sleep(0.01)
        verdict = await run.pair("photo.png", peertoken.parse(agent.token()))
        nursery.cancel_scope.cancel()
    return verdict


async def test_the_new_machine_takes_the_place(station: Station, tmp_path: Path) -> None:
    old, agent = old_machine(station), shop(tmp_path)
    run = run_for(station, old, "--label", "role=server")
    verdict = await pair(run, agent, station)
    assert verdict.exit == 0, station.err.getvalue()
    before = replacing.find_old(Records(), "shop-17", verdict.node)
    assert before.node == old.node
    assert before.retired is None, "not before the new one has come to its goal"
    replacing.hand_over(run, before, verdict.node, Keyring.at(None))
    new, gone = nodes.find(Records(), "shop-17"), nodes.find(Records(), old.node)
    assert new.node == verdict.node
    assert new.labels == {"region": "north", "role": "server"}
    assert new.entry.replaces == old.node
    assert new.entry.origin.files == (str(station.config),)
    assert gone.retired is not None
    assert gone.retired.replaced_by == new.node
    (line,) = audit.read(Records().folder)
    assert (line.action, line.node, line.about["by"]) == ("retired", old.node, new.node)
    assert "told nothing" in station.err.getvalue()


async def test_the_same_command_again_goes_on(station: Station, tmp_path: Path) -> None:
    old, agent = old_machine(station), shop(tmp_path)
    run = run_for(station, old)
    verdict = await pair(run, agent, station)
    with pytest.raises(errors.NodeUnknown, match="Several"):
        nodes.find(Records(), "shop-17")
    for _ in range(2):  # interrupted before the end; and run once more after it
        found = replacing.find_old(Records(), "shop-17", verdict.node)
        assert found.node == old.node
        replacing.hand_over(run, found, verdict.node, Keyring.at(None))
    with pytest.raises(errors.ReplacedAlready):
        replacing.require_free(nodes.find(Records(), old.node), "A-THIRD-ONE")


async def test_a_machine_that_does_not_get_there_replaces_nothing(
    station: Station, tmp_path: Path
) -> None:
    class Broken(Shop):
        async def install(self, *_: object, **__: object) -> None:
            raise errors.DiskBusy

    old, made = old_machine(station), shop(tmp_path)
    agent = Broken(settings=made.settings, look=made.look, display=made.display, state=made.state)
    verdict = await pair(run_for(station, old), agent, station)
    assert verdict.exit == 7
    assert nodes.find(Records(), old.node).retired is None


def test_a_rehearsal_replaces_nothing(station: Station) -> None:
    old = old_machine(station)
    new = Machine(hostname="shop-17", states=(State.WRITTEN,), dry_run=True).put(Records())
    run = run_for(station, old)
    replacing.hand_over(run, old, new, Keyring.at(None))
    assert nodes.find(Records(), old.node).retired is None
    assert "rehearsal" in station.err.getvalue()


def test_values_that_were_set_must_be_given_again(station: Station) -> None:
    old = old_machine(station, "users.0.passwd", "k3s.env.K3S_TOKEN")
    with pytest.raises(errors.ConfigForgotten) as forgotten:
        replacing.place_of(old, (), ("users.0.passwd=x",))
    assert "k3s.env.K3S_TOKEN" in forgotten.value.sentence
    assert "passwd" not in forgotten.value.sentence
    place = replacing.place_of(old, (), ("users.0.passwd=x", "k3s.env.K3S_TOKEN=y"))
    assert place.assignments[-1] == "hostname=shop-17"
    assert place.config_files == (str(station.config),)


@pytest.mark.parametrize("files", [(), ("/nonexistent/shop.yaml",)])
def test_a_config_that_is_not_known_or_gone(station: Station, files: tuple[str, ...]) -> None:
    Machine(hostname="shop-17", origin=Origin(files=files)).put(Records())
    with pytest.raises(errors.ConfigForgotten):
        replacing.place_of(nodes.find(Records(), "shop-17"), (), ())


def test_another_config_and_another_name(station: Station) -> None:
    place = replacing.place_of(old_machine(station), ("other.yaml",), ("hostname=shop-18",))
    assert place.config_files == ("other.yaml",)
    assert place.assignments == ("hostname=shop-18",)


async def test_retired_hardware_comes_back_only_when_somebody_says_so(
    station: Station, tmp_path: Path
) -> None:
    agent = shop(tmp_path)
    origin, node = Origin().on(agent.look()), "AAAA-BBBB-CCCC-DDDD"
    stolen = Retirement(at="2026-11-25T00:00:00.000Z", reason="stolen")
    Inventory(Records().folder).change(
        node, lambda _: replace(Entry(), origin=origin, retired=stolen)
    )
    old = old_machine(station)
    verdict = await pair(run_for(station, old), agent, station)
    assert isinstance(verdict.error, errors.HardwareRetired)
    assert (verdict.exit, verdict.released) == (11, False)
    assert "stolen" in verdict.error.sentence


async def test_retired_hardware_with_approve_yes(station: Station, tmp_path: Path) -> None:
    agent = shop(tmp_path)
    retired = Retirement(at="2026-11-25T00:00:00.000Z", reason="repaired since")
    Inventory(Records().folder).change(
        "AAAA-BBBB-CCCC-DDDD",
        lambda _: replace(Entry(), origin=Origin().on(agent.look()), retired=retired),
    )
    verdict = await pair(run_for(station, old_machine(station), "--approve", "yes"), agent, station)
    assert verdict.exit == 0
    assert "repaired since" in station.err.getvalue()
    assert Inventory(Records().folder).retired_hardware(Origin().on(agent.look())) is None


@pytest.mark.slow
def test_the_command_itself_names_what_is_wrong(station: Station) -> None:
    old_machine(station)
    missing = station.fleet("nodes", "replace", "shop-17", "nothing.jpg")
    assert (missing.status, "E101" in missing.err) == (2, True)
    empty = station.fleet("nodes", "replace", "shop-17", "-", stdin=b"EP1:NONSENSE")
    assert empty.status == 4
