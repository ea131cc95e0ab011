"""`kairos-fleet status` and `nodes list|label|retire`, over records of machines."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli import audit, nodes
from cli.errand import NodeErrand
from cli.inventory import Entry, Inventory, Origin
from cli.keyring import Keyring
from cli.records import Records
from cli.testing.fleet import RECOVERY_KEY, Machine
from pairing import errors
from pairing.events import State

Station = Any
LONG = timedelta(hours=5)


@pytest.fixture
def records(station: Station) -> Records:
    """Machines of every condition."""
    made, keyring = Records(), Keyring.at(None)
    north, south = {"region": "north"}, {"region": "south"}
    card = Origin(serial="S-1", uuid="u", macs=("02:00:00:00:00:01",))
    Machine(hostname="old", serial="S-1", origin=card).put(made)
    Machine(hostname="shop-1", serial="S-1", labels=north, origin=card).put(made, keyring)
    Machine(hostname="shop-2", serial="S-2", labels=south, silent=LONG).put(made, keyring)
    half = (State.CLAIMED, State.PLANNED, State.INSTALLING)
    Machine(hostname="shop-3", serial="S-3", states=half, labels=north).put(made)
    Machine(hostname="shop-4", serial="S-4", states=half, silent=LONG, step="write-disk").put(made)
    Machine(hostname="shop-5", serial="<b>", states=(*half, State.FAILED), code="disk-busy").put(
        made
    )
    Machine(hostname="shop-6", states=(State.LOCKED,), code="locked", labels=north).put(made)
    Machine(hostname="shop-7", states=(State.WRITTEN,), dry_run=True).put(made)
    Machine(hostname="shop-8", states=()).put(made)
    return made


COUNTS = {
    "in-order": 2, "working": 2, "quiet": 1, "locked": 1, "failed": 1, "refused": 0,
    "rehearsed": 1, "superseded": 1, "retired": 0,
}  # fmt: skip


def test_status_for_people(station: Station, records: Records) -> None:
    said = station.fleet("status")
    assert said.status == 0, said.err
    assert said.out.startswith("7 machines\n")
    assert "1  not done, and not heard from (1 installing)" in said.out
    assert "not counted: 1 rehearsed, 1 superseded" in said.out
    needs = said.out.partition("need somebody:\n")[2].splitlines()
    assert [line.split()[:2] for line in needs] == [
        ["failed", "shop-5"], ["locked", "shop-6"], ["quiet", "shop-4"],
    ]  # fmt: skip
    assert "installing at write-disk, 5 h ago" in needs[2]


def test_every_form_has_the_same_numbers(station: Station, records: Records) -> None:
    whole = json.loads(station.fleet("status", "--output", "json").out)
    assert whole["counts"] == COUNTS
    assert whole["machines"] == len(whole["nodes"]) == 7
    *lines, last = map(json.loads, station.fleet("status", "--output", "jsonl").out.splitlines())
    assert last["counts"] == COUNTS
    rows = list(csv.DictReader(io.StringIO(station.fleet("status", "--output", "csv").out)))
    for found in (whole["nodes"], lines, rows):
        for condition in ("in-order", "working", "quiet", "locked", "failed"):
            same = [one for one in found if one["condition"] == condition]
            assert len(same) == COUNTS[condition], condition
    metrics = station.fleet("status", "--output", "prometheus").out
    for condition, number in COUNTS.items():
        assert f'kairos_machines{{condition="{condition}"}} {number}\n' in metrics
    page = station.fleet("status", "--output", "html").out
    for condition in ("in-order", "working", "quiet", "locked", "failed"):
        assert f'<tr class="{condition}"><td>{COUNTS[condition]}</td>' in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


def test_the_exit_code_for_scripts(station: Station, records: Records) -> None:
    assert station.fleet("status", "--exit-code").status == 8
    assert station.fleet("status", "--exit-code", "-l", "region=south").status == 0
    assert station.fleet("status", "--quiet-after", "900", "-l", "!region").out.count("quiet") == 0


def test_a_goal_that_is_reached_is_in_order_for_ever(station: Station) -> None:
    written = (State.PLANNED, State.WRITTEN)
    goal = Origin(goal=State.WRITTEN)
    Machine(hostname="off", states=written, origin=goal, silent=LONG).put(Records())
    Machine(hostname="gone", states=written, silent=LONG).put(Records())
    conditions = [
        json.loads(line)["condition"]
        for line in station.fleet("nodes", "list", "--output", "jsonl").out.splitlines()
    ]
    assert conditions == ["in-order", "quiet"]


def test_list_leaves_out_history(station: Station, records: Records) -> None:
    assert "old " not in station.fleet("nodes", "list").out
    assert "installed again later" in station.fleet("nodes", "list", "--all").out
    north = station.fleet("nodes", "list", "-l", "region=north").out
    assert [line.split()[1] for line in north.splitlines()] == ["shop-1", "shop-3", "shop-6"]
    assert station.fleet("nodes", "list", "-l", "region=no rth").status == 2


def test_the_machine_in_use_has_the_name(records: Records) -> None:
    assert nodes.find(records, "S-1").hostname == "shop-1"


def test_boards_that_share_a_serial_number_are_not_one_machine(station: Station) -> None:
    records = Records()
    for last in ("01", "02"):
        card = Origin(serial="0123456789", uuid="u", macs=(f"02:00:00:00:00:{last}",))
        Machine(hostname=f"shop-{last}", serial="0123456789", origin=card).put(records)
    assert [node.superseded for node in nodes.all_nodes(records)] == [False, False]


def test_label(station: Station, records: Records) -> None:
    said = station.fleet("nodes", "label", "shop-1", "S-2", "role=till", "--remove", "region")
    assert said.status == 0, said.err
    assert said.out == "shop-1: role=till\nshop-2: role=till\n"
    both = [nodes.find(records, name).labels for name in ("shop-1", "shop-2")]
    assert both == [{"role": "till"}] * 2
    assert [entry.action for entry in audit.read(records.folder)] == ["labelled"] * 2
    again = station.fleet("nodes", "label", "-l", "role=till", "role=till")
    assert "nothing to change" in again.err
    assert len(audit.read(records.folder)) == 2


@pytest.mark.parametrize(
    "words",
    [
        ("shop-1", "shop-99", "a=b"),
        ("shop-1", "a=no good"),
        ("shop-1",),
        ("a=b",),
        ("-l", "region=west", "a=b"),
        ("shop-1", "-l", "region", "a=b"),
        ("shop-1", "a=b", "--remove", "a"),
        ("shop-1", "a=b", "--from", "x.csv"),
    ],
)
def test_a_mistake_changes_nothing(
    station: Station, records: Records, words: tuple[str, ...]
) -> None:
    said = station.fleet("nodes", "label", *words)
    assert said.status == 2
    assert nodes.find(records, "shop-1").labels == {"region": "north"}
    assert audit.read(records.folder) == ()


def test_labels_go_through_a_spreadsheet(station: Station, records: Records) -> None:
    path = station.home / "machines.csv"
    text = station.fleet("nodes", "list", "--output", "csv").out
    path.write_text(text.replace("south", "east").replace("label.region", "label.area"))
    dry = station.fleet("nodes", "label", "--from", str(path), "--dry-run")
    assert "shop-2: area=east region=south" in dry.out
    assert nodes.find(records, "shop-2").labels == {"region": "south"}
    said = station.fleet("nodes", "label", "--from", str(path), "--output", "jsonl")
    assert len(said.out.splitlines()) == 4
    assert nodes.find(records, "shop-2").labels == {"area": "east", "region": "south"}
    path.write_text(f"node,label.area\nshop-99,x\n{text[:0]}")
    wrong = station.fleet("nodes", "label", "--from", str(path))
    assert wrong.status == 2
    assert "machines.csv:2" in wrong.err


def test_retire_and_take_back(station: Station, records: Records) -> None:
    said = station.fleet("nodes", "retire", "shop-1", "--reason", "sold")
    assert said.status == 0, said.err
    assert "retired 20" in said.out
    assert nodes.find(records, "shop-1").retired is not None
    for command in (("nodes", "approve"), ("recover",)):
        refused = station.fleet(*command, "shop-1")
        assert refused.status == 11
        assert "E741" in refused.err
    assert "1 retired" in station.fleet("status").out
    assert "shop-1" not in station.fleet("nodes", "list").out
    assert station.fleet("nodes", "retire", "shop-1", "--undo").status == 0
    assert nodes.find(records, "shop-1").retired is None
    log = audit.read(records.folder)
    assert [(entry.action, dict(entry.about)) for entry in log] == [
        ("retired", {"reason": "sold", "escrow": "kept", "records": "1"}),
        ("taken-back", {}),
    ]


def test_escrow_is_kept_archived_or_destroyed(station: Station, records: Records) -> None:
    folder, safe = records.folder / "escrow", station.home / "safe"
    assert station.fleet("nodes", "retire", "shop-1", "shop-2", "--dry-run").status == 0
    assert len(list(folder.iterdir())) == 2
    said = station.fleet("nodes", "retire", "shop-1", "--archive-escrow", str(safe))
    assert said.status == 0, said.err
    (moved,) = safe.glob("*.json")
    assert moved.stat().st_mode & 0o777 == 0o600
    assert json.loads(moved.read_bytes())["record"]["serial"] == "S-1"
    (left,) = folder.iterdir()
    unsure = station.fleet("nodes", "retire", "shop-2", "--destroy-escrow")
    assert unsure.status == 11
    assert left.exists()
    assert nodes.find(records, "shop-2").retired is None
    sure = station.fleet("nodes", "retire", "shop-2", "--destroy-escrow", "--yes")
    assert sure.status == 0, sure.err
    assert not left.exists()
    fates = [entry.about["escrow"] for entry in audit.read(records.folder)]
    assert fates == ["archived", "destroyed"]


def test_an_archive_never_loses_a_key(station: Station, records: Records) -> None:
    safe = station.home / "safe"
    safe.mkdir()
    for path in (records.folder / "escrow").iterdir():
        (safe / path.name).write_text("something else")
    said = station.fleet("nodes", "retire", "shop-1", "--archive-escrow", str(safe))
    assert said.status == 9
    errand = NodeErrand(node=nodes.find(records, "shop-1"), keyring=Keyring.at(None))
    assert errand.recovery_key("test") == RECOVERY_KEY


def test_a_damaged_note_is_not_forgotten(station: Station, records: Records) -> None:
    node = nodes.find(records, "shop-1").node
    path = records.folder / "machines" / f"{node}.json"
    path.write_bytes(path.read_bytes()[:-20])
    said = station.fleet("nodes", "approve", "shop-1")
    assert said.status == 9
    assert "E740" in said.err
    assert node in said.err


def test_notes_are_for_their_owner_and_hold_no_secret(station: Station, records: Records) -> None:
    run = station.run("--set", "users.0.passwd=geheim", "--label", "region=north")
    node = nodes.find(records, "shop-1").node
    Inventory(records.folder).change(node, lambda _: Entry(origin=run.order.origin))
    path = records.folder / "machines" / f"{node}.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert "users.0.passwd" in path.read_text()
    assert "geheim" not in path.read_text()


def test_two_writers_lose_nothing(station: Station, tmp_path: Path) -> None:
    import threading
    from dataclasses import replace

    inventory = Inventory(tmp_path)

    def give(number: int) -> None:
        inventory.change(
            "NODE", lambda entry: replace(entry, labels={**entry.labels, f"k{number}": "v"})
        )

    threads = [threading.Thread(target=give, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inventory.entry("NODE").labels) == 20


def test_a_reason_is_one_line(station: Station, records: Records) -> None:
    assert station.fleet("nodes", "retire", "shop-1", "--reason", "a\nb").status == 2
    both = station.fleet("nodes", "retire", "shop-1", "--undo", "--reason", "x")
    assert "E100" in both.err


def test_unknown_machines_are_named(records: Records) -> None:
    with pytest.raises(errors.NodeUnknown):
        nodes.find(records, "shop-99")
