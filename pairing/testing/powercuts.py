"""Whether a power cut at any moment of an installation or upgrade leaves a machine that starts.

Good is: nothing was written before the recovery key was stored; a partition table, a loader and a
boot entry of the firmware lead to a complete system only, or to the old one as it was. An upgrade
leaves the old system whole, and has no kernel but for a system that is complete.
"""

from __future__ import annotations

import enum
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pairing.testing.diskview import DiskView, Looker, Range
from pairing.testing.writelog import Cut, Entry, Replay

_NAMED, _FALLBACK = "efi/systemd/systemd-boot", "efi/boot/boot"
_LOADERS = (_NAMED, _FALLBACK)
"""Loaders: what our boot entry names, and what a firmware starts where it has no entry."""
_CHECKED = ("efi/", "loader/")
"""Boot files whose content counts; the records of `kairos/` are written again later."""


NOTHING = hashlib.sha256(b"").hexdigest()
"""An empty file's digest. A FAT's rename is two writes, if they are in different blocks: for a
moment the new name leads to nothing, and nothing starts that."""


class Standing(enum.Enum):
    """How far an installation is, as the next start sees it."""

    OLD = "as it was before"
    NOTHING = "no partition table"
    BUILT = "complete, without a loader"
    STARTS = "starts by itself"
    BOTH = "starts by itself, with a choice"


@dataclass(frozen=True, slots=True)
class Moment:
    """A cut and what the machine had outside of the disk: an entry in the firmware's memory."""

    view: DiskView
    entry: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong at one cut: nothing, if `faults` is empty."""

    cut: Cut
    standing: Standing
    faults: tuple[str, ...]


@dataclass(slots=True)
class Report:
    """All cuts of one recorded installation."""

    verdicts: list[Verdict] = field(default_factory=list)
    early: tuple[str, ...] = ()

    @property
    def faults(self) -> list[str]:
        """One line each; empty: the installation stands any power cut that was tried."""
        of_cuts = [f"{v.cut.first}+{len(v.cut.more)}: {f}" for v in self.verdicts for f in v.faults]
        return [*self.early, *of_cuts]

    @property
    def standings(self) -> Mapping[str, int]:
        """How many cuts ended where."""
        return Counter(verdict.standing.name.lower() for verdict in self.verdicts)


def early(log: Sequence[Entry], acknowledged: int) -> tuple[str, ...]:
    """Writes among the first `acknowledged` requests: those before the key was stored."""
    return tuple(
        f"request {entry.number} changed {entry.length} bytes at {entry.offset}"
        " before the recovery key was stored"
        for entry in log[:acknowledged]
        if entry.length
    )


def judge(moment: Moment, before: DiskView, finished: DiskView) -> tuple[Standing, tuple[str, ...]]:
    """How far it is, and what is wrong with it. `finished`: the disk after a good installation."""
    view = moment.view
    if not view.tables.partitions:
        gone = ("a boot entry leads to a disk without partitions",) if moment.entry else ()
        return Standing.NOTHING, gone
    if view.tables.partitions == before.tables.partitions:
        same = (view.digests, view.boot, view.volumes) == (
            before.digests,
            before.boot,
            before.volumes,
        )
        return Standing.OLD, () if same else ("the old partition table leads to new content",)
    lacking = tuple(_lacking(view, finished))
    boot, wanted = view.boot or {}, finished.boot or {}
    loaders = [n for n in boot if n.startswith(_LOADERS) and boot[n] != NOTHING]
    torn = [name for name in loaders if boot[name] != wanted.get(name)]
    falls_back = any(name.startswith(_FALLBACK) for name in loaders)
    behind = [n for n in wanted if n.startswith(_NAMED) and n not in loaders and falls_back]
    faults = [f"the partition table leads to {what}" for what in lacking]
    faults += [f"{name} is not whole" for name in torn]
    faults += [f"{name} would start {what}" for name in loaders for what in lacking]
    faults += [f"a boot entry leads to {what}" for what in lacking if moment.entry]
    faults += [f"the fallback came before {name}" for name in behind]
    return (Standing.STARTS if loaders else Standing.BUILT), tuple(faults)


def judge_upgrade(
    moment: Moment, before: DiskView, finished: DiskView
) -> tuple[Standing, tuple[str, ...]]:
    """The same while another version is put beside the one that runs, in place of an older one if
    there is one. What is on the disk `before` and when `finished` may not change in between."""
    view, boot, whole = moment.view, moment.view.boot or {}, finished.boot or {}
    stays = [label for label in before.digests if label in finished.digests]
    faults = [f"{label} was changed" for label in stays if not _same(label, view, before)]
    faults += [
        f"{label} does not open as it did"
        for label, volume in before.volumes.items()
        if view.volumes.get(label) != volume
    ]
    started = {n: d for n, d in (before.boot or {}).items() if n.startswith(_CHECKED)}
    faults += [
        f"{name} is not what it was"
        for name, digest in started.items()
        if name in whole and boot.get(name) != digest
    ]
    # A FAT's removal is two writes as well: a name whose clusters are free is no kernel any more,
    # stands behind the version that runs, and goes with the next upgrade.
    older = [n for n, digest in started.items() if n not in whole and boot.get(n) == digest]
    faults += [
        f"{name} would start a changed {label}"
        for name in older
        for label in before.digests
        if label not in finished.digests and not _same(label, view, before)
    ]
    # systemd-boot lists no empty file, and the next upgrade removes it.
    new = [n for n in boot if _is_kernel(n) and n not in started and boot[n] != NOTHING]
    fresh = [label for label in finished.digests if label not in before.digests]
    for name in new:
        if boot[name] != whole.get(name):
            faults.append(f"{name} is not whole")
        wrong = [label for label in fresh if not _same(label, view, finished)]
        faults += [f"{name} would start an incomplete {label}" for label in wrong]
    return (Standing.BOTH if new or older else Standing.STARTS), tuple(faults)


def _same(label: str, view: DiskView, other: DiskView) -> bool:
    return view.digests.get(label) == other.digests[label]


def _is_kernel(name: str) -> bool:
    """systemd-boot(7) lists these; not what begins with a dot."""
    return name.startswith("efi/linux/") and not name.startswith("efi/linux/.") and ".efi" in name


def _lacking(view: DiskView, finished: DiskView) -> Iterator[str]:
    """What a complete system has and this disk has not, except for the loader."""
    for label, digest in finished.digests.items():
        if view.digests.get(label) != digest:
            yield f"an incomplete {label}"
    for label, volume in finished.volumes.items():
        found = view.volumes.get(label)
        if found is None or found.slots < volume.slots:
            yield f"{label} without all its key slots"
        elif not found.opens:
            yield f"{label} which the recovery key does not open"
    if view.boot is None:
        yield "no readable boot files"
        return
    for name, digest in (finished.boot or {}).items():
        counts = name.startswith(_CHECKED) and not name.startswith(_LOADERS)
        if counts and view.boot.get(name) != digest:
            yield f"an incomplete {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """An installation that was recorded. `image`: the disk as it was before; it is changed.

    `acknowledged`: requests made when the operator had stored the key. `entry`: requests made when
    the firmware's memory first named this disk; None: never.
    """

    log: Path
    image: Path
    key: bytes | None
    acknowledged: int
    entry: int | None
    zeroing: bool = True
    requests: int | None = None
    """How many requests belong to the installation; None: all."""
    ignored: Sequence[str] = ()
    """Labels whose content may differ all the time: an unencrypted volume in use."""
    begin: int = 0
    """How many requests were made before what is judged began."""


def examine(
    recording: Recording,
    finished: DiskView,
    cuts: Callable[[Sequence[Entry]], Sequence[Cut]],
    keep: Callable[[Verdict], None] = lambda verdict: None,
    judge: Callable[[Moment, DiskView, DiskView], tuple[Standing, tuple[str, ...]]] = judge,
) -> Report:
    """Replay the recording and judge the disk at each cut.

    `keep` is called while the image is as it was at that cut: copy it to boot it.
    """
    looker = Looker(recording.image, recording.key, recording.ignored)
    with _replay(recording) as replay:
        replay.forward(recording.begin)
        before = looker.look()
        report = Report(early=early(replay.entries, recording.acknowledged))
        stale: list[Range] = []
        for cut in cuts(replay.entries):
            stale += _ranges(replay.entries[replay.done : cut.first])
            replay.forward(cut.first)
            lost = _ranges([replay.entries[number] for number in cut.more])
            undo = replay.with_more(cut.more)
            entry = recording.entry is not None and cut.last >= recording.entry
            moment = Moment(looker.look([*stale, *lost]), entry)
            verdict = Verdict(cut, *judge(moment, before, finished))
            report.verdicts.append(verdict)
            keep(verdict)
            replay.undo(undo)
            stale = lost
    return report


def finished(recording: Recording) -> DiskView:
    """The disk at the end of the recording, whose image is left there: give it another copy."""
    with _replay(recording) as replay:
        replay.forward(len(replay.entries))
    return Looker(recording.image, recording.key, recording.ignored).look()


def _replay(recording: Recording) -> Replay:
    return Replay(
        recording.log,
        recording.image,
        zeroing=recording.zeroing,
        first=recording.requests,
    )


def _ranges(entries: Sequence[Entry]) -> list[Range]:
    return [(entry.offset, entry.offset + entry.length) for entry in entries if entry.length]
