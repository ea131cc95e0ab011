"""The journal: nothing that was stored is lost, nothing that was changed is believed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.journal import Journal, parse
from pairing import errors

VALUES = st.one_of(st.integers(-(2**53), 2**53), st.booleans(), st.none(), st.text(max_size=20))
RECORDS = st.lists(
    st.dictionaries(st.text(max_size=8).filter(lambda key: key != "sum"), VALUES, max_size=4),
    min_size=1,
    max_size=6,
)


def written(path: Path, records: list[dict[str, Any]]) -> bytes:
    with Journal(path) as journal:
        for record in records:
            journal.append(record)
    return path.read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal")


def fresh(folder: Path) -> Path:
    return folder / os.urandom(8).hex()


@given(records=RECORDS)
def test_what_is_appended_is_read_back(folder: Path, records: list[dict[str, Any]]) -> None:
    path = fresh(folder)
    written(path, records)
    with Journal(path) as again:
        assert again.records == records


def test_cut_at_any_byte_it_holds_the_whole_lines_and_goes_on(tmp_path: Path) -> None:
    records = [{"step": f"s{number}", "text": "é" * number} for number in range(6)]
    data = written(tmp_path / "whole", records)
    cut = tmp_path / "cut"
    for size in range(len(data) + 1):
        cut.write_bytes(data[:size])
        whole = data[:size].count(b"\n")
        with Journal(cut) as journal:
            assert journal.records == records[:whole]
            journal.append({"after": size})
        with Journal(cut) as journal:
            assert journal.records == [*records[:whole], {"after": size}]


@given(records=RECORDS, data=st.data())
def test_a_changed_byte_is_noticed_or_cuts_the_tail(
    folder: Path, records: list[dict[str, Any]], data: st.DataObject
) -> None:
    stored = bytearray(written(fresh(folder), records))
    place = data.draw(st.integers(0, len(stored) - 1))
    stored[place] ^= data.draw(st.integers(1, 255))
    try:
        found, _, _ = parse(bytes(stored))
    except errors.JournalDamaged:
        return
    # Not noticed: a space between two words may have become a tab, or what was the last line feed
    # has gone, and the last line with it.
    if place == len(stored) - 1:
        assert found == records[:-1]
    else:
        assert found == records


@pytest.mark.parametrize("harm", ["drop", "swap", "double"])
def test_whole_lines_cannot_be_moved(tmp_path: Path, harm: str) -> None:
    lines = written(tmp_path / "j", [{"n": n} for n in range(4)]).splitlines(keepends=True)
    changed = {
        "drop": [lines[0], *lines[2:]],
        "swap": [lines[0], lines[2], lines[1], lines[3]],
        "double": [lines[0], lines[0], *lines[1:]],
    }[harm]
    with pytest.raises(errors.JournalDamaged, match=r"line 2|line 3"):
        parse(b"".join(changed))


@given(noise=st.binary(max_size=200))
def test_noise_never_ends_in_a_traceback(noise: bytes) -> None:
    with pytest.raises(errors.JournalDamaged, match="ine 1"):
        parse(noise + b"\n")


def test_it_is_private_and_a_missing_folder_is_named(tmp_path: Path) -> None:
    written(tmp_path / "j", [{"n": 1}])
    assert (tmp_path / "j").stat().st_mode & 0o777 == 0o600
    with pytest.raises(errors.JournalUnwritable, match="absent/j"):
        Journal(tmp_path / "absent" / "j")


def test_a_full_disk_is_named_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.append({"n": 1})
        real = os.pwrite

        def half(file: int, data: bytes, offset: int) -> int:
            if len(data) < 20:
                raise OSError(28, "No space left on device")
            return real(file, data[: len(data) // 2], offset)

        monkeypatch.setattr(os, "pwrite", half)
        with pytest.raises(errors.JournalUnwritable, match="No space left"):
            journal.append({"n": 2, "long": "x" * 100})
        monkeypatch.undo()
        journal.append({"n": 3})
    with Journal(path) as again:
        assert again.records == [{"n": 1}, {"n": 3}]


def test_a_line_that_was_not_flushed_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.append({"n": 1})

        def fail(file: int) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(errors.JournalUnwritable, match="Input/output"):
            journal.append({"n": 2, "long": "x" * 100})
        monkeypatch.undo()
        assert path.read_bytes().count(b"\n") == 1
        journal.append({"n": 3})
    with Journal(path) as again:
        assert again.records == [{"n": 1}, {"n": 3}]
