"""The judge of power cuts: a good order of writing passes, each bad one is seen.

The installation here is small but real: a vfat file system, a LUKS2 volume, a partition table. What
each stage changes is what its log of writes has.
"""

from __future__ import annotations

import shutil
import struct
import uuid
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pairing import process
from pairing.testing import gpt, writelog
from pairing.testing.diskview import DiskView, Looker
from pairing.testing.powercuts import Recording, Report, examine
from pairing.testing.writelog import Cut, Entry

# The Debian packages of make e2e; a minute is short for its disks where others are busy.
pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

MIB = 1 << 20
SIZE = 64 * MIB
PLACES = {"KR_ESP": (1, 16), "kr_root_1": (17, 4), "KR_OEM": (21, 24)}
"""Label to offset and size in MiB."""
KEY, OTHER = b"the recovery key", b"some other key"
UKI, ROOT, LOADER = b"MZ kernel" * 9999, b"squashfs" * 65536, b"MZ loader" * 3000
CHUNK = 1 << 16
Stage = Callable[["Disk"], None]


class Disk:
    """The image and the log of what changed on it."""

    def __init__(self, folder: Path) -> None:
        self.image, self.folder = folder / "disk.raw", folder
        with self.image.open("wb") as file:
            file.truncate(SIZE)
        self.requests: list[bytes] = []
        self.key = KEY
        self.has_data = False

    def put(self, offset: int, data: bytes) -> None:
        with self.image.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def run(self, stage: Stage) -> None:
        """What the stage changes goes into the log, piece by piece, then a flush."""
        before = self.image.read_bytes()
        stage(self)
        after = self.image.read_bytes()
        for at in range(0, SIZE, CHUNK):
            new = after[at : at + CHUNK]
            if new != before[at : at + CHUNK]:
                self.requests.append(_entry(at // 512, CHUNK // 512, 0) + new)
        self.requests.append(_entry(0, 0, 1))

    def log(self) -> Path:
        head = struct.pack("<QQQL", writelog.MAGIC, 1, len(self.requests), 512).ljust(512, b"\0")
        file = self.folder / "log"
        file.write_bytes(head + b"".join(self.requests))
        return file


def _entry(sector: int, sectors: int, flags: int) -> bytes:
    return struct.pack("<QQQQ", sector, sectors, flags, 0).ljust(512, b"\0")


def root(disk: Disk) -> None:
    disk.put(PLACES["kr_root_1"][0] * MIB, ROOT)


def esp(disk: Disk) -> None:
    """With a kernel, without a loader."""
    file = disk.folder / "esp"
    file.unlink(missing_ok=True)
    disk.has_data = False
    offset, size = PLACES["KR_ESP"]
    _run("mkfs.vfat", "-C", str(file), str(size * 1024))
    (disk.folder / "uki").write_bytes(UKI)
    _run("mmd", "-i", str(file), "::/EFI", "::/EFI/Linux", "::/EFI/BOOT", "::/EFI/systemd")
    _run("mcopy", "-i", str(file), str(disk.folder / "uki"), "::/EFI/Linux/kr_1.efi")
    disk.put(offset * MIB, file.read_bytes())


def named_data(disk: Disk) -> None:
    """The loader's data below EFI/systemd, under a name that nothing starts."""
    (disk.folder / "loader").write_bytes(LOADER)
    _run("mcopy", "-i", _place(disk), str(disk.folder / "loader"), "::/EFI/systemd/loader.new")


def named(disk: Disk) -> None:
    """The loader under the name that our boot entry has."""
    old, new = "::/EFI/systemd/loader.new", "::/EFI/systemd/systemd-bootx64.efi"
    _run("mren", "-i", _place(disk), old, new)


def data(disk: Disk) -> None:
    """The loader's data, under a name that nothing starts."""
    _copy(disk, LOADER, "loader.new")


def loader(disk: Disk) -> None:
    if not disk.has_data:
        data(disk)
    _run("mren", "-i", _place(disk), "::/EFI/BOOT/loader.new", "::/EFI/BOOT/BOOTX64.EFI")


def torn(disk: Disk) -> None:
    """Half of the loader, under its name."""
    _copy(disk, LOADER[: len(LOADER) // 2], "BOOTX64.EFI")


def whole(disk: Disk) -> None:
    _run("mdel", "-i", _place(disk), "::/EFI/BOOT/BOOTX64.EFI")
    _copy(disk, LOADER, "BOOTX64.EFI")


def _copy(disk: Disk, content: bytes, name: str) -> None:
    (disk.folder / "loader").write_bytes(content)
    _run("mcopy", "-i", _place(disk), str(disk.folder / "loader"), f"::/EFI/BOOT/{name}")
    disk.has_data = True


def _place(disk: Disk) -> str:
    return f"{disk.image}@@{PLACES['KR_ESP'][0] * MIB}"


def volume(disk: Disk) -> None:
    _header(disk, KEY)


def strangers_volume(disk: Disk) -> None:
    """The operator was sent another key than the one that it is made with."""
    _header(disk, OTHER)


def chip(disk: Disk) -> None:
    """The second slot, as enrolling a TPM makes one."""
    file = disk.folder / "luks"
    for name, key in (("key", disk.key), ("other", b"the chip's")):
        (disk.folder / name).write_bytes(key)
    keys = ["--key-file", str(disk.folder / "key"), str(file), str(disk.folder / "other")]
    _run("cryptsetup", "--batch-mode", "luksAddKey", *_QUICK, *keys)
    disk.put(PLACES["KR_OEM"][0] * MIB, file.read_bytes()[: 16 * MIB])


_QUICK = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")


def _header(disk: Disk, key: bytes) -> None:
    file, disk.key = disk.folder / "luks", key
    offset, size = PLACES["KR_OEM"]
    with file.open("wb") as opened:
        opened.truncate(size * MIB)
    words = ["luksFormat", "--type", "luks2", "--key-file", "-", *_QUICK, str(file)]
    process.run(["cryptsetup", "--batch-mode", *words], seconds=30, stdin=key)
    disk.put(offset * MIB, file.read_bytes()[: 16 * MIB])


def table(disk: Disk) -> None:
    """Both copies, the backup first."""
    entries = b""
    for label, (offset, size) in PLACES.items():
        kind = gpt.ESP if label == "KR_ESP" else uuid.UUID(int=7)
        first, last = offset * MIB // 512, (offset + size) * MIB // 512 - 1
        name = label.encode("utf-16-le").ljust(72, b"\0")
        own = uuid.uuid4().bytes_le
        entries += struct.pack("<16s16sQQQ72s", kind.bytes_le, own, first, last, 0, name)
    entries = entries.ljust(128 * 128, b"\0")
    end = SIZE // 512 - 1
    for mine, other, start in ((end, 1, end - 32), (1, end, 2)):
        disk.put(start * 512, entries)
        disk.put(mine * 512, _gpt_header(mine, other, start, entries))


def _gpt_header(mine: int, other: int, start: int, entries: bytes) -> bytes:
    middle = struct.pack("<QQQQ", mine, other, 34, SIZE // 512 - 34) + bytes(16)
    end = struct.pack("<QIII", start, 128, 128, zlib.crc32(entries))
    front = struct.pack("<8sII", b"EFI PART", 0x10000, 92)
    blank = front + bytes(8) + middle + end
    return front + struct.pack("<II", zlib.crc32(blank), 0) + middle + end


def wipe(disk: Disk) -> None:
    """The backup first, as the step wipe-tables does."""
    disk.put(SIZE - MIB, bytes(MIB))
    disk.put(0, bytes(MIB))


def _run(*argv: str) -> None:
    process.run(argv, seconds=30)


GOOD: Sequence[Stage] = (wipe, root, esp, volume, chip, table, named_data, named, data, loader)


def judged(
    folder: Path,
    stages: Sequence[Stage],
    *,
    old: Sequence[Stage] = (),
    acknowledged: int = 0,
    entry_after: Stage | None = loader,
    cuts: Callable[[Sequence[Entry]], Sequence[Cut]] | None = None,
    flushed: bool = True,
) -> Report:
    """Record these stages over what the stages `old` left, and judge cuts; all of them, if not
    told which. Without `flushed` the flushes between the stages are missing.
    """
    disk, start = Disk(folder), folder / "start.raw"
    for stage in old:
        stage(disk)
    shutil.copy(disk.image, start)
    entry = None
    for stage in stages:
        disk.run(stage)
        if not flushed and stage is not stages[-1]:
            disk.requests.pop()
        if stage is entry_after:
            entry = len(disk.requests)
    recording = Recording(
        log=disk.log(), image=start, key=KEY, acknowledged=acknowledged, entry=entry
    )
    return examine(recording, finished(folder), cuts or everywhere)


def everywhere(log: Sequence[Entry]) -> list[Cut]:
    return [Cut(first) for first in range(len(log) + 1)]


def finished(folder: Path) -> DiskView:
    """A disk after a good installation."""
    good = folder / "good"
    good.mkdir()
    disk = Disk(good)
    for stage in GOOD:
        stage(disk)
    return Looker(disk.image, KEY).look()


def test_a_good_order_stands_a_cut_after_every_request(tmp_path: Path) -> None:
    report = judged(tmp_path, GOOD)
    assert report.faults == []
    assert set(report.standings) == {"nothing", "built", "starts"}


def test_over_an_old_installation_too(tmp_path: Path) -> None:
    report = judged(tmp_path, GOOD, old=(root, esp, volume, chip, table, loader))
    assert report.faults == []
    assert set(report.standings) == {"old", "nothing", "built", "starts"}


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ((wipe, table, root, esp, volume, chip, loader), "table leads to an incomplete kr_root_1"),
        ((wipe, root, esp, volume, table, chip, loader), "KR_OEM without all its key slots"),
        ((wipe, root, esp, strangers_volume, chip, table, loader), "key does not open"),
        ((wipe, esp, volume, chip, table, loader, root), "would start an incomplete kr_root_1"),
        ((wipe, root, volume, chip, table, esp, data, loader), "no readable boot files"),
        (
            (*GOOD[:-4], data, loader, named_data, named),
            "the fallback came before efi/systemd/systemd-boot",
        ),
    ],
    ids=["table", "chip", "stranger", "root", "esp", "fallback"],
)
def test_each_bad_order_is_seen(tmp_path: Path, stages: Sequence[Stage], said: str) -> None:
    report = judged(tmp_path, stages, entry_after=None)
    assert [fault for fault in report.faults if said in fault], report.faults


def test_a_loader_that_nothing_finds_yet_is_no_fault(tmp_path: Path) -> None:
    report = judged(tmp_path, (wipe, root, volume, chip, esp, *GOOD[-4:], table), entry_after=None)
    assert report.faults == []


def test_a_boot_entry_first_is_seen(tmp_path: Path) -> None:
    report = judged(tmp_path, GOOD, entry_after=wipe)
    assert "a boot entry leads to a disk without partitions" in "\n".join(report.faults)


def test_a_write_before_the_key_is_stored_is_seen(tmp_path: Path) -> None:
    report = judged(tmp_path, GOOD, acknowledged=3)
    assert len([fault for fault in report.faults if "before the recovery key" in fault]) == 2


def test_new_content_below_an_old_table_is_seen(tmp_path: Path) -> None:
    """What happens without wipe-tables where a discard does not zero."""
    old = (root, esp, volume, chip, table, loader)
    report = judged(tmp_path, (esp, volume, chip, table, loader), old=old)
    assert "the old partition table leads to new content" in "\n".join(report.faults)


def test_a_torn_loader_is_seen(tmp_path: Path) -> None:
    stages = (*GOOD[:-2], torn, whole)
    report = judged(tmp_path, stages, entry_after=None)
    assert "efi/boot/bootx64.efi is not whole" in "\n".join(report.faults)


def test_a_lost_cache_is_judged_too(tmp_path: Path) -> None:
    """Without flushes between the stages the order of the requests alone looks good."""
    plain, lossy = tmp_path / "plain", tmp_path / "lossy"
    plain.mkdir()
    assert judged(plain, GOOD, entry_after=None, flushed=False).faults == []
    lossy.mkdir()
    report = judged(
        lossy,
        GOOD,
        entry_after=None,
        flushed=False,
        cuts=lambda log: writelog.cuts(log, any_time=0, lossy=60, seed=1),
    )
    assert report.faults
