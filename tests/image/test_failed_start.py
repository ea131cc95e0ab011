"""What a start that failed leaves behind: the script of emergency.service, on a boot partition of
files. That the loader then goes back is shown by `tests/e2e/test_upgrade.py`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.health import failed_trial
from node.image import initrd
from node.image.product import UNITS
from node.plan.slots import entries
from node.started import LOADER
from pairing import process

SCRIPT = UNITS / "emergency.service.d/failed-start.sh"
VARIABLES = "sys/firmware/efi/efivars"
PARTITION = "0A1B2C3D-0000-4000-8000-000000000001"
PROGRAMS = {
    # The boot partition appears where it is mounted.
    "mount": 'for where; do :; done; rmdir "$where"; ln -s "$ESP" "$where"; echo "$@" >>"$CALLS"',
    "umount": 'rm "$1"',
    "sync": "exit 0",
    # As on efivarfs: "cannot seek to relative offset".
    "tail": '[ $# -eq 2 ] || exit 1; exec /usr/bin/tail "$@"',
    "sleep": 'echo "sleep $1" >>"$CALLS"',
    "systemctl": 'printf "%s loaded failed\\n" "systemd-veritysetup@root.service" "a\\x2db.mount"',
}


@dataclass(frozen=True, slots=True)
class Start:
    """A start that failed, as files below a folder."""

    root: Path

    @classmethod
    def of(cls, root: Path, *kernels: str, mode: str = "installed") -> Start:
        start = cls(root)
        words = f"quiet kairos.mode={mode} systemd.verity_root_data=PARTLABEL=kr_root_1.1.0 ro\n"
        start.write("proc/cmdline", words)
        start.write("proc/sys/kernel/random/boot_id", "boot-1\n")
        variable = b"\6\0\0\0" + (PARTITION + "\0").encode("utf-16-le")
        start.write(f"{VARIABLES}/LoaderDevicePartUUID-{LOADER}", variable)
        for folder in ("dev", "run", "bin", "esp/EFI/Linux"):
            (root / folder).mkdir(parents=True)
        for name, body in PROGRAMS.items():
            start.write(f"bin/{name}", f"#!/bin/sh\n{body}\n").chmod(0o755)
        for kernel in kernels:
            start.write(f"esp/EFI/Linux/{kernel}", kernel)
        return start

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def fail(self) -> None:
        """Run the script."""
        path = f"{self.root / 'bin'}:{os.environ['PATH']}"
        environment = {"PATH": path, "ESP": str(self.root / "esp"), "CALLS": str(self.calls)}
        argv = ("/bin/sh", str(SCRIPT), str(self.root))
        process.run(argv, seconds=30, environment=environment)

    @property
    def calls(self) -> Path:
        return self.root / "calls"

    @property
    def kernels(self) -> list[str]:
        return sorted(path.name for path in (self.root / "esp/EFI/Linux").iterdir())

    @property
    def oneshot(self) -> bytes:
        path = self.root / f"{VARIABLES}/LoaderEntryOneShot-{LOADER}"
        return path.read_bytes() if path.exists() else b""

    @property
    def said(self) -> str:
        console = self.root / "dev/console"
        return console.read_text() if console.exists() else ""


def test_a_good_version_gets_one_more_try(tmp_path: Path) -> None:
    start = Start.of(tmp_path, "kr_1.1.0.efi", "kr_1.0.0.efi", "recovery.efi")
    start.fail()
    assert start.kernels == ["kr_1.0.0.efi", "kr_1.1.0+1-1.efi", "recovery.efi"]
    (newest, _) = entries(start.kernels)
    assert (newest.left, newest.done) == (1, 1)
    assert f"/dev/disk/by-partuuid/{PARTITION.lower()} " in start.calls.read_text()
    assert not start.oneshot
    assert list((tmp_path / "run").iterdir()) == [], "not mounted any more"


def test_the_version_before_can_read_why(tmp_path: Path) -> None:
    start = Start.of(tmp_path, "kr_1.1.0.efi")
    start.fail()
    left = failed_trial(tmp_path / "esp")
    assert left is not None
    assert (left.version, left.boot) == ("1.1.0", "boot-1")
    assert left.reasons == ("the start failed early: systemd-veritysetup@root.service ax2db.mount",)
    json.loads((tmp_path / "esp/kairos/trial.json").read_text())


@pytest.mark.parametrize("name", ["kr_1.1.0+1-1.efi", "kr_1.1.0+0-2.efi"])
def test_a_try_that_the_loader_counted_is_not_counted_again(tmp_path: Path, name: str) -> None:
    start = Start.of(tmp_path, name, "kr_1.0.0.efi")
    start.fail()
    assert start.kernels == sorted([name, "kr_1.0.0.efi"])
    assert (tmp_path / "esp/kairos/trial.json").exists()
    assert not start.oneshot


@pytest.mark.parametrize("broken", ["mount", "mv", "variable"])
def test_where_nothing_can_be_noted_recovery_is_next(tmp_path: Path, broken: str) -> None:
    """Else the same version would be started for ever."""
    start = Start.of(tmp_path, "kr_1.1.0.efi")
    if broken == "variable":
        (tmp_path / f"{VARIABLES}/LoaderDevicePartUUID-{LOADER}").unlink()
    else:
        start.write(f"bin/{broken}", "#!/bin/sh\nexit 32\n").chmod(0o755)
    start.fail()
    assert start.kernels == ["kr_1.1.0.efi"]
    assert start.oneshot == b"\7\0\0\0" + "recovery.efi\0".encode("utf-16-le")


def test_a_recovery_system_that_does_not_start_says_so_and_takes_its_time(tmp_path: Path) -> None:
    start = Start.of(tmp_path, "kr_1.1.0.efi", mode="recovery")
    start.fail()
    assert start.kernels == ["kr_1.1.0.efi"]
    assert "recovery system does not start" in start.said
    assert "sleep 40" in start.calls.read_text()


def test_a_stick_that_does_not_start_touches_no_disk(tmp_path: Path) -> None:
    start = Start.of(tmp_path, "kr_1.1.0.efi", mode="live")
    start.fail()
    assert start.kernels == ["kr_1.1.0.efi"]
    assert not start.calls.exists()


def test_the_initrd_has_the_script_and_what_it_calls() -> None:
    there = initrd.files()
    folder = "usr/lib/systemd/system/emergency.service.d"
    assert there[f"{folder}/failed-start.sh"] == SCRIPT.read_text()
    assert f"{folder}/failed-start.sh" in there[f"{folder}/10-kairos.conf"]
    for program in initrd.PROGRAMS:
        assert f"/usr/bin/{program} " in initrd.settings(())
    called = {"cat", "cut", "head", "mkdir", "mount", "mv", "sleep", "sync", "tail", "tr", "umount"}
    assert called <= set(initrd.PROGRAMS)


def test_the_root_is_read_whole_before_it_is_used() -> None:
    assert initrd.REQUIRED["sysroot.mount"] == "kairos-check-root.service"
    unit = initrd.files()["usr/lib/systemd/system/kairos-check-root.service"]
    assert "Before=sysroot.mount" in unit
    assert "if=/dev/mapper/root" in unit
