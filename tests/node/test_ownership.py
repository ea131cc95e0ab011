"""Whose machine it is, by the record on its boot partition; and which boot this is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from node.system.ownership import ESP, RECORD, booted_mode, installed_record
from node.testing.installed import InstalledMachine
from pairing import errors, keys
from pairing.events import Mode
from pairing.process import Result
from pairing.protocol.kept import ReportFile

RECORD_FILE = ReportFile(
    seed=bytes(32),
    node=keys.SigningKey(bytes(32)).public,
    lease=bytes(16),
    secret=bytes(32),
    operator=keys.SigningKey(bytes(32)).public,
    fleet=b"",
    relays=(),
    unlock="",
)


@dataclass
class Mounts:
    """`mount` puts this record there."""

    record: bytes | None
    fails: bool = False
    asked: list[Sequence[str]] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], *, seconds: float, check: bool = True) -> Result:
        self.asked.append(argv)
        if argv[0] == "mount":
            if self.fails:
                raise errors.CommandFailed(element="mount")
            if self.record is not None:
                path = Path(argv[-1]) / RECORD
                path.parent.mkdir()
                path.write_bytes(self.record)
        return Result(0, b"", b"")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / ESP).parent.mkdir(parents=True)
    (tmp_path / ESP).touch()
    return tmp_path


def test_no_disk_no_owner(tmp_path: Path) -> None:
    tools = Mounts(None)
    assert installed_record(tmp_path, tools) is None
    assert tools.asked == []


def test_a_disk_without_a_record_has_no_owner(disk: Path) -> None:
    assert installed_record(disk, Mounts(None)) is None


def test_the_record_is_read_from_a_read_only_mount(disk: Path) -> None:
    tools = Mounts(RECORD_FILE.to_bytes())
    assert installed_record(disk, tools) == RECORD_FILE
    assert [argv[0] for argv in tools.asked] == ["mount", "umount"]
    assert "ro,nosuid,nodev,noexec" in tools.asked[0]


@pytest.mark.parametrize(
    "broken", [b"", b"{}", RECORD_FILE.to_bytes().replace(b"AAAA", b"BBBB", 1)]
)
def test_a_damaged_record_is_no_missing_one(broken: bytes, disk: Path) -> None:
    with pytest.raises(ValueError, match=r"whole file|checksum"):
        installed_record(disk, Mounts(broken))


def test_a_disk_that_cannot_be_mounted_is_somebodys(disk: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        installed_record(disk, Mounts(None, fails=True))


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        ("quiet kairos.mode=live", Mode.LIVE),
        ("kairos.mode=recovery", Mode.RECOVERY),
        ("kairos.mode=live kairos.mode=installed", Mode.INSTALLED),
        ("kairos.mode=locked", None),
        ("kairos.mode=", None),
        ("quiet", None),
    ],
)
def test_which_boot_it_is(line: str, mode: Mode | None) -> None:
    assert booted_mode(line.split()) is mode


def test_a_boot_partition_that_is_mounted_is_read_where_it_is(tmp_path: Path) -> None:
    """Mounted writable by somebody, it could not be mounted read-only beside."""
    (tmp_path / "dev/vda1").parent.mkdir()
    (tmp_path / "dev/vda1").touch()
    (tmp_path / ESP).parent.mkdir(parents=True)
    (tmp_path / ESP).symlink_to(tmp_path / "dev/vda1")
    tree = {
        "sys/block/vda/vda1/dev": b"254:1\n",
        "proc/self/mountinfo": b"30 22 254:1 / /boot rw - vfat /dev/vda1 rw\n",
        f"boot/{RECORD}": RECORD_FILE.to_bytes(),
    }
    for name, data in tree.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    tools = Mounts(None, fails=True)
    assert installed_record(tmp_path, tools) == RECORD_FILE
    assert tools.asked == []


@pytest.mark.parametrize("mode", ["installed", "recovery"])
@pytest.mark.parametrize("own", [True, False], ids=["its own record", "none of its own"])
def test_another_disk_of_ours_in_the_machine_has_no_say(
    tmp_path: Path, mode: str, own: bool
) -> None:
    """udev gives the label to whichever disk it met last."""
    machine = InstalledMachine(tmp_path)
    words = (tmp_path / "proc/cmdline").read_text().replace("mode=installed", f"mode={mode}")
    machine.write("proc/cmdline", words)
    machine.write("dev/vdb1", "")
    machine.write("sys/block/vdb/vdb1/partition", "1\n")
    machine.write("sys/block/vdb/vdb1/uevent", "PARTN=1\nPARTNAME=KR_ESP\n")
    (tmp_path / ESP).parent.mkdir(parents=True)
    (tmp_path / ESP).symlink_to(tmp_path / "dev/vdb1")
    tools = Mounts(RECORD_FILE.to_bytes() if own else None)
    assert installed_record(tmp_path, tools) == (RECORD_FILE if own else None)
    assert tools.asked[0][-2] == str(tmp_path / "dev/vda1")


def test_a_stick_reads_whose_the_disk_is(disk: Path) -> None:
    machine = InstalledMachine(disk, labels=("KR_LIVE", "kr_root_1.0.0", "kr_verity_1.0.0"))
    words = (disk / "proc/cmdline").read_text().replace("mode=installed", "mode=live")
    machine.write("proc/cmdline", words)
    tools = Mounts(RECORD_FILE.to_bytes())
    assert installed_record(disk, tools) == RECORD_FILE
    assert tools.asked[0][-2] == str(disk / ESP)


def test_a_disk_that_runs_and_lost_its_boot_partition_is_somebodys(disk: Path) -> None:
    InstalledMachine(disk, labels=("_empty", "kr_root_1.0.0", "kr_verity_1.0.0"))
    tools = Mounts(RECORD_FILE.to_bytes())
    with pytest.raises(ValueError, match="vda has no boot partition"):
        installed_record(disk, tools)
    assert tools.asked == []
