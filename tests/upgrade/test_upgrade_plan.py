"""The plan of an upgrade: what is refused, what is removed first, what is never touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.plan.slots import entries
from node.plan.upgrade import (
    CheckKernel,
    ClearSlot,
    FetchFiles,
    Offer,
    RemoveEntry,
    Slot,
    UpgradeFacts,
    WriteSlot,
    complete_versions,
    definitions,
    plan_upgrade,
    read_sums,
)
from pairing import errors

DATA = Path(__file__).resolve().parents[1] / "data" / "upgrade"
MIB = 2**20
ROOM = "file:///room/"
OFFER = Offer(
    name="shop", base="https://updates.example/shop/", room=ROOM, versions=("1.2.0", "1.1.0")
)


def facts(
    *names: str, running: str = "1.0.0", slots: tuple[str, str] = ("1.0.0", "_empty")
) -> UpgradeFacts:
    labels = ["KR_ESP"]
    for version in slots:
        empty = version == "_empty"
        labels += [version] * 2 if empty else [f"kr_root_{version}", f"kr_verity_{version}"]
    return UpgradeFacts(
        mode="installed",
        version=running,
        disk="/dev/vda",
        entries=entries(names or ("kr_1.0.0.efi",)),
        slots=tuple(
            Slot(device=f"/dev/vda{number}", label=label) for number, label in enumerate(labels, 1)
        ),
        room=200 * MIB,
        kernel=32 * MIB,
        tries=3,
    )


def test_the_first_upgrade_removes_nothing() -> None:
    plan = plan_upgrade(facts(), OFFER)
    assert plan.text == (
        "upgrade to 1.2.0; 1.0.0 stays",
        "1/3 fetch-files: Fetch the kernel of version 1.2.0 from shop",
        "2/3 check-kernel: Check that this machine starts 1.2.0 and its volumes open under it",
        "3/3 write-slot: Write version 1.2.0 beside 1.0.0",
    )


def test_the_next_one_removes_the_old_entry_before_its_slot() -> None:
    there = facts("kr_1.1.0.efi", "kr_1.0.0.efi", running="1.1.0", slots=("1.0.0", "1.1.0"))
    plan = plan_upgrade(there, OFFER)
    assert [step.text for step in plan.steps][2:5] == [
        "Remove the boot entry kr_1.0.0.efi",
        "Mark kr_root_1.0.0 (/dev/vda2) as empty",
        "Mark kr_verity_1.0.0 (/dev/vda3) as empty",
    ]


def test_a_bad_version_makes_room_and_can_be_tried_again() -> None:
    there = facts("kr_1.0.0.efi", "kr_1.2.0+0-3.efi", slots=("1.0.0", "1.2.0"))
    plan = plan_upgrade(there, OFFER)
    assert plan.version == "1.2.0"
    assert RemoveEntry(entry="kr_1.2.0+0-3.efi") in plan.steps


def test_what_an_interrupted_upgrade_left_is_cleared() -> None:
    there = facts("kr_1.0.0.efi", slots=("1.0.0", "1.1.0"))  # labels written, no entry
    cleared = [s.label for s in plan_upgrade(there, OFFER).steps if isinstance(s, ClearSlot)]
    assert cleared == ["kr_root_1.1.0", "kr_verity_1.1.0"]


def test_from_recovery_the_last_good_version_stays() -> None:
    there = replace(
        facts("kr_1.1.0.efi", "kr_1.2.0+0-3.efi", running="1.0.0", slots=("1.1.0", "1.2.0")),
        mode="recovery",
    )
    plan = plan_upgrade(there, OFFER)
    assert (plan.protected, plan.version) == ("1.1.0", "1.2.0")
    none_good = replace(there, entries=entries(["kr_1.1.0+0-3.efi", "kr_1.2.0+0-3.efi"]))
    assert plan_upgrade(none_good, OFFER, "1.1.0").protected == ""


@pytest.mark.parametrize(
    ("there", "wanted", "why"),
    [
        (replace(facts(), mode="live"), "", "not installed"),
        (facts("kr_1.0.0+2-1.efi"), "", "not proved good"),
        (facts("kr_1.1.0.efi", running="1.0.0"), "", "not proved good"),
        (facts("kr_1.2.0.efi", running="1.2.0", slots=("1.2.0", "_empty")), "", "not newer"),
        (facts("kr_1.2.0.efi", running="1.2.0"), "1.1.0", "not newer"),
        (facts(), "1.3.0", "not there"),
        (replace(facts(), room=39 * MIB), "", "has room for 39 MiB, 40 MiB needed"),
    ],
)
def test_refused(there: UpgradeFacts, wanted: str, why: str) -> None:
    with pytest.raises(errors.UpgradeRefused, match=why):
        plan_upgrade(there, OFFER, wanted)


def test_nothing_complete_is_offered() -> None:
    with pytest.raises(errors.UpgradeRefused, match="no complete version"):
        plan_upgrade(facts(), replace(OFFER, versions=()))


VERSIONS = st.sampled_from(["0.9", "1.0.0", "1.1.0", "1.2.0", "1.3.0"])
COUNTERS = st.sampled_from(["", "+3", "+2-1", "+0-3"])


@given(
    st.lists(st.tuples(VERSIONS, COUNTERS), max_size=3, unique_by=lambda one: one[0]),
    VERSIONS,
    st.tuples(VERSIONS, VERSIONS),
    st.sampled_from(["installed", "recovery"]),
    st.lists(VERSIONS, max_size=3, unique=True),
)
def test_the_running_and_the_last_good_version_are_never_touched(
    found: list[tuple[str, str]],
    running: str,
    slots: tuple[str, str],
    mode: str,
    offered: list[str],
) -> None:
    names = [f"kr_{version}{counter}.efi" for version, counter in found]
    there = replace(facts(*names, running=running, slots=slots), mode=mode)
    offer = Offer(name="u", base="file:///u/", room=ROOM, versions=tuple(offered))
    try:
        plan = plan_upgrade(there, offer)
    except errors.UpgradeRefused:
        return
    stays = running if mode == "installed" else plan.protected
    for step in plan.steps:
        assert not (isinstance(step, RemoveEntry) and step.entry == f"kr_{stays}.efi")
        assert not (isinstance(step, ClearSlot) and step.label.endswith(f"_{stays}"))
        assert not (isinstance(step, WriteSlot) and step.version == stays)
    kinds = [type(step) for step in plan.steps]
    assert kinds == sorted(
        kinds, key=[FetchFiles, CheckKernel, RemoveEntry, ClearSlot, WriteSlot].index
    )


# --- what systemd-sysupdate is told -------------------------------------------------------------


@pytest.mark.parametrize("protected", ["1.0.0", ""])
def test_definitions(protected: str) -> None:
    step = WriteSlot(
        version="1.2.0",
        base="file:///mnt/a%20b/",
        kernel=ROOM,
        disk="/dev/vda",
        protected=protected,
        tries=3,
    )
    told = "".join(
        f"# {name}\n{text}\n" for name, text in definitions(step, "/boot/EFI/Linux").items()
    )
    name = "definitions.txt" if protected else "definitions-nothing-good.txt"
    assert told == (DATA / name).read_text()


# --- the list -----------------------------------------------------------------------------------


def test_only_complete_versions_count() -> None:
    names = [f"kr_{v}.{k}" for v in ("1.9", "1.10") for k in ("root", "verity", "efi")]
    assert complete_versions([*names, "kr_2.0.root", "kr_2.0.efi", "other", "kr_../x.efi"]) == (
        "1.10",
        "1.9",
    )


def test_the_list_is_read_strictly() -> None:
    digest = "0" * 64
    assert read_sums(f"{digest}  kr_1.0.root\n{digest} *kr_1.0.efi\n") == {
        "kr_1.0.root": digest,
        "kr_1.0.efi": digest,
    }
    for wrong in ("x", f"{digest}  ../etc/passwd", f"{digest[:-1]}  kr", f"{digest}  a b"):
        with pytest.raises(ValueError, match="not a list"):
            read_sums(wrong)
