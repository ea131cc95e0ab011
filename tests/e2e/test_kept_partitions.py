"""The image's own systemd-repart, on a file: what it leaves alone when a machine keeps its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from node.image import trees
from node.plan.install import layout
from node.plan.repart import Sources, command, definitions
from node.steps import WriteDisk
from node.testing.images import RECIPE
from pairing.facts import Image
from pairing.testing.gpt import Partition, tables

DISK = 6 << 30
SECONDS = 120.0
WORK = Path("/mnt/work")
"""Where the room has the test's folder."""
SOURCES = Sources(
    root=WORK / "root",
    hashes=WORK / "hashes",
    boot=WORK / "boot",
    kept=WORK / "kept",
    volumes=WORK / "volumes",
)
IMAGE = Image(version="1.0.0", root=150 << 20, verity=2 << 20, kernel=40 << 20)
VOLUMES = ("KR_OEM", "KR_PERSISTENT")

pytestmark = pytest.mark.timeout(300)


def write(folder: Path, *, again: bool, keep: bool) -> None:
    """One run on `folder/disk`. Volumes are not formatted: no mkfs.ext4 is in the room."""
    parts = [
        replace(part, filesystem="") if part.label in VOLUMES else part
        for part in layout(IMAGE, encrypted=False, again=again, keep=keep)
    ]
    disk = str(WORK / "disk")
    step = WriteDisk(disk=disk, partitions=parts, copied=0, again=again)
    told = folder / "definitions"
    told.mkdir(exist_ok=True)
    for name, text in definitions(step, SOURCES).items():
        (told / name).write_text(text)
    argv = command(step, folder=WORK / "definitions")
    room = trees.tool_room(RECIPE.base)
    room.run([argv[0], "--offline=yes", *argv[1:]], folder, seconds=SECONDS)


def found(folder: Path) -> Mapping[str, Partition]:
    def read(offset: int, length: int) -> bytes:
        with (folder / "disk").open("rb") as file:
            file.seek(offset)
            return file.read(length)

    return {part.label: part for part in tables(read, DISK).partitions}


def mark(folder: Path, part: Partition, text: bytes) -> None:
    with (folder / "disk").open("r+b") as file:
        file.seek(part.offset)
        file.write(text)


def begins(folder: Path, part: Partition, text: bytes) -> bool:
    with (folder / "disk").open("rb") as file:
        file.seek(part.offset)
        return file.read(len(text)) == text


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A disk with both volumes marked, the slots as a reset leaves them."""
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(DISK)
    for name, size in (("root", 4 << 20), ("hashes", 1 << 20)):
        (tmp_path / name).write_bytes(name.encode().ljust(size, b"x"))
    for name in ("boot", "kept"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    write(tmp_path, again=False, keep=False)
    parts = found(tmp_path)
    for label in VOLUMES:
        mark(tmp_path, parts[label], label.encode())
    room = trees.tool_room(RECIPE.base)
    for number in ("3", "4"):
        relabel = ["sfdisk", "--part-label", "disk", number, "_empty"]
        room.run(relabel, tmp_path, seconds=SECONDS)
    return tmp_path


def test_both_volumes_stay_as_they_are(installed: Path) -> None:
    before = found(installed)
    write(installed, again=True, keep=True)
    after = found(installed)
    for label in (*VOLUMES, "KR_ESP", "kr_recovery", "kr_recovery_v"):
        assert after[label] == before[label], label
    assert all(begins(installed, after[label], label.encode()) for label in VOLUMES)
    assert begins(installed, after["kr_root_1.0.0"], b"rootx")


def test_without_keeping_them_they_are_made_anew(installed: Path) -> None:
    """The control: the same run would not spare them by itself."""
    before = found(installed)
    write(installed, again=True, keep=False)
    after = found(installed)
    assert all(after[label].id != before[label].id for label in VOLUMES)
