"""The audit log: signed, chained, and whole over many writers; every change is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from cli import audit
from cli.audit import NAME, Audit
from cli.fleet import fleet
from node import journal
from pairing import errors, keys

OPERATOR, COLLEAGUE = keys.generate(), keys.generate()
NODE = keys.fingerprint(keys.generate().public)


def three_lines(folder: Path) -> Path:
    Audit(folder, OPERATOR).note("rescue-opened", NODE, record="a.cast")
    Audit(folder, COLLEAGUE).note("rescue-ended", NODE, how="ended")
    Audit(folder, OPERATOR).note("recover", "another")
    return folder / NAME


def test_what_is_noted_is_read(tmp_path: Path) -> None:
    path = three_lines(tmp_path)
    first, second, third = audit.read(tmp_path)
    assert (first.number, first.action, first.node) == (1, "rescue-opened", NODE)
    assert dict(first.about) == {"record": "a.cast"}
    assert [first.operator, second.operator] == [OPERATOR.public, COLLEAGUE.public]
    assert third.action == "recover"
    assert path.stat().st_mode & 0o777 == 0o600
    assert audit.read(tmp_path / "empty") == ()


Change = Callable[[list[dict[str, object]]], object]


def rewritten(path: Path, change: Change) -> None:
    """By somebody who knows the format: with the right checksums."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        del line["sum"]
    change(lines)
    path.unlink()
    with journal.Journal(path) as log:
        for line in lines:
            log.append(line)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[0].update(action="nothing"),
        lambda lines: lines[1].update(operator=lines[0]["operator"]),
        lambda lines: lines[1].update(at="2020-01-01T00:00:00.000Z"),
        lambda lines: lines.pop(0),
        lambda lines: lines.pop(1),
        lambda lines: lines.reverse(),
        lambda lines: lines.insert(1, lines[0]),
        lambda lines: lines[2].update(signature=lines[0]["signature"]),
        lambda lines: lines[0].pop("about"),
        lambda lines: lines[0].update(operator=7),
    ],
)
def test_a_change_is_noticed_and_nothing_is_added_to_it(change: Change, tmp_path: Path) -> None:
    path = three_lines(tmp_path)
    rewritten(path, change)
    with pytest.raises(errors.AuditBroken):
        audit.read(tmp_path)
    with pytest.raises(errors.AuditBroken):
        Audit(tmp_path, OPERATOR).note("more", NODE)


def test_rewriting_without_a_change_is_none(tmp_path: Path) -> None:
    """The control."""
    path = three_lines(tmp_path)
    rewritten(path, lambda lines: None)
    assert len(audit.read(tmp_path)) == 3


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = three_lines(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"recover", b"recoVer"))
    with pytest.raises(errors.AuditBroken):
        audit.read(tmp_path)


def test_a_line_cut_off_while_it_was_written_is_no_damage(tmp_path: Path) -> None:
    path = three_lines(tmp_path)
    with path.open("ab") as file:
        file.write(b'{"schema":1,"numb')
    Audit(tmp_path, OPERATOR).note("more", NODE)
    assert [entry.number for entry in audit.read(tmp_path)] == [1, 2, 3, 4]


async def test_many_writers_at_once(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(20):
            note = partial(Audit(tmp_path, OPERATOR).note, f"action-{number}", NODE)
            nursery.start_soon(partial(trio.to_thread.run_sync, note))
    entries = audit.read(tmp_path)
    assert {entry.action for entry in entries} == {f"action-{number}" for number in range(20)}


def test_the_command_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    three_lines(tmp_path / "kairos-register")
    shown = CliRunner().invoke(fleet, ["audit", "--node", NODE]).output.splitlines()
    assert len(shown) == 2
    assert f"rescue-opened    {NODE} by {keys.fingerprint(OPERATOR.public)}" in shown[0]
    lines = CliRunner().invoke(fleet, ["audit", "--output", "jsonl"]).output.splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 2, 3]
