"""The judge of power cuts during an upgrade: what is whole passes, each bad order is seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pairing.testing.cutsamples import Samples
from pairing.testing.diskview import DiskView, Volume
from pairing.testing.gpt import Tables
from pairing.testing.powercuts import NOTHING, Moment, Standing, Verdict, judge_upgrade
from pairing.testing.writelog import Cut, Entry, Flag, cuts

OLD = DiskView(
    Tables((), ()),
    digests={"kr_root_1": "old root", "kr_verity_1": "old hashes", "kr_recovery": "recovery"},
    boot={
        "efi/boot/bootx64.efi": "loader",
        "efi/linux/kr_1.efi": "old kernel",
        "efi/linux/recovery.efi": "recovery kernel",
        "kairos/report.json": "record",
    },
    volumes={"KR_OEM": Volume(2, opens=True)},
)
SLOT = {"kr_root_2": "new root", "kr_verity_2": "new hashes"}
NEW_KERNEL = {"efi/linux/kr_2+3.efi": "new kernel"}


def changed(digests: dict[str, str] | None = None, boot: dict[str, str] | None = None) -> DiskView:
    """The old disk with these contents more, or changed."""
    return dataclasses.replace(
        OLD, digests={**OLD.digests, **(digests or {})}, boot={**(OLD.boot or {}), **(boot or {})}
    )


FINISHED = changed(SLOT, NEW_KERNEL)


def judged(view: DiskView) -> tuple[Standing, str]:
    standing, faults = judge_upgrade(Moment(view, entry=True), OLD, FINISHED)
    return standing, "\n".join(faults)


@pytest.mark.parametrize(
    ("view", "standing"),
    [
        (OLD, Standing.STARTS),
        (changed({"kr_root_2": "half"}), Standing.STARTS),
        (changed(SLOT), Standing.STARTS),
        (changed(SLOT, {"efi/linux/.#kr_2+3.efi1234": "half"}), Standing.STARTS),
        (changed(SLOT, {"kairos/report.json": "written again"}), Standing.STARTS),
        (changed(SLOT, {"efi/linux/kr_2+3.efi": NOTHING}), Standing.STARTS),
        (FINISHED, Standing.BOTH),
    ],
)
def test_the_old_system_alone_or_both_whole(view: DiskView, standing: Standing) -> None:
    assert judged(view) == (standing, "")


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (changed(None, NEW_KERNEL), "would start an incomplete kr_root_2"),
        (changed({"kr_root_2": "new root"}, NEW_KERNEL), "would start an incomplete kr_verity_2"),
        (changed(SLOT, {"efi/linux/kr_2+3.efi": "half"}), "efi/linux/kr_2+3.efi is not whole"),
        (changed({"kr_root_1": "overwritten"}), "kr_root_1 was changed"),
        (changed(None, {"efi/linux/kr_1.efi": "half"}), "efi/linux/kr_1.efi is not what it was"),
        (changed(None, {"efi/boot/bootx64.efi": "half"}), "bootx64.efi is not what it was"),
        (dataclasses.replace(OLD, boot=None), "efi/linux/kr_1.efi is not what it was"),
        (
            dataclasses.replace(OLD, volumes={"KR_OEM": Volume(1, opens=True)}),
            "KR_OEM does not open as it did",
        ),
    ],
)
def test_each_bad_moment_is_seen(view: DiskView, said: str) -> None:
    assert said in judged(view)[1]


RUNNING = changed(SLOT, {"efi/linux/kr_2.efi": "new kernel"})
"""Version 2 was good; 1 is beside it, and 3 comes in its place."""
THIRD = {"kr_root_3": "third root", "kr_verity_3": "third hashes"}
THIRD_KERNEL = {"efi/linux/kr_3+3.efi": "third kernel"}


def without(view: DiskView, *names: str) -> DiskView:
    """The same without these labels and boot files."""
    digests = {label: digest for label, digest in view.digests.items() if label not in names}
    boot = {name: digest for name, digest in (view.boot or {}).items() if name not in names}
    return dataclasses.replace(view, digests=digests, boot=boot)


def with_third(view: DiskView, slot: dict[str, str], kernel: dict[str, str]) -> DiskView:
    """The same with these labels and boot files more."""
    digests, boot = {**view.digests, **slot}, {**(view.boot or {}), **kernel}
    return dataclasses.replace(view, digests=digests, boot=boot)


FIRST = ("efi/linux/kr_1.efi", "kr_root_1", "kr_verity_1")
REPLACED = with_third(without(RUNNING, *FIRST), THIRD, THIRD_KERNEL)


@pytest.mark.parametrize(
    ("view", "standing"),
    [
        (RUNNING, Standing.BOTH),
        (without(RUNNING, FIRST[0]), Standing.STARTS),
        (with_third(RUNNING, {}, {FIRST[0]: "half"}), Standing.STARTS),
        (without(RUNNING, *FIRST), Standing.STARTS),
        (with_third(without(RUNNING, *FIRST), THIRD, {}), Standing.STARTS),
        (REPLACED, Standing.BOTH),
    ],
)
def test_an_older_version_leaves_its_kernel_first(view: DiskView, standing: Standing) -> None:
    assert judge_upgrade(Moment(view, entry=True), RUNNING, REPLACED) == (standing, ())


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (without(RUNNING, "kr_root_1"), "efi/linux/kr_1.efi would start a changed kr_root_1"),
        (with_third(RUNNING, {"kr_root_1": "half"}, {}), "would start a changed kr_root_1"),
        (without(RUNNING, "efi/linux/kr_2.efi"), "kr_2.efi is not what it was"),
        (without(REPLACED, "kr_root_2"), "kr_root_2 was changed"),
        (with_third(without(RUNNING, *FIRST), {}, THIRD_KERNEL), "an incomplete kr_root_3"),
    ],
)
def test_each_bad_moment_of_replacing_one_is_seen(view: DiskView, said: str) -> None:
    assert said in "\n".join(judge_upgrade(Moment(view, entry=True), RUNNING, REPLACED)[1])


def test_cuts_begin_where_the_upgrade_does() -> None:
    log = [Entry(n, Flag.FLUSH if n % 5 == 4 else Flag(0), n * 512, 512, 0) for n in range(40)]
    found = cuts(log, any_time=30, lossy=30, begin=20)
    assert min(cut.first for cut in found) == 20
    assert {20, 25, 30, 35, 40} <= {cut.first for cut in found if not cut.more}
    assert all(number >= 20 for cut in found for number in cut.more)
    assert Cut(0) in cuts(log, any_time=0, lossy=0)


def test_disks_of_each_standing_are_kept_and_given_in_turns(tmp_path: Path) -> None:
    image = tmp_path / "image"
    samples = Samples(image, tmp_path / "kept", every=3, most=2)
    for number in range(20):
        image.write_bytes(bytes([number]) * 9)
        standing = Standing.NOTHING if number < 15 else Standing.STARTS
        samples.keep(Verdict(Cut(number), standing, ()))
    seen = [(verdict.cut.first, disk.read_bytes()[0]) for verdict, disk in samples.taken()]
    assert seen == [(0, 0), (15, 15), (3, 3), (18, 18)]
    assert list((tmp_path / "kept").iterdir()) == []
