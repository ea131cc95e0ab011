"""Boot entries, and which version is the newer one."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.plan.slots import Entry, compare, entries, is_newer, last_good, slot_versions
from pairing import process


def test_entries_are_read_from_their_names_the_newest_first() -> None:
    names = ["kr_1.9.0.efi", "kr_1.10.0+2-1.efi", "kr_1.8.0+0-3.efi", "kr_2.0.0+3.efi"]
    others = ["recovery.efi", ".kr_1.0.efi.part", "kr_1.0.efi~", "kr_.efi", "kr_a+b.efi", "x.txt"]
    assert entries([*names, *others]) == (
        Entry(name="kr_2.0.0+3.efi", version="2.0.0", left=3),
        Entry(name="kr_1.10.0+2-1.efi", version="1.10.0", left=2, done=1),
        Entry(name="kr_1.9.0.efi", version="1.9.0"),
        Entry(name="kr_1.8.0+0-3.efi", version="1.8.0", left=0, done=3),
    )


def test_the_last_good_one_is_the_newest_blessed() -> None:
    found = entries(["kr_3+0-2.efi", "kr_2+1.efi", "kr_1.efi", "kr_0.9.efi"])
    assert [entry.exhausted for entry in found] == [True, False, False, False]
    assert last_good(found) == "1"
    assert last_good(found[:2]) == ""


def test_slots_by_their_labels() -> None:
    assert slot_versions(["KR_ESP", "kr_root_1.0.0", "kr_verity_1.0.0", "_empty"]) == ("1.0.0",)


ORDERED = [
    # As `systemd-analyze compare-versions` orders them.
    ("1.0", "1.1"),
    ("1.0~rc1", "1.0"),
    ("1.0~rc1", "1.0~rc2"),
    ("1.0", "1.0-1"),
    ("1.0", "1.0^1"),
    ("1.0^1", "1.0.1"),
    ("1.0-1", "1.0.1"),
    ("1.0-1", "1.0^1"),
    ("1.9", "1.10"),
    ("1.0", "1.0a"),
    ("1.0a", "1.0b"),
    ("1.0a", "1.01"),
    ("1.0.a", "1.0.1"),
    ("1.0", "1.0."),
    ("1.0", "1_0"),
    ("1.0", "1.0+1"),
]


@pytest.mark.parametrize(("older", "newer"), ORDERED)
def test_versions(older: str, newer: str) -> None:
    assert is_newer(newer, older)
    assert compare(older, newer) < 0


@pytest.mark.parametrize("same", [("1.0", "1.0"), ("01", "1"), ("", "")])
def test_equal_versions(same: tuple[str, str]) -> None:
    assert compare(*same) == 0


VERSION = st.text(alphabet="019ab.~-^+_", max_size=8)


@given(VERSION, VERSION, VERSION)
def test_the_order_is_one(a: str, b: str, c: str) -> None:
    assert compare(a, b) == -compare(b, a)
    if compare(a, b) <= 0 and compare(b, c) <= 0:
        assert compare(a, c) <= 0


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
@pytest.mark.parametrize(("older", "newer"), ORDERED)
def test_systemd_agrees(older: str, newer: str) -> None:
    argv = ("systemd-analyze", "compare-versions", older, "lt", newer)
    assert process.run(argv, seconds=20, check=False).status == 0
