"""Power cuts at length: an installation on a blank disk, one over an old system, an upgrade.

Each is recorded from a real machine; at every flush, at 200 random moments and with 60 lost caches
its disk is judged, and a sample of these disks is started.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from node.testing.images import Factory
from node.testing.shop import DISK, NODE, PLAIN, Shop
from pairing import process
from pairing.testing import firmware, powercuts, writelog
from pairing.testing.box import Box
from pairing.testing.cutsamples import Samples
from pairing.testing.diskview import DiskView
from pairing.testing.hardware import Drive
from pairing.testing.lan import HOST, Lan, lan
from pairing.testing.measured import TOP
from pairing.testing.operators import Operator
from pairing.testing.powercuts import Recording, Report, Standing
from pairing.testing.recording import Watch, recording

Part = Any
pytestmark = [pytest.mark.root]

FOLDER = TOP / "build/soak/power-cuts"
ANYWHERE, LOSSY = 200, 60
STARTED = 4
"""Disks that are started of each recording at least: twelve of all three."""
WRITTEN_SECONDS, INSTALLED_SECONDS, UPGRADE_SECONDS = 900.0, 1500.0, 600.0
STARTS_BY_ITSELF = (Standing.STARTS, Standing.BOTH, Standing.OLD)
CONFIG = f"{PLAIN}  wipe: WIPE\n"


@dataclass(frozen=True, slots=True)
class Told:
    """A recording, what the disk was before it, and the machine as it was afterwards."""

    shop: Shop
    recording: Recording
    before: Path | None
    """None: blank."""
    end: DiskView
    after: Box
    """For its firmware's memory and its TPM."""

    def image(self, name: str) -> Path:
        """The disk as it was before, in a new file."""
        return _disk_of(self.before, self.shop.folder / name)


@pytest.fixture(scope="module")
def network() -> Iterator[Lan]:
    shutil.rmtree(FOLDER, ignore_errors=True)
    with lan(FOLDER / "lan") as up:
        yield up


@pytest.fixture(scope="module")
def factory() -> Factory:
    return Factory(FOLDER / "images", FOLDER / "keys")


@dataclass(frozen=True, slots=True)
class Life:
    """A machine from the stick to its first upgrade, all in one recording."""

    shop: Shop
    watch: Watch
    upgrade: tuple[int, int]


@pytest.fixture(scope="module")
def life(network: Lan, factory: Factory) -> Life:
    shop = Shop.new(network, FOLDER / "life", CONFIG.replace("WIPE", "false"), 20)
    stick, update = factory.build("1.0.0").stick, factory.build("1.1.0").root.parent
    web = ("8000", "--bind", HOST, "--directory", str(update))
    with recording(shop.box, shop.operator.escrow) as watch, shop.live(stick) as machine:
        with shop.register(shop.photo(machine), "--wait", "installed") as run:
            run.until("written", WRITTEN_SECONDS)
            watch.finish()
            assert run.end(INSTALLED_SECONDS) == 0, run.end_of()
        shop.on("sync")
        before = writelog.count(watch.log)
        with network.place.program("http.server", *web):
            shop.on(f"sudo -n {NODE} upgrade http://{HOST}:8000/", UPGRADE_SECONDS)
        shop.on("sync")
        return Life(shop, watch, (before, writelog.count(watch.log)))


@pytest.fixture(scope="module")
def blank(life: Life) -> Told:
    watch = life.watch
    assert watch.acknowledged is not None
    assert watch.entry is not None
    made = Recording(
        log=watch.log,
        image=_disk_of(None, life.shop.folder / "end.raw"),
        key=recovery_key(life.shop),
        acknowledged=watch.acknowledged,
        entry=watch.entry,
        requests=watch.finished,
    )
    return Told(life.shop, made, None, powercuts.finished(made), life.shop.box)


@pytest.fixture(scope="module")
def upgrade(life: Life, blank: Told) -> Told:
    begin, requests = life.upgrade
    made = replace(
        blank.recording,
        image=_disk_of(None, life.shop.folder / "upgraded.raw"),
        acknowledged=0,
        entry=None,
        begin=begin,
        requests=requests,
    )
    return replace(blank, recording=made, end=powercuts.finished(made))


@pytest.fixture(scope="module")
def over_old(life: Life, blank: Told, factory: Factory) -> Told:
    """The disk of a complete installation, taken into another machine: with `wipe`.

    Its firmware knows nothing of it, and a discard leaves everything as it was.
    """
    folder = FOLDER / "over-old"
    box = life.shop.box.copy(folder / "box")
    _disk_of(blank.recording.image, folder / "old.raw")
    _disk_of(folder / "old.raw", box.disk())
    firmware.variables(box.variables)
    box.zeroing = False
    for name in ("id", "id.pub"):
        shutil.copy2(life.shop.folder / name, folder / name)
    config = life.shop.config.read_text().replace("wipe: false", "wipe: true")
    (folder / "config.yaml").write_text(config)
    operator = Operator(life.shop.network.place, folder / "operator")
    shop = replace(life.shop, box=box, folder=folder, operator=operator)
    stick = Drive(image=factory.build("1.0.0").stick, serial="STICK", read_only=True, order=0)
    with recording(box, operator.escrow) as watch, shop.running(stick) as machine:
        shop.wait_code(machine)
        with shop.register(shop.photo(machine), "--approve", "yes", "--wait", "written") as run:
            run.until("written", WRITTEN_SECONDS)
            watch.finish()
    assert watch.acknowledged is not None
    assert watch.entry is not None
    made = Recording(
        log=watch.log,
        image=_disk_of(folder / "old.raw", folder / "end.raw"),
        key=recovery_key(shop),
        acknowledged=watch.acknowledged,
        entry=watch.entry,
        zeroing=False,
        requests=watch.finished,
    )
    return Told(shop, made, folder / "old.raw", powercuts.finished(made), box)


@pytest.mark.soak(share=0.2)
def test_power_cuts_on_a_blank_disk(part: Part, blank: Told, factory: Factory) -> None:
    report, samples = judged(part, blank, powercuts.judge)
    assert report.faults == []
    assert set(report.standings) == {"nothing", "built", "starts"}
    start(part, blank, samples, factory)


@pytest.mark.soak(share=0)
@pytest.mark.parametrize("kind", ["entry first", "key not stored"])
def test_power_cuts_of_a_bad_order_are_seen(part: Part, blank: Told, kind: str) -> None:
    """The control, on the same recording: the boot entry made with the first write, or every write
    made before the recovery key was stored."""
    made = replace(blank.recording, image=blank.image("control.raw"))
    log = writelog.entries(made.log, made.requests)
    again = {
        "entry first": replace(made, entry=made.acknowledged + 1),
        "key not stored": replace(made, acknowledged=len(log)),
    }[kind]
    report = powercuts.examine(again, blank.end, lambda _: writelog.cuts(log, 0, 0))
    part.kept.update(cuts=len(report.verdicts), faults=len(report.faults))
    said = {
        "entry first": "a boot entry leads to a disk without partitions",
        "key not stored": "before the recovery key was stored",
    }
    assert said[kind] in "\n".join(report.faults)


@pytest.mark.soak(share=0.2)
def test_power_cuts_over_an_old_installation(part: Part, over_old: Told, factory: Factory) -> None:
    report, samples = judged(part, over_old, powercuts.judge)
    assert report.faults == []
    assert set(report.standings) == {"old", "nothing", "built", "starts"}
    start(part, over_old, samples, factory)


@pytest.mark.soak(share=0.2)
def test_power_cuts_of_an_upgrade(part: Part, upgrade: Told, factory: Factory) -> None:
    report, samples = judged(part, upgrade, powercuts.judge_upgrade)
    assert report.faults == []
    assert set(report.standings) == {"starts", "both"}
    start(part, upgrade, samples, factory)


# --- what the parts use -----------------------------------------------------------------------


def judged(part: Part, told: Told, judge: Callable[..., Any]) -> tuple[Report, Samples]:
    """Every flush, and as many moments more as were asked for."""
    again = replace(told.recording, image=told.image("cuts.raw"))
    samples = Samples(again.image, told.shop.folder / "samples", every=10, most=2)
    log = writelog.entries(again.log, again.requests)
    found = writelog.cuts(log, ANYWHERE, LOSSY, begin=again.begin, closely=again.entry)
    report = powercuts.examine(again, told.end, lambda _: found, samples.keep, judge)
    flushes = [number for number in writelog.flushes(log) if number >= again.begin]
    part.kept.update(
        requests=len(log) - again.begin,
        discards=sum(bool(entry.flags & writelog.Flag.DISCARD) for entry in log[again.begin :]),
        flushes=len(flushes),
        asked={"anywhere": ANYWHERE, "lost caches": LOSSY},
        cuts=len(found),
        standings=dict(report.standings),
        faults=report.faults[:20],
    )
    return report, samples


def start(part: Part, told: Told, samples: Samples, factory: Factory) -> None:
    """What is complete starts by itself; with anything else the stick, or recovery, has a code."""
    started = part.kept.setdefault("started", [])
    for verdict, disk in samples.taken():
        if len(started) >= STARTED and part.over:
            break
        recorded = told.recording
        entry = recorded.begin or (
            recorded.entry is not None and verdict.cut.last >= recorded.entry
        )
        box = told.after.copy(told.shop.folder / "started")
        disk.replace(box.disk())
        if not entry:
            firmware.variables(box.variables)
        _start(replace(told.shop, box=box), verdict.standing, factory.build("1.0.0").stick)
        started.append(f"{verdict.cut.first}+{len(verdict.cut.more)} {verdict.standing.value}")
    assert len(started) >= STARTED


def _start(shop: Shop, standing: Standing, stick: Path) -> None:
    with contextlib.ExitStack() as stack:
        if standing in STARTS_BY_ITSELF:
            stack.enter_context(shop.running())
            shop.wait_ssh(INSTALLED_SECONDS)
            assert shop.on("hostname") == "till-7"
        else:
            stack.enter_context(shop.live(stick))


def _disk_of(source: Path | None, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if source is not None:
        copying = ["cp", "--sparse=always", "--reflink=auto", str(source), str(target)]
        process.run(copying, seconds=300)
        return target
    with target.open("wb") as file:
        file.truncate(DISK)
    return target


def recovery_key(shop: Shop) -> bytes:
    """The escrowed key, as an operator takes it out."""
    target = shop.folder / "key"
    target.unlink(missing_ok=True)
    words = ("recover", shop.box.hardware.serial, "--to", str(target))
    with shop.operator.fleet(*words, log="recover.log") as run:
        assert run.end(60) == 0, run.end_of()
    return target.read_bytes().strip()
