"""check-image: what the signed kernel line vouches for, and nothing else, is staged."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.execute import Handler
from node.steps import CheckImage, Plan
from node.system import medium
from node.system.board import EFI_GLOBAL
from node.system.booted import booted
from node.system.install.check_image import check_ahead, check_image
from node.testing.ground import FILES, IMAGE, MIB, ROOT_HASH, Ground
from node.testing.kernels import KEY, kernel
from pairing import errors
from pairing.process import Result

from .conftest import MakePlan


def step_of(plan: Plan) -> CheckImage:
    return next(step for step in plan.steps if isinstance(step, CheckImage))


async def check(ground: Ground, plan: Plan) -> None:
    handler: Handler = check_image(ground.doors)
    await handler(step_of(plan), ground.work(plan))


def staged(ground: Ground) -> dict[str, bytes]:
    folder = ground.doors.staging
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


async def test_checked_files_are_staged_where_the_disk_has_them(
    ground: Ground, make_plan: MakePlan
) -> None:
    await check(ground, make_plan())
    assert staged(ground) == {
        "boot/EFI/Linux/kr_1.0.0.efi": FILES["kr_1.0.0.efi"],
        "boot/EFI/Linux/recovery.efi": FILES["recovery.efi"],
        "kept/SHA256SUMS": (ground.medium / "kairos/SHA256SUMS").read_bytes(),
        "kept/image.json": json.dumps(IMAGE).encode(),
        "kept/kr_1.0.0.efi": FILES["kr_1.0.0.efi"],
        "kept/loader.efi": FILES["loader.efi"],
        "loader.efi": FILES["loader.efi"],
    }
    assert ground.reported[-1] == (3 * MIB, 3 * MIB), "the root was read to its end"
    assert not list(ground.doors.boot_files.rglob("BOOT*")), "no loader before all is complete"
    await check(ground, make_plan())


@pytest.mark.parametrize("name", [*FILES, "image.json"])
async def test_a_changed_file_is_named(ground: Ground, make_plan: MakePlan, name: str) -> None:
    plan = make_plan()
    path = ground.medium / "kairos" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(errors.ImageTampered, match=name):
        await check(ground, plan)


async def test_changed_together_with_its_checksum_it_is_noticed_too(
    ground: Ground, make_plan: MakePlan
) -> None:
    plan = make_plan()
    path, sums = ground.medium / "kairos/recovery.efi", ground.medium / "kairos/SHA256SUMS"
    path.write_bytes(b"MZ evil")
    old, new = (hashlib.sha256(data).hexdigest() for data in (FILES[path.name], b"MZ evil"))
    sums.write_text(sums.read_text().replace(old, new))
    with pytest.raises(errors.ImageTampered, match="SHA256SUMS"):
        await check(ground, plan)
    ground.plant_words()
    await check(ground, plan)  # the control: only the kernel line stood in the way


async def test_a_live_kernel_line_without_the_word_vouches_for_nothing(
    ground: Ground, make_plan: MakePlan
) -> None:
    plan = make_plan()
    words = (ground.root / "proc/cmdline").read_text()
    ground.write("proc/cmdline", words.replace("kairos.sums", "other"))
    with pytest.raises(errors.ImageTampered, match="SHA256SUMS"):
        await check(ground, plan)


@pytest.mark.parametrize("line", ["x", f"{'0' * 64}  ../x", f"{'0' * 64}  /etc/shadow"])
async def test_odd_lines_of_the_list(ground: Ground, make_plan: MakePlan, line: str) -> None:
    plan = make_plan()
    sums = ground.medium / "kairos/SHA256SUMS"
    sums.write_text(sums.read_text() + line + "\n")
    ground.plant_words()
    with pytest.raises(errors.ImageTampered, match="SHA256SUMS"):
        await check(ground, plan)


async def test_another_root_hash_than_the_kernels(ground: Ground, make_plan: MakePlan) -> None:
    plan = make_plan()
    words = (ground.root / "proc/cmdline").read_text()
    ground.write("proc/cmdline", words.replace("roothash=6f", "roothash=70"))
    with pytest.raises(errors.ImageTampered, match="root hash"):
        await check(ground, plan)


class Rotten(io.FileIO):
    """A device whose third block is wrong: dm-verity answers it with EIO."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= 2 * MIB:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(size) or b""


async def test_a_root_with_a_block_that_cannot_be_read_is_tampered_with(
    ground: Ground, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, device, opened = make_plan(), ground.root / "dev/mapper/root", Path.open

    def rotten(path: Path, *args: Any, **how: Any) -> Any:
        return Rotten(path) if path == device else opened(path, *args, **how)

    monkeypatch.setattr(Path, "open", rotten)
    monkeypatch.setattr("node.system.install.check_image.BLOCK", MIB)
    with pytest.raises(errors.ImageTampered, match="At byte 2097152: Input/output error") as caught:
        await check(ground, plan)
    assert caught.value.element == "root file system"
    assert ground.reported == [(MIB, 3 * MIB), (2 * MIB, 3 * MIB)]


async def test_no_medium_is_no_image(ground: Ground, make_plan: MakePlan) -> None:
    plan = make_plan()
    ground.write("sys/block/dm-0/dm/uuid", "LVM-x\n")
    with pytest.raises(errors.ImageMissing):
        await check(ground, plan)


# --- from the recovery system, whose kernel line names no checksum --------------------------------

LINE = f"kairos.mode=installed roothash={ROOT_HASH} quiet".encode()


def keep_kernel(ground: Ground, data: bytes) -> None:
    """Change the installed system's kernel on the medium, together with its checksum."""
    path, sums = ground.medium / "kairos/kr_1.0.0.efi", ground.medium / "kairos/SHA256SUMS"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(data)
    sums.write_text(sums.read_text().replace(old, hashlib.sha256(data).hexdigest()))


@pytest.fixture
def recovery(ground: Ground) -> Ground:
    """As the ESP is after an installation: the recovery kernel in its place, no keys."""
    folder = ground.medium
    (folder / "EFI/Linux").mkdir(parents=True)
    (folder / "kairos/recovery.efi").rename(folder / "EFI/Linux/recovery.efi")
    (folder / "kairos/keys/db.auth").unlink()
    ground.write("usr/lib/kairos-register/pcr.pub", KEY)
    keep_kernel(ground, kernel(LINE))
    ground.plant_words(mode="recovery")
    return ground


async def test_the_recovery_system_finds_all_on_its_own_disk(
    recovery: Ground, make_plan: MakePlan
) -> None:
    await check(recovery, make_plan())
    assert staged(recovery)["boot/EFI/Linux/recovery.efi"] == FILES["recovery.efi"]
    assert staged(recovery)["boot/EFI/Linux/kr_1.0.0.efi"] == kernel(LINE)


async def test_a_stick_must_have_all_of_them(recovery: Ground, make_plan: MakePlan) -> None:
    recovery.plant_words(mode="live")
    with pytest.raises(errors.ImageTampered, match=r"recovery\.efi"):
        await check(recovery, make_plan())


async def test_the_recovery_system_notices_a_damaged_kernel(
    recovery: Ground, make_plan: MakePlan
) -> None:
    (recovery.medium / "kairos/kr_1.0.0.efi").write_bytes(b"damaged")
    with pytest.raises(errors.ImageTampered, match=r"kr_1\.0\.0\.efi"):
        await check(recovery, make_plan())


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (b"MZ evil", "cannot be read"),
        (kernel(LINE, key=b"another"), "signed by another key"),
        (kernel(LINE.replace(b"installed", b"recovery")), "not that of an installed system"),
        (kernel(LINE.replace(b"6f6f", b"6f70")), "starts another root"),
        (kernel(b"kairos.mode=installed"), "starts another root"),
    ],
    ids=["no kernel", "key", "mode", "root hash", "no root hash"],
)
async def test_the_recovery_system_refuses_a_kernel_that_was_changed_with_its_checksum(
    recovery: Ground, make_plan: MakePlan, changed: bytes, why: str
) -> None:
    keep_kernel(recovery, changed)
    with pytest.raises(errors.ImageTampered, match=why) as refused:
        await check(recovery, make_plan())
    assert refused.value.element == "kairos/kr_1.0.0.efi"


async def test_the_recovery_system_refuses_a_kernel_that_no_known_key_signed(
    recovery: Ground, make_plan: MakePlan
) -> None:
    """With a copy of our policy key and our line: what is left without Secure Boot."""
    keep_kernel(recovery, kernel(LINE, whole=True))
    await check(recovery, make_plan())  # the control: nothing but the firmware's keys tells
    recovery.write(f"sys/firmware/efi/efivars/SecureBoot-{EFI_GLOBAL}", b"\6\0\0\0\1")
    with pytest.raises(errors.ImageTampered, match="no signature that fits"):
        await check(recovery, make_plan())


# --- what was booted ----------------------------------------------------------------------------


def test_a_second_stick_with_the_same_labels_is_not_ours(ground: Ground) -> None:
    ground.plant_parts("sda", ("KR_LIVE", "kr_live", "kr_live_v"))
    found = booted(ground.root)
    assert found is not None
    assert (found.disk, str(found.data), str(found.hashes)) == ("vdb", "/dev/vdb2", "/dev/vdb3")


def test_the_medium_is_mounted_read_only_once(ground: Ground) -> None:
    assert medium.mounted(ground.root, ground.programs) == ground.medium
    (call,) = ground.programs.called("mount")
    assert call[1:5] == ("--types", "vfat", "--options", "ro,nodev,nosuid,noexec")
    assert call[5] == "/dev/vdb1"


def test_who_may_not_mount_has_no_image(ground: Ground) -> None:
    ground.programs.answers["mount"] = Result(32, b"", b"mount: must be superuser\n")
    assert medium.image(ground.root, ground.programs) is None
    shutil.rmtree(ground.root / "run")
    ground.write("run", b"not a folder")
    assert medium.image(ground.root, ground.programs) is None


def test_a_medium_that_is_mounted_is_used_where_it_is(ground: Ground) -> None:
    number = (ground.root / "sys/block/vdb/vdb1/dev").read_text().strip()
    line = f"30 1 {number} / /boot rw - vfat /dev/vdb1 rw\n"
    ground.write("proc/self/mountinfo", line)
    assert medium.mounted(ground.root, ground.programs) == ground.root / "boot"
    assert not ground.programs.calls


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1.0\nLabel=x"},
        {"version": "a/b"},
        {"version": "x" * 27},
        {"version": None},
        {"version": ""},
    ],
)
def test_an_image_whose_version_is_no_label_is_none(change: dict[str, object]) -> None:
    assert medium.image_in(json.dumps({**IMAGE, **change}).encode()) is None
    assert medium.image_in(json.dumps(IMAGE).encode()) is not None


@pytest.mark.parametrize("sizes", [None, [], {"root": -1}, {"root": True}, {"root": 2**60}])
def test_sizes_that_are_none_count_as_unknown(sizes: object) -> None:
    found = medium.image_in(json.dumps({**IMAGE, "sizes": sizes}).encode())
    assert found is not None
    assert found.root == 0


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"[" * 100_000])
def test_what_is_no_image_file(data: bytes) -> None:
    assert medium.image_in(data) is None


async def test_what_was_checked_ahead_is_not_read_again(
    ground: Ground, make_plan: MakePlan
) -> None:
    doors, plan = ground.doors, make_plan()
    await check_ahead(doors)
    before = staged(ground)
    shutil.rmtree(ground.medium)
    handler: Handler = check_image(doors)
    await handler(step_of(plan), ground.work(plan))
    assert staged(ground) == before
    assert ground.reported == []
    with pytest.raises(errors.KnownError):
        await check(ground, plan)  # the control: what nobody checked has to be there


async def test_what_is_wrong_ahead_is_told_when_it_is_asked_for(
    ground: Ground, make_plan: MakePlan
) -> None:
    doors, plan = ground.doors, make_plan()
    (ground.medium / "kairos/recovery.efi").write_bytes(b"MZ another")
    await check_ahead(doors)
    handler: Handler = check_image(doors)
    with pytest.raises(errors.ImageTampered, match=r"recovery\.efi"):
        await handler(step_of(plan), ground.work(plan))


async def test_a_plan_for_another_image_is_refused_ahead_or_not(
    ground: Ground, make_plan: MakePlan
) -> None:
    doors, plan = ground.doors, make_plan()
    await check_ahead(doors)
    handler: Handler = check_image(doors)
    with pytest.raises(errors.ImageTampered, match="the plan is for 9"):
        await handler(replace(step_of(plan), version="9"), ground.work(plan))
