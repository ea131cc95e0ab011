"""Back to pairing: the plan's promises, and a power cut after each step."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from node import reset
from node.plan.reset import (
    CheckRecovery,
    Data,
    EraseKeys,
    MarkReset,
    ResetFacts,
    UnmarkReset,
    VolumeFound,
    WipeVolume,
    plan_reset,
)
from node.plan.slots import entries
from node.plan.upgrade import RemoveEntry, Slot
from node.system import resetting
from node.testing.installed import DONE, FAILED, LABELS, InstalledMachine
from pairing import errors
from pairing.facts import Facts
from pairing.process import Result

NAMES = ("kr_1.0.0.efi", "kr_1.1.0.efi", "kr_1.2.0+0-2.efi", "recovery.efi")
VOLUMES = tuple(
    VolumeFound(label=label, device=f"/dev/vda{number}", encrypted=True, in_use=True)
    for label, number in (("KR_OEM", 2), ("KR_PERSISTENT", 9))
)
FACTS = ResetFacts(
    mode="installed",
    version="1.1.0",
    entries=entries(NAMES),
    slots=tuple(Slot(device=f"/dev/vda{n}", label=label) for n, label in enumerate(LABELS, 1)),
    volumes=VOLUMES,
    recovery="/dev/vda7",
    recovery_hashes="/dev/vda8",
    roothash="ab" * 32,
)


# --- the plan -----------------------------------------------------------------------------------


def test_the_running_version_goes_last_and_no_key_before_it() -> None:
    plan = plan_reset(FACTS, Data.WIPE)
    kinds = [type(step) for step in plan.steps]
    removed = [step.entry for step in plan.steps if isinstance(step, RemoveEntry)]
    assert removed == ["kr_1.2.0+0-2.efi", "kr_1.0.0.efi", "kr_1.1.0.efi"]
    assert kinds[:2] == [CheckRecovery, MarkReset]
    last_entry = max(n for n, kind in enumerate(kinds) if kind is RemoveEntry)
    assert all(n > last_entry for n, kind in enumerate(kinds) if kind is EraseKeys)
    assert plan.unfinished, "an installed system cannot take its own volumes away"
    assert not [step for step in plan.steps if isinstance(step, (WipeVolume, UnmarkReset))]


def test_in_recovery_with_closed_volumes_all_of_it_is_done() -> None:
    closed = tuple(replace(one, in_use=False) for one in VOLUMES)
    plan = plan_reset(replace(FACTS, mode="recovery", volumes=closed), Data.WIPE)
    assert not plan.unfinished
    assert isinstance(plan.steps[-1], UnmarkReset)
    assert [s.label for s in plan.steps if isinstance(s, WipeVolume)] == ["KR_OEM", "KR_PERSISTENT"]
    opened = plan_reset(replace(FACTS, mode="recovery"), Data.WIPE)
    assert opened.unfinished, "a repair session has them open"


def test_what_is_to_be_kept_is_not_touched() -> None:
    closed = tuple(replace(one, in_use=False) for one in VOLUMES)
    plan = plan_reset(replace(FACTS, mode="recovery", volumes=closed), Data.KEEP)
    touched = {s.label for s in plan.steps if isinstance(s, (WipeVolume, EraseKeys))}
    assert touched == {"KR_OEM"}
    assert "kairos/report.json" not in " ".join(plan.text), "its owner may still repair it"


def test_a_reset_that_began_to_wipe_is_not_turned_into_one_that_keeps() -> None:
    assert plan_reset(replace(FACTS, begun=Data.WIPE, entries=()), Data.KEEP).data is Data.WIPE


def test_the_mark_of_a_reset_that_never_came_to_be_wipes_nothing_later() -> None:
    plan = plan_reset(replace(FACTS, begun=Data.WIPE), Data.KEEP)
    assert plan.data is Data.KEEP
    assert [step.label for step in plan.steps if isinstance(step, EraseKeys)] == ["KR_OEM"]


def test_what_was_never_encrypted_is_told() -> None:
    plain = tuple(replace(one, encrypted=False) for one in VOLUMES)
    plan = plan_reset(replace(FACTS, volumes=plain), Data.WIPE)
    assert len(plan.warnings) == 2
    assert not [step for step in plan.steps if isinstance(step, EraseKeys)]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"mode": "live"}, "stick"),
        ({"recovery": ""}, "no recovery system"),
        ({"roothash": ""}, "no recovery system"),
        ({"volumes": ()}, "no volumes"),
    ],
)
def test_refused(changed: dict[str, object], why: str) -> None:
    with pytest.raises(errors.ResetRefused, match=why):
        plan_reset(replace(FACTS, **changed), Data.WIPE)  # type: ignore[arg-type]


# --- carried out, on a machine of files ---------------------------------------------------------


class Cut(BaseException):
    """The power is gone."""


def kernel(line: str) -> bytes:
    """A kernel image with this line."""
    data = line.encode()
    start, place = 0x40, 0x40 + 24 + 40
    table = struct.pack("<8s4I16x", b".cmdline", len(data), 0, len(data), place)
    head = b"MZ" + bytes(0x3A) + struct.pack("<I", start)
    return head + b"PE\0\0" + struct.pack("<HH12xHH", 0x8664, 1, 0, 0) + table + data


class Node:
    """An encrypted machine of files, in its installed or in its recovery system."""

    def __init__(self, root: Path) -> None:
        self.slots: dict[str, dict[str, object]] = {
            device: {"0": {}, "1": {}} for device in ("/dev/vda2", "/dev/vda9")
        }
        self.wiped: set[str] = set()
        self.cleared: list[str] = []
        self.left = 10**6
        headers = {"KR_OEM": b"{}", "KR_PERSISTENT": b"{}"}
        self.machine = machine = InstalledMachine(root, headers=headers)
        machine.write("sys/block/vda/vda1/dev", "254:1\n")
        for name in NAMES[:-1]:
            machine.write(f"boot/EFI/Linux/{name}", "k")
        line = f"roothash={'ab' * 32} kairos.mode=recovery quiet"
        machine.write("boot/EFI/Linux/recovery.efi", kernel(line))
        for name in ("report.json", "escrow.json", "trial.json"):
            machine.write(f"boot/kairos/{name}", "{}")
        machine.write("boot/EFI/systemd/systemd-bootx64.efi", "loader")
        self.whole = True
        machine.programs |= {
            "cryptsetup": self.cryptsetup,
            "veritysetup": lambda argv, stdin: DONE if self.whole else FAILED,
            "blkdiscard": lambda argv, stdin: FAILED,
            "wipefs": self.wipefs,
            "sfdisk": self.sfdisk,
            "systemctl": lambda argv, stdin: DONE,
            "mount": self.mount,
            "umount": self.umount,
        }
        self.in_installed()

    @property
    def root(self) -> Path:
        return self.machine.root

    def in_installed(self) -> None:
        machine = self.machine
        machine.restart()
        line = (machine.root / "proc/cmdline").read_text()
        machine.write("proc/cmdline", line.replace("mode=recovery", "mode=installed"))
        for name in ("kr_oem", "kr_persistent"):
            machine.write(f"dev/mapper/{name}", "")
        with self.table.open("a") as file:
            for where in ("/boot", "/oem", "/usr/local"):
                file.write(f"30 22 0:30 / {where} rw - x x rw\n")

    def in_recovery(self) -> None:
        machine = self.machine
        machine.restart()
        line = (machine.root / "proc/cmdline").read_text()
        machine.write("proc/cmdline", line.replace("mode=installed", "mode=recovery"))

    @property
    def starts(self) -> str:
        """What the loader starts."""
        found = entries(path.name for path in (self.root / "boot/EFI/Linux").iterdir())
        return "installed" if any(one.blessed for one in found) else "recovery"

    def run(self, argv: Sequence[str], *, seconds: float, **more: object) -> Result:
        self.tick()
        return self.machine.run(argv, seconds=seconds, **more)  # type: ignore[arg-type]

    def tick(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cut

    def cryptsetup(self, argv: Sequence[str], stdin: bytes) -> Result:
        device = argv[-1]
        if argv[1] == "erase":
            self.slots[device].clear()
            return DONE
        assert argv[1] == "luksDump"
        return Result(0, json.dumps({"keyslots": self.slots[device]}).encode(), b"")

    def wipefs(self, argv: Sequence[str], stdin: bytes) -> Result:
        label = LABELS[int(argv[-1].removeprefix("/dev/vda")) - 1]
        self.machine.headers = {k: v for k, v in self.machine.headers.items() if k != label}
        self.wiped.add(argv[-1])
        return DONE

    def mount(self, argv: Sequence[str], stdin: bytes) -> Result:
        """The boot partition, which is never mounted in two ways at once."""
        assert argv[-2] == "/dev/vda1"
        where = argv[-1].removeprefix(str(self.root))
        kind = "ro" if "ro" in argv[4].split(",") else "rw"
        assert all(line.split()[5] == kind for line in self.mounts()), "the kernel refuses"
        with self.table.open("a") as table:
            table.write(f"30 22 254:1 / {where} {kind} - vfat /dev/vda1 {kind}\n")
        if where != "/boot":
            (self.root / where.lstrip("/")).rmdir()
            (self.root / where.lstrip("/")).symlink_to(self.root / "boot")
        return DONE

    def umount(self, argv: Sequence[str], stdin: bytes) -> Result:
        where = argv[-1]
        lines = self.table.read_text().splitlines(keepends=True)
        self.table.write_text("".join(one for one in lines if one.split()[4] != where))
        if where != "/boot":
            (self.root / where.lstrip("/")).unlink()
        return DONE

    @property
    def table(self) -> Path:
        return self.root / "proc/self/mountinfo"

    def mounts(self) -> list[str]:
        """Where the boot partition is mounted."""
        return [line for line in self.table.read_text().splitlines() if "/dev/vda1" in line]

    def sfdisk(self, argv: Sequence[str], stdin: bytes) -> Result:
        self.cleared.append(argv[-2])
        return DONE


def reset_here(node: Node, wanted: Data) -> None:
    plan = reset.prepare(wanted, node.root, node.run)
    reset.reset(plan, node.root, node.run, lambda line: None)


def test_wiped_from_the_installed_system_no_key_is_left_before_the_restart(tmp_path: Path) -> None:
    node = Node(tmp_path)
    reset_here(node, Data.WIPE)
    assert node.slots == {"/dev/vda2": {}, "/dev/vda9": {}}
    assert node.starts == "recovery"
    assert not (tmp_path / "boot/kairos/report.json").exists(), "nobody owns it any more"
    assert not node.wiped, "they are in use"
    node.in_recovery()
    assert reset.finish(tmp_path, node.run, lambda line: None)
    assert node.wiped == {"/dev/vda2", "/dev/vda9"}
    assert node.cleared == ["3", "4"], "slots are free for the next installation"
    assert not reset.finish(tmp_path, node.run, lambda line: None), "once"


def test_kept_data_keeps_its_keys_and_its_owner(tmp_path: Path) -> None:
    node = Node(tmp_path)
    reset_here(node, Data.KEEP)
    node.in_recovery()
    assert reset.finish(tmp_path, node.run, lambda line: None)
    assert node.slots == {"/dev/vda2": {}, "/dev/vda9": {"0": {}, "1": {}}}
    assert node.wiped == {"/dev/vda2"}
    assert (tmp_path / "boot/kairos/report.json").exists()
    assert (tmp_path / "boot/kairos/escrow.json").exists()


def test_a_damaged_recovery_system_is_found_before_anything_is_changed(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.whole = False
    before = sorted((tmp_path / "boot").rglob("*"))
    with pytest.raises(errors.ResetRefused, match="damaged"):
        reset_here(node, Data.WIPE)
    assert sorted((tmp_path / "boot").rglob("*")) == before
    assert all(node.slots.values())
    node.whole = True
    node.machine.write("boot/kairos/SHA256SUMS", f"{'00' * 32}  recovery.efi\n")
    with pytest.raises(errors.ResetRefused, match="kernel of its recovery"):
        reset_here(node, Data.WIPE)


def cuts(monkeypatch: pytest.MonkeyPatch, node: Node, wanted: Data, after: int) -> bool:
    """Reset with the power cut after so many effects; False if it came to its end."""
    for name in ("remove_entry", "write_durably", "flush_volume"):
        real = getattr(resetting, name)

        def cut(*args: object, real: Callable[..., object] = real) -> object:
            node.tick()
            return real(*args)

        monkeypatch.setattr(resetting, name, cut)
    node.left = after
    try:
        reset_here(node, wanted)
    except Cut:
        return True
    finally:
        monkeypatch.undo()
        node.left = 10**6
    return False


@pytest.mark.parametrize("wanted", list(Data))
def test_a_power_cut_leaves_the_old_system_or_one_that_shows_a_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Data
) -> None:
    seen: set[str] = set()
    for after in range(200):
        node = Node(tmp_path / str(after))
        ended = not cuts(monkeypatch, node, wanted, after)
        seen.add(node.starts)
        if node.starts == "installed":
            assert all(node.slots.values()), f"cut {after}: it starts, but its keys are gone"
            assert (node.root / "boot/kairos/report.json").exists()
            node.in_recovery()  # weeks later, by choice
            assert not reset.finish(node.root, node.run, lambda line: None)
            assert all(node.slots.values()), f"cut {after}: a reset that never came to be"
            node.in_installed()
            reset_here(node, wanted)  # the operator says it again
        node.in_recovery()
        assert reset.finish(node.root, node.run, lambda line: None), f"cut {after}"
        assert node.slots["/dev/vda2"] == {}
        assert bool(node.slots["/dev/vda9"]) == (wanted is Data.KEEP)
        assert not (node.root / "boot/kairos/reset.json").exists()
        if ended:
            break
    assert ended
    assert seen == {"installed", "recovery"}


def test_the_recovery_system_looks_when_the_reset_is_finished(tmp_path: Path) -> None:
    node = Node(tmp_path)
    reset_here(node, Data.WIPE)
    node.in_recovery()

    def look() -> Facts:
        assert node.wiped
        return Facts(serial="S")

    assert reset.finish_first(look, tmp_path, node.run).serial == "S"


def test_a_reset_that_cannot_be_finished_keeps_no_code_from_being_shown(tmp_path: Path) -> None:
    node = Node(tmp_path)
    reset_here(node, Data.WIPE)
    node.in_recovery()
    node.machine.programs["wipefs"] = lambda argv, stdin: FAILED
    assert reset.finish_first(lambda: Facts(serial="S"), tmp_path, node.run).serial == "S"
    with pytest.raises(errors.ResetUnfinished):
        reset.finish(tmp_path, node.run, lambda line: None)
    assert (tmp_path / "boot/kairos/reset.json").exists(), "the next start tries again"


def test_a_damaged_mark_never_wipes(tmp_path: Path) -> None:
    node = Node(tmp_path)
    for path in (tmp_path / "boot/EFI/Linux").glob("kr_*"):
        path.unlink()
    node.in_recovery()
    node.machine.write("boot/kairos/reset.json", "{")
    reset.finish(tmp_path, node.run, lambda line: None)
    assert node.slots["/dev/vda9"], "the data's keys are there"


def test_a_recovery_system_without_a_mark_opens_nothing_for_writing(tmp_path: Path) -> None:
    """Who owns the machine is read from the boot partition too, at any moment, read-only."""
    node = Node(tmp_path)
    node.in_recovery()
    assert not reset.finish(tmp_path, node.run, lambda line: None)
    assert [line.split()[5] for line in node.mounts()] == ["ro"]


@pytest.mark.parametrize("opened", [False, True], ids=["not yet", "read-only"])
def test_what_systemd_mounts_on_demand_is_not_taken_for_the_boot_partition(
    tmp_path: Path, opened: bool
) -> None:
    node = Node(tmp_path)
    node.in_recovery()
    with node.table.open("a") as table:
        table.write("28 22 0:40 / /boot rw - autofs systemd-1 rw\n")
        if opened:
            table.write("30 22 254:1 / /boot ro - vfat /dev/vda1 ro\n")

    def systemctl(argv: Sequence[str], stdin: bytes) -> Result:
        assert argv[1] == "stop"
        return node.umount(("umount", "/boot"), b"")

    node.machine.programs["systemctl"] = systemctl
    plan = reset.prepare(Data.WIPE, tmp_path, node.run)
    assert plan.steps
    assert ("systemctl", "stop", "boot.automount") in node.machine.asked
    assert [argv[-1] for argv in node.machine.ran("mount")] == ["/boot"]
