"""Keys that a reset destroys where cryptsetup cannot: what names them is written over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from node import reset
from node.plan.install import LUKS_HEADER
from node.plan.reset import Data
from node.testing.installed import FAILED
from pairing import errors
from pairing.process import Result

from .test_reset import Node, reset_here

DEVICES = ("/dev/vda2", "/dev/vda9")
DATA = b"what is behind the header"


def damaged(root: Path, *devices: str, left: bool = False) -> Node:
    """A machine with these headers damaged; `left`: cryptsetup says that it has erased them."""
    node = Node(root)
    real = node.cryptsetup

    def cryptsetup(argv: Sequence[str], stdin: bytes) -> Result:
        if argv[-1] not in devices:
            return real(argv, stdin)
        if left and argv[1] == "erase":
            return Result(0, b"", b"")
        return real(argv, stdin) if left else FAILED

    node.machine.programs["cryptsetup"] = cryptsetup
    for device in DEVICES:
        node.machine.write(device.lstrip("/"), b"k" * LUKS_HEADER + DATA)
    return node


@pytest.mark.parametrize("left", [False, True], ids=["refused", "a slot is left"])
@pytest.mark.parametrize("device", DEVICES)
def test_a_header_that_cryptsetup_cannot_erase_is_written_over(
    tmp_path: Path, device: str, left: bool
) -> None:
    node = damaged(tmp_path, device, left=left)
    reset_here(node, Data.WIPE)
    written = (tmp_path / device.lstrip("/")).read_bytes()
    assert written[:LUKS_HEADER] == bytes(LUKS_HEADER)
    assert written[LUKS_HEADER:] == DATA
    (other,) = set(DEVICES) - {device}
    assert node.slots[other] == {}
    assert (tmp_path / other.lstrip("/")).read_bytes().startswith(b"k"), "erased as ever"


def test_a_device_that_is_smaller_than_a_header_grows_no_larger(tmp_path: Path) -> None:
    node = damaged(tmp_path, DEVICES[0])
    node.machine.write("dev/vda2", b"kkk")
    reset_here(node, Data.WIPE)
    assert (tmp_path / "dev/vda2").read_bytes() == bytes(3)


@pytest.mark.parametrize("device", DEVICES)
def test_a_volume_that_cannot_be_written_leaves_no_key_of_the_other(
    tmp_path: Path, device: str
) -> None:
    node = damaged(tmp_path, device)
    (tmp_path / device.lstrip("/")).unlink()
    with pytest.raises(errors.ResetUnfinished, match="No such file"):
        reset_here(node, Data.WIPE)
    (other,) = set(DEVICES) - {device}
    assert node.slots[other] == {}
    node.in_recovery()
    with pytest.raises(errors.ResetUnfinished):
        reset.finish(tmp_path, node.run, lambda line: None)
    assert not node.wiped, "it is not told as destroyed"
    assert (tmp_path / "boot/kairos/reset.json").exists(), "the next start tries again"


def test_both_that_cannot_be_written_are_told_by_the_first(tmp_path: Path) -> None:
    node = damaged(tmp_path, *DEVICES)
    for device in DEVICES:
        (tmp_path / device.lstrip("/")).unlink()
    with pytest.raises(errors.ResetUnfinished, match="vda2"):
        reset_here(node, Data.WIPE)


@pytest.mark.parametrize("mark", ["", "[]", "[" * 100_000], ids=lambda mark: mark[:2])
def test_a_mark_that_somebody_wrote_never_wipes(tmp_path: Path, mark: str) -> None:
    node = Node(tmp_path)
    for path in (tmp_path / "boot/EFI/Linux").glob("kr_*"):
        path.unlink()
    node.in_recovery()
    node.machine.write("boot/kairos/reset.json", mark)
    assert reset.finish(tmp_path, node.run, lambda line: None)
    assert node.slots[DEVICES[1]], "the data's keys are there"
