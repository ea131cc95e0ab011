"""Power cuts at length: an installation on a blank disk, one over an old system, two upgrades.

Each is recorded from a real machine; at every flush, at 200 random moments and with 60 lost caches
its disk is judged, and a sample of these disks is started.
"""

from __future__ import annotations

import contextlib
import shutil
import time
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
"""Disks that are started of each part at least: sixteen of all four."""
WRITTEN_SECONDS, INSTALLED_SECONDS, UPGRADE_SECONDS = 900.0, 1500.0, 600.0
LOOK_SECONDS = 2.0
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
    """A machine from the stick to its second upgrade, all in one recording.

    Requests before and after each upgrade: to the empty slot, and in place of the first version.
    """

    shop: Shop
    watch: Watch
    upgrades: tuple[tuple[int, int], tuple[int, int]]


@pytest.fixture(scope="module")
def life(network: Lan, factory: Factory) -> Life:
    shop = Shop.new(network, FOLDER / "life", CONFIG.replace("WIPE", "false"), 20)
    stick = factory.build("1.0.0").stick
    with recording(shop.box, shop.operator.escrow) as watch, shop.live(stick) as machine:
        with shop.register(shop.photo(machine), "--wait", "installed") as run:
            run.until("written", WRITTEN_SECONDS)
            watch.finish()
            assert run.end(INSTALLED_SECONDS) == 0, run.end_of()
        first = _upgraded(shop, watch, factory.build("1.1.0").root.parent)
        shop.restart(INSTALLED_SECONDS)
        _until_good(shop, "1.1.0")
        second = _upgraded(shop, watch, factory.build("1.2.0").root.parent)
        return Life(shop, watch, (first, second))


def _upgraded(shop: Shop, watch: Watch, update: Path) -> tuple[int, int]:
    """How many requests there were before and after it."""
    web = ("8000", "--bind", HOST, "--directory", str(update))
    shop.on("sync")
    before = writelog.count(watch.log)
    with shop.network.place.program("http.server", *web):
        shop.on(f"sudo -n {NODE} upgrade http://{HOST}:8000/", UPGRADE_SECONDS)
    shop.on("sync")
    return before, writelog.count(watch.log)


def _until_good(shop: Shop, version: str) -> None:
    deadline = time.monotonic() + INSTALLED_SECONDS
    while f"{version}: good, running" not in (shop.tried(f"sudo -n {NODE} state") or ""):
        assert time.monotonic() < deadline, f"{version} is not good"
        time.sleep(LOOK_SECONDS)


@pytest.fixture(scope="module")
def blank(life: Life) -> Told:
    watch = life.watch
    assert watch.acknowledged is not None
    assert watch.entry is not None
    made = Recording(
        log=watch.log,
        image=_disk_of(None, life.shop.folder / "end.raw"),
        key=life.shop.recovery_key(),
        acknowledged=watch.acknowledged,
        entry=watch.entry,
        requests=watch.finished,
    )
    return Told(life.shop, made, None, powercuts.finished(made), life.shop.box)


@pytest.fixture(scope="module", params=[0, 1], ids=["to an empty slot", "over an old version"])
def upgrade(life: Life, blank: Told, request: pytest.FixtureRequest) -> Told:
    begin, requests = life.upgrades[request.param]
    made = replace(
        blank.recording,
        image=_disk_of(None, life.shop.folder / "upgraded.raw"),
        acknowledged=0,
        entry=None,
        begin=begin,
        requests=requests,
    )
    end = powercuts.finished(made)
    roots = {label for label in end.digests if label.startswith("kr_root_")}
    versions = (("1.0.0", "1.1.0"), ("1.1.0", "1.2.0"))[request.param]
    assert roots == {f"kr_root_{version}" for version in versions}
    return replace(blank, recording=made, end=end)


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
        key=shop.recovery_key(),
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


@pytest.mark.soak(share=0.1)
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
