"""The tools of the attacks: a disk in somebody's hands, a machine that is watched."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import pytest

from pairing import process
from pairing.testing.diskhand import MIB, DiskHand, filesystem, swap
from pairing.testing.gpt import ESP
from pairing.testing.sampling import Watch

HOME = "933AC7E1-2EB4-4F13-B844-0E14E2AEF915"
FOUND_SECONDS = 20.0
pytestmark = pytest.mark.root  # the Debian packages of make e2e, and others' programs


@pytest.fixture
def disk(tmp_path: Path) -> DiskHand:
    """A small one with a boot partition and a volume."""
    image = tmp_path / "disk.raw"
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    boot = ["--new=0:0:+36M", f"--typecode=0:{ESP}", "--change-name=0:KR_ESP"]
    process.run(["sgdisk", *boot, str(image)], seconds=30)
    volume = ["--new=0:0:+16M", "--change-name=0:KR_OEM"]
    process.run(["sgdisk", *volume, str(image)], seconds=30)
    hand = DiskHand(image)
    offset = hand.partition("KR_ESP").offset // 512
    argv = ["mkfs.vfat", "--offset", str(offset), str(image), str(35 * 1024)]
    process.run(argv, seconds=30)
    return hand


def test_files_of_the_boot_partition_are_written_and_read(disk: DiskHand) -> None:
    disk.write("EFI/Linux/a.efi", b"first")
    disk.write("EFI/Linux/a.efi", b"second")
    disk.write("EFI/Linux/a.efi.extra.d/b.cred", b"third")
    assert disk.read("EFI/Linux/a.efi") == b"second"
    assert disk.read("EFI/Linux/a.efi.extra.d/b.cred") == b"third"


def test_partitions_are_exchanged_and_added(disk: DiskHand, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("was here")
    volume = filesystem(tmp_path / "tree", tmp_path / "volume", 8 * MIB)
    disk.overwrite("KR_OEM", volume)
    disk.append(HOME, "home", volume)
    disk.append(HOME, "swap", swap(tmp_path / "swap", 8 * MIB))
    assert [part.label for part in disk.partitions] == ["KR_ESP", "KR_OEM", "home", "swap"]
    image = disk.image.read_bytes()
    for label in ("KR_OEM", "home"):
        offset = disk.partition(label).offset
        assert image[offset : offset + 8 * MIB] == volume.read_bytes()
    taken = disk.copied("home", tmp_path / "taken").read_bytes()
    assert taken == volume.read_bytes()


def test_a_watch_finds_what_is_shown_and_nothing_else() -> None:
    def ask(command: str) -> str:
        return process.run(["sh", "-c", command], seconds=60, check=False).text().strip()

    watch = Watch(ask, {"one": f"canary-{secrets.token_hex(8)}"})
    deadline = time.monotonic() + FOUND_SECONDS
    while watch.rounds < 2:
        assert time.monotonic() < deadline, "it does not look"
    assert watch.found() == set()
    watch.show()
    assert {"cmdline of sh", "environ of sleep"} <= watch.found()
    watch.end()
    assert not Path("/run/watch").exists()
