"""What keeps a machine's disk from its first write: a recovery key that nobody has stored, an image
that somebody changed, data that the config does not give up. All writes to the disk are recorded.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.image.python import site_of
from node.image.recipe import ImageFile
from node.testing.images import QUICK, Factory
from node.testing.shop import PLAIN, Shop
from pairing import errors, process
from pairing.errors import ExitCode
from pairing.testing import guest_system
from pairing.testing.box import copy_files
from pairing.testing.gpt import tables
from pairing.testing.hardware import Drive
from pairing.testing.lan import Lan
from pairing.testing.measured import TOP
from pairing.testing.operators import Run
from pairing.testing.qemu import Machine
from pairing.testing.recording import recording
from pairing.testing.writelog import Entry, Flag, count, entries
from tests.e2e.conftest import (  # noqa: F401 (fixtures)
    ARTEFACTS,
    INSTALL_SECONDS,
    factory,
    network,
    shared,
)
from tests.soak.conftest import Part

pytestmark = [pytest.mark.root, pytest.mark.timeout(0)]

TOLD_SECONDS, ASKED_SECONDS = 300.0, 120.0
INTO_THE_WINDOW = 15.0
"""Half of the time in which a machine on an open image can still be switched off."""
HELD_SECONDS = 40.0
"""With the key stored, the first write comes a few seconds after it was asked for."""
ASKED = "Handing over the recovery key"
WAITS = """\
            with trio.fail_after(step.seconds):
                receipt = await self._escrow(step, self._key)
"""
GOES_ON = """\
            receipt = ""
            with trio.move_on_after(5):
                receipt = await self._escrow(step, self._key)
"""
SAVED = "mkfs.ext4 -q -F -L accounts /dev/vda; udevadm settle; sync"
PACKAGE = f"/{site_of('3.13')}/node"
UNREAD = random.Random(1).randbytes(1 << 20)
"""A file that no start reads. No compressor makes it smaller: it is in the image as it is."""
CONFIG = PLAIN.replace("device: auto", "device: /dev/vda")


@dataclass(frozen=True, slots=True)
class Told:
    """A registration whose operator was stopped while the key was asked for, and went on later."""

    shop: Shop
    while_held: list[Entry]
    """What changed the disk until the end of the stop."""
    before_stored: list[Entry]
    """The same until the operator had stored the key."""
    status: int
    """The exit status of `kairos-register --wait written`."""


@pytest.fixture(scope="module")
def stick(factory: Factory) -> Path:  # noqa: F811
    unread = factory.folder / "unread"
    unread.write_bytes(UNREAD)
    file = ImageFile(path="/usr/share/kairos-register/unread", source=str(unread))
    return factory.build("1.0.0", into="with-unread", files=(file,)).stick


@pytest.fixture(scope="module")
def hasty_stick(factory: Factory) -> Path:  # noqa: F811
    """Of a build that goes on after five seconds without an acknowledgement."""
    ours = (TOP / "node/execute.py").read_text()
    assert ours.count(WAITS) == 1
    files = (
        ImageFile(path=f"{PACKAGE}/execute.py", content=ours.replace(WAITS, GOES_ON)),
        # Byte code that ends before it begins: Python reads the text then.
        ImageFile(path=f"{PACKAGE}/__pycache__/execute.cpython-313.pyc"),
    )
    return factory.build("1.0.0", into="hasty", files=files).stick


@pytest.fixture(scope="module")
def shell_stick(factory: Factory) -> Path:  # noqa: F811
    words = (*QUICK, guest_system.SHELL_WORD)
    return factory.build("1.0.0", into="shell", kernel_words=words).stick


@pytest.fixture(scope="module")
def told(network: Lan, stick: Path) -> Told:  # noqa: F811
    shop = Shop.new(network, ARTEFACTS / "escrow-told", CONFIG, 80)
    with (
        recording(shop.box, shop.operator.escrow) as watch,
        shop.live(stick) as machine,
        shop.register(shop.photo(machine), "--wait", "written") as run,
    ):
        asked = held_back(run, machine, watch.log)
        status = run.end(TOLD_SECONDS + INSTALL_SECONDS)
    assert watch.acknowledged is not None
    while_held, before_stored = changes(watch.log, asked), changes(watch.log, watch.acknowledged)
    return Told(shop, while_held, before_stored, status)


@pytest.mark.soak(share=0)
def test_nothing_is_written_until_the_operator_has_stored_the_key(told: Told, part: Part) -> None:
    part.kept.update(held=HELD_SECONDS, exit=told.status)
    assert told.while_held == []
    assert told.before_stored == []
    assert told.status == ExitCode.DONE


@pytest.mark.soak(share=0)
def test_a_build_that_does_not_wait_writes_in_this_time(
    network: Lan,  # noqa: F811
    hasty_stick: Path,
    part: Part,
) -> None:
    """The control."""
    shop = Shop.new(network, ARTEFACTS / "escrow-hasty", CONFIG, 81)
    with (
        recording(shop.box, shop.operator.escrow) as watch,
        shop.live(hasty_stick) as machine,
        shop.register(shop.photo(machine), "--wait", "written") as run,
    ):
        asked = held_back(run, machine, watch.log)
        assert watch.acknowledged is None
    while_held = changes(watch.log, asked)
    part.kept["requests"] = len(while_held)
    assert any(entry.writes for entry in while_held)


@pytest.mark.soak(share=0)
def test_an_image_with_one_changed_byte_is_refused_before_the_first_write(
    network: Lan,  # noqa: F811
    stick: Path,
    told: Told,
    part: Part,
) -> None:
    """The control: from the very stick, unchanged, a machine was installed."""
    assert told.status == ExitCode.DONE
    shop = Shop.new(network, ARTEFACTS / "escrow-changed", CONFIG, 82)
    changed = shop.folder / "changed.raw"
    part.kept["at"] = change(stick, changed)
    with (
        recording(shop.box, shop.operator.escrow) as watch,
        shop.live(changed) as machine,
        shop.register(shop.photo(machine), "--wait", "written") as run,
    ):
        assert run.end(TOLD_SECONDS) == ExitCode.NODE_FAILED, run.end_of()
    assert run.verdict["error"]["slug"] == errors.ImageTampered.slug
    assert changes(watch.log) == []


def old_files(told: Told, disk: Path) -> None:
    """A file system of somebody's on the whole disk."""
    process.run(["mkfs.ext4", "-q", "-F", "-L", "accounts", str(disk)], seconds=TOLD_SECONDS)


def old_installation(told: Told, disk: Path) -> None:
    """Another machine's disk."""
    assert told.status == ExitCode.DONE
    disk.unlink()
    copy_files((told.shop.box.disk(),), disk.parent)


@pytest.mark.soak(share=0)
@pytest.mark.parametrize(("fill", "cable"), [(old_files, 83), (old_installation, 84)])
def test_without_wipe_a_disk_that_holds_data_stays_as_it_is(
    network: Lan,  # noqa: F811
    stick: Path,
    told: Told,
    fill: Callable[[Told, Path], None],
    cable: int,
    part: Part,
) -> None:
    """Not even if the operator approves of everything."""
    shop = Shop.new(network, ARTEFACTS / f"escrow-{fill.__name__}", CONFIG, cable)
    fill(told, shop.box.disk())
    before = digest(shop.box.disk())
    medium = Drive(image=stick, serial="STICK", read_only=True, order=0)
    with recording(shop.box, shop.operator.escrow) as watch, shop.running(medium) as machine:
        shop.wait_code(machine)
        with shop.register(shop.photo(machine), "--approve", "yes", "--wait", "written") as run:
            status = run.end(TOLD_SECONDS)
    part.kept.update(exit=status, error=run.verdict["error"]["slug"])
    assert status == ExitCode.CONFIG, run.end_of()
    assert "install.wipe: true" in run.end_of()
    assert changes(watch.log) == []
    assert digest(shop.box.disk()) == before


@pytest.mark.soak(share=0)
def test_data_that_came_after_the_plan_stays_as_it_is(
    network: Lan,  # noqa: F811
    shell_stick: Path,
    part: Part,
) -> None:
    """The operator has approved of an empty disk; the machine itself looks again."""
    shop = Shop.new(network, ARTEFACTS / "escrow-late", CONFIG, 86)
    with (
        recording(shop.box, shop.operator.escrow) as watch,
        shop.live(shell_stick) as machine,
        shop.register(shop.photo(machine), "--wait", "written") as run,
    ):
        run.until("planned", TOLD_SECONDS)
        machine.serial[guest_system.SHELL_LINE].ask(SAVED, ASKED_SECONDS)
        before = count(watch.log)
        status = run.end(TOLD_SECONDS)
    part.kept.update(exit=status, error=run.verdict["error"])
    assert status == ExitCode.NODE_FAILED, run.end_of()
    assert 'The disk now holds ext4 "accounts".' in run.verdict["error"]["text"]
    assert changes(watch.log)
    assert changes(watch.log) == changes(watch.log, before)


# --- what the tests use -----------------------------------------------------------------------


def held_back(run: Run, machine: Machine, log: Path) -> int:
    """Stop the operator before its machine asks for the key to be stored, for a while.

    How many requests to the disk there were by its end.
    """
    run.until("planned", TOLD_SECONDS)
    time.sleep(INTO_THE_WINDOW)
    with run.held():
        machine.serial[0].wait_for(ASKED, ASKED_SECONDS)
        time.sleep(HELD_SECONDS)
        return count(log)


def changes(log: Path, first: int | None = None) -> list[Entry]:
    """Of the first requests to a disk, or of all: those that write or discard. The machine is off.

    QEMU gives a log its head with the first request.
    """
    asked = count(log) if first is None else first
    return [
        entry
        for entry in (entries(log, asked) if asked else ())
        if entry.writes or entry.flags & Flag.DISCARD
    ]


def change(stick: Path, target: Path) -> int:
    """A copy of the stick with one byte of `UNREAD` changed; where, in bytes of its partition."""
    shutil.copyfile(stick, target)
    with target.open("r+b") as file:

        def read(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        found = tables(read, target.stat().st_size).partitions
        (root,) = [part for part in found if part.label == "kr_live"]
        begins = read(root.offset, root.size).index(UNREAD[:4096])
        at = begins + len(UNREAD) // 2
        old = read(root.offset + at, 1)
        file.seek(root.offset + at)
        file.write(bytes([old[0] ^ 1]))
    return at


def digest(disk: Path) -> str:
    with disk.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
