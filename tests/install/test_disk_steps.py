"""The steps that write: their order, secrets in files in memory only, run twice they are safe."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.recoverykey import RecoveryKey
from node.system.install.doors import Doors
from node.system.install.table import handlers
from node.system.keyfile import drop, held, hold
from node.testing.ground import DISK, DONE, HEADER, UUID, Call, Ground
from pairing import errors
from pairing.process import Result

from .conftest import CONFIG, MakePlan, assert_not_told, handover_to, run

UNLOCKED = Result(0, b"No usable token is available.\nKey slot 0 unlocked.\n", b"")
METADATA = json.dumps({"keyslots": {"0": {"area": {"offset": "4096", "size": "8192"}}}})
LUKS: dict[str, Any] = {
    "cryptsetup open": UNLOCKED,
    "cryptsetup luksDump": Result(0, METADATA.encode(), b""),
}


# --- wipe-tables ----------------------------------------------------------------------------------


async def test_both_ends_are_zeroed_and_flushed(
    ground: Ground, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = ground.write("dev/vda", b"\xff" * (4 << 20))
    done: list[str] = []
    write, flush = os.pwrite, os.fsync

    def noted_write(file: int, data: bytes, offset: int) -> int:
        done.append(f"write {offset}")
        return write(file, data, offset)

    def noted_flush(file: int) -> None:
        done.append("flush")
        flush(file)

    monkeypatch.setattr(os, "pwrite", noted_write)
    monkeypatch.setattr(os, "fsync", noted_flush)
    await run(ground, make_plan(), "wipe-tables")
    assert done == [f"write {3 << 20}", "flush", "write 0", "flush"]
    data = disk.read_bytes()
    assert data == bytes(1 << 20) + b"\xff" * (2 << 20) + bytes(1 << 20)


async def test_a_disk_smaller_than_both_ends(ground: Ground, make_plan: MakePlan) -> None:
    disk = ground.write("dev/vda", b"\xff" * 100)
    await run(ground, make_plan(), "wipe-tables")
    assert disk.read_bytes() == bytes(100)


async def test_a_disk_in_use_is_refused(
    ground: Ground, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def busy(path: str, flags: int, *more: int, **named: int) -> int:
        if not str(path).endswith("dev/vda"):
            return real(path, flags, *more, **named)
        assert flags & os.O_EXCL
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(os, "open", busy)
    with pytest.raises(errors.DiskBusy, match="vda"):
        await run(ground, make_plan(), "wipe-tables")


# --- write-disk -----------------------------------------------------------------------------------


@pytest.fixture
def staged(ground: Ground) -> Ground:
    """The image was checked."""
    ground.write("run/kairos-register/staging/loader.efi", b"MZ")
    ground.write("run/kairos-register/staging/boot/EFI/Linux/recovery.efi", b"MZ")
    return ground


async def test_repart_gets_definitions_and_no_key(staged: Ground, make_plan: MakePlan) -> None:
    seen: dict[str, Any] = {}

    def repart(call: Call) -> Result:
        named = dict(word.split("=", 1) for word in call.argv if "=" in word)
        seen["folder"] = Path(named["--definitions"]).stat().st_mode & 0o777
        seen["files"] = sorted(path.name for path in Path(named["--definitions"]).iterdir())
        return Result(0, b"", b"Formatting.\n")

    staged.programs.answers["systemd-repart"] = repart
    await run(staged, make_plan(), "write-disk")
    assert seen["folder"] == 0o700
    assert len(seen["files"]) == 9
    assert_not_told(staged, staged.key.passphrase)
    assert "systemd-repart: Formatting." in staged.logged


async def test_volumes_get_file_systems_once_the_table_is_there(
    staged: Ground, make_plan: MakePlan
) -> None:
    await run(staged, make_plan(), "write-disk")
    said = [call.argv for call in staged.programs.calls]
    done = [argv[:2] if argv[0] == "cryptsetup" else argv[:1] for argv in said]
    one = [("cryptsetup", "open"), ("mkfs.ext4",)]
    assert done == [("systemd-repart",), ("udevadm",), *one, *one, ("cryptsetup", "close")]
    opened = [argv[-2:] for argv in said if argv[:2] == ("cryptsetup", "open")]
    assert opened == [("/dev/vda2", "kr_oem"), ("/dev/vda9", "kr_filled")]
    assert said[-1][-1] == "kr_filled", "the config's volume stays open for it"
    assert_not_told(staged, staged.key.passphrase)


async def test_a_volume_is_closed_if_it_cannot_be_filled(
    staged: Ground, make_plan: MakePlan
) -> None:
    staged.programs.answers["mkfs.ext4"] = Result(1, b"", b"too small")
    with pytest.raises(errors.CommandFailed, match=r"mkfs\.ext4"):
        await run(staged, make_plan(), "write-disk")
    assert staged.programs.called("cryptsetup")[-1][:2] == ("cryptsetup", "close")


async def test_without_encryption_nothing_is_opened(staged: Ground, make_plan: MakePlan) -> None:
    await run(staged, make_plan("none"), "write-disk")
    assert not staged.programs.called("cryptsetup")
    assert not staged.programs.called("mkfs.ext4")


async def test_progress_counts_what_reached_the_disk(
    staged: Ground, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program runs in a thread: it is held until it was seen."""
    monkeypatch.setattr("node.system.install.write_disk.LOOK", 0.01)
    seen = threading.Event()

    def repart(call: Call) -> Result:
        staged.write("sys/block/vda/stat", f"1 0 8 1 1 0 {2048 + 8192} 1 0 1 1\n")
        assert seen.wait(20)
        return DONE

    staged.programs.answers["systemd-repart"] = repart
    staged.on_progress = lambda: seen.set() if staged.reported[-1][0] else None
    await run(staged, make_plan(), "write-disk")
    done, total = staged.reported[-1]
    assert done == 8192 * 512
    assert done < total


async def test_the_esp_gets_the_records_and_no_loader(staged: Ground, make_plan: MakePlan) -> None:
    await run(staged, make_plan(), "write-disk")
    folder = staged.doors.boot_files
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "EFI/Linux/recovery.efi",
        "kairos/escrow.json",
        "kairos/report.json",
        "loader/loader.conf",
    }
    assert "default" not in (folder / "loader/loader.conf").read_text()


async def test_without_a_checked_image_nothing_is_written(
    ground: Ground, make_plan: MakePlan
) -> None:
    with pytest.raises(errors.ImageMissing):
        await run(ground, make_plan(), "write-disk")
    assert not ground.programs.called("systemd-repart")


async def test_a_partition_that_is_not_there_afterwards(
    staged: Ground, make_plan: MakePlan
) -> None:
    for part in (staged.root / "sys/block/vda").glob("vda9/*"):
        part.unlink()
    with pytest.raises(errors.DiskIncomplete, match="KR_PERSISTENT"):
        await run(staged, make_plan(), "write-disk")


async def test_a_key_that_would_lie_on_a_disk_is_not_used(
    staged: Ground, make_plan: MakePlan
) -> None:
    staged.mounts = {"/": "ext4"}
    staged.plant_mounts()
    with pytest.raises(errors.KeyNotInMemory):
        await run(staged, make_plan(), "write-disk")
    assert not list((staged.root / "run").rglob("key-*"))
    staged.mounts["/run"] = "tmpfs"
    staged.plant_mounts()
    await run(staged, make_plan(), "write-disk")  # the control
    assert list((staged.root / "run").rglob("key-*"))


# --- prove-key ------------------------------------------------------------------------------------


async def test_every_volume_is_opened_with_the_key_alone(
    ground: Ground, make_plan: MakePlan
) -> None:
    ground.programs.answers.update(LUKS)
    ground.write("dev/vda9", HEADER.ljust(4096, b"\0") + b"\x01" * 8192 + bytes(99))
    await run(ground, make_plan(), "prove-key")
    assert [volume.name for volume in ground.proved] == ["KR_OEM", "KR_PERSISTENT"]
    assert ground.proved[1].uuid == UUID
    assert ground.proved[1].slot == hashlib.sha256(b"\x01" * 8192).hexdigest()
    assert ground.proved[0].slot != ground.proved[1].slot
    opens = [argv for argv in ground.programs.called("cryptsetup") if argv[1] == "open"]
    assert [argv[-1] for argv in opens] == ["/dev/vda2", "/dev/vda9"]
    assert all({"--test-passphrase", "--disable-external-tokens"} <= set(argv) for argv in opens)
    assert_not_told(ground, ground.key.passphrase)


@pytest.mark.parametrize(
    ("answers", "volume"),
    [
        ({"cryptsetup open": Result(2, b"", b"No key available with this passphrase.")}, "KR_OEM"),
        ({"cryptsetup open": Result(0, b"", b"")}, "KR_OEM"),
        ({"cryptsetup luksDump": Result(0, b"{}", b"")}, "vda2"),
        ({"cryptsetup luksDump": Result(0, b"x", b"")}, "vda2"),
    ],
)
async def test_a_volume_that_does_not_open(
    ground: Ground, make_plan: MakePlan, answers: dict[str, Any], volume: str
) -> None:
    ground.programs.answers.update({**LUKS, **answers})
    with pytest.raises(errors.KeyNotProved, match=volume):
        await run(ground, make_plan(), "prove-key")
    assert ground.proved == []


@pytest.mark.parametrize("start", [b"", b"LUKS\xba\xbe", HEADER[1:], HEADER.replace(b"-", b"x")])
async def test_a_header_that_cannot_be_read(
    ground: Ground, make_plan: MakePlan, start: bytes
) -> None:
    ground.programs.answers.update(LUKS)
    ground.write("dev/vda2", start + bytes(64 * 1024))
    with pytest.raises(errors.KeyNotProved, match="vda2"):
        await run(ground, make_plan(), "prove-key")


# --- keep-config ----------------------------------------------------------------------------------


async def test_the_config_is_kept_with_the_lease(ground: Ground, make_plan: MakePlan) -> None:
    kept: list[Path] = []
    await run(ground, make_plan(), "keep-config", handover_to(kept))
    folder = ground.doors.own / "oem"
    assert kept == [folder]
    config = folder / "90_custom.yaml"
    assert config.read_bytes() == CONFIG
    assert config.stat().st_mode & 0o777 == 0o600
    about = json.loads((folder / ".kairos/install.json").read_text())
    assert about["encryption"] == "tpm2"
    assert about["version"] == "1.0.0"
    opened = ground.programs.called("cryptsetup")[0]
    assert opened[-2:] == ("/dev/vda2", "kr_oem")
    assert ground.programs.called("mount")[0][-2] == "/dev/mapper/kr_oem"
    assert_not_told(ground, ground.key.passphrase)


async def test_a_volume_that_is_open_is_not_opened_again(
    ground: Ground, make_plan: MakePlan
) -> None:
    ground.write("dev/mapper/kr_oem", b"")
    (ground.doors.own / "oem").mkdir()
    ground.mounts["/run/kairos-register/oem"] = "ext4"
    ground.plant_mounts()
    await run(ground, make_plan(), "keep-config")
    assert not ground.programs.calls


async def test_without_encryption_the_partition_itself_is_mounted(
    ground: Ground, make_plan: MakePlan
) -> None:
    await run(ground, make_plan("none"), "keep-config")
    assert not ground.programs.called("cryptsetup")
    assert ground.programs.called("mount")[0][-2] == "/dev/vda2"


# --- mark-complete --------------------------------------------------------------------------------


async def test_the_name_that_every_firmware_starts_comes_last(
    staged: Ground, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    rename = Path.rename

    def renamed(self: Path, target: Path) -> Path:
        done.append(str(Path(target).relative_to(staged.doors.own / "esp")))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", renamed)
    await run(staged, make_plan(), "mark-complete")
    assert done == ["EFI/systemd/systemd-bootx64.efi", "EFI/BOOT/BOOTX64.EFI"]
    argv = [call.argv[0] for call in staged.programs.calls]
    assert argv == ["mount", "umount"]
    await run(staged, make_plan(), "mark-complete")


# --- around a recovery system ---------------------------------------------------------------------


async def test_the_old_loader_goes_first_and_the_recovery_system_stays(
    staged: Ground, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    esp = "run/kairos-register/esp"
    kept = ("EFI/Linux/recovery.efi", "kairos/kr_1.0.0.efi", "kairos/SHA256SUMS")
    gone = (
        "EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi", "EFI/Linux/kr_1.1.0+2-1.efi",
        "EFI/Linux/kr_1.0.0.efi", "kairos/report.json", "kairos/escrow.json",
    )  # fmt: skip
    for name in (*kept, *gone):
        staged.write(f"{esp}/{name}", b"old")
    left: list[set[str]] = []
    flush = os.fsync

    def flushed(file: int) -> None:
        left.append({name for name in gone if (staged.root / esp / name).exists()})
        flush(file)

    monkeypatch.setattr(os, "fsync", flushed)
    plan = make_plan(recovery=True)
    await run(staged, plan, "clear-boot")
    assert left[0] == set(gone[2:]), "nothing can be started before the rest goes"
    assert left[-1] == set()
    assert all((staged.root / esp / name).exists() for name in kept)
    staged.write("run/kairos-register/staging/boot/EFI/Linux/kr_1.0.0.efi", b"new")
    await run(staged, plan, "fill-boot")
    folder = staged.root / esp
    assert (folder / "EFI/Linux/kr_1.0.0.efi").read_bytes() == b"new"
    assert (folder / "EFI/Linux/recovery.efi").read_bytes() == b"old"
    assert (folder / "kairos/report.json").read_bytes() == b"report"
    assert not (folder / "EFI/BOOT").exists()
    await run(staged, plan, "mark-complete")
    assert (folder / "EFI/BOOT/BOOTX64.EFI").exists()


async def test_what_is_made_anew_is_as_large_as_it_was(staged: Ground, make_plan: MakePlan) -> None:
    seen: list[str] = []

    def repart(call: Call) -> Result:
        folder = next(Path(w.split("=")[1]) for w in call.argv if w.startswith("--definitions"))
        seen.append((folder / "90-kr-persistent.conf").read_text())
        return DONE

    staged.write("sys/block/vda/vda9/size", f"{7 * 2**20}\n")
    staged.programs.answers["systemd-repart"] = repart
    await run(staged, make_plan(recovery=True), "write-disk")
    assert f"SizeMinBytes={7 * 2**20 * 512}" in seen[0]


# --- the key as a file ----------------------------------------------------------------------------


def test_a_key_outlives_us_and_belongs_to_one_release(ground: Ground) -> None:
    own, key, other = ground.doors.own, RecoveryKey.new(), RecoveryKey.new()
    hold(ground.root, own, "release one", key)
    assert held(own, "release two") is None
    found = held(own, "release one")
    assert found is not None
    assert found.passphrase == key.passphrase
    hold(ground.root, own, "release one", other)
    drop(own, "release two")
    found = held(own, "release one")
    assert found is not None
    assert found.passphrase == other.passphrase
    drop(own, "release one")
    assert held(own, "release one") is None
    assert not list(own.glob("key-*"))


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t + b"x", lambda t: b"", bytes.upper]
)
def test_a_file_that_is_no_key_is_none(ground: Ground, change: Callable[[bytes], bytes]) -> None:
    path = hold(ground.root, ground.doors.own, "r", ground.key)
    path.write_bytes(change(ground.key.passphrase))
    assert held(ground.doors.own, "r") is None


def test_every_step_has_a_handler(ground: Ground) -> None:
    from node.steps import STEP_TYPES, EscrowKey

    table = handlers(Doors(root=ground.root), handover_to([]))
    assert set(table) == {*STEP_TYPES.values()} - {EscrowKey}
    assert len(DISK) == 9
