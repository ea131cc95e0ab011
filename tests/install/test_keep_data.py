"""An installation that keeps the data of the one before: real LUKS volumes, cut anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio

from node.datasteps import CheckData, KeepData
from node.execute import Work
from node.plan.install import plan_install
from node.plan.repart import Sources, command, definitions
from node.recoverykey import RecoveryKey
from node.steps import Plan, WriteDisk
from node.system import unlocking
from node.system.install.doors import Doors
from node.system.install.keep_data import check_data, keep_data
from node.system.keyfile import DATA_KEY, held, hold
from node.testing.installed import DONE, FAILED, InstalledMachine
from node.testing.locksmith import DEVICES, Killed, Locksmith, possible
from pairing import errors
from pairing.config.document import Document, from_plain
from pairing.config.problem import Mark
from pairing.facts import Disk
from pairing.process import Result

from .conftest import FACTS

TOKENS = Path(__file__).parents[1] / "data/volumes/tpm2.json"
NEW, OLD = RecoveryKey(bytes(range(32))), RecoveryKey(bytes(range(1, 33)))
CHECK = CheckData(disk="/dev/vda", volume="KR_PERSISTENT", encrypted=True)
KEEP = KeepData(
    disk="/dev/vda",
    config="KR_OEM",
    volume="KR_PERSISTENT",
    encrypted=True,
    tpm=True,
    pcrs=(7,),
    signed_pcrs=(11,),
)
PAIR = "run/kairos-register/data/.kairos/pair"


@dataclass
class Kept:
    """A machine in recovery whose config was wiped and whose data was kept."""

    smith: Locksmith
    kind: str = "crypto_LUKS"

    @property
    def doors(self) -> Doors:
        return Doors(run=self.smith.run, root=self.smith.root)

    @property
    def work(self) -> Work:
        plan = Plan(
            kind="reinstall",
            disk=Disk(path="/dev/vda", size=2**33),
            encryption="tpm2" if KEEP.encrypted else "none",
            steps=(KEEP,),
            release="r",
        )
        return Work(plan, lambda done, total: None, print, print, NEW)

    async def keep(self, step: KeepData = KEEP) -> None:
        await keep_data(self.doors)(step, self.work)

    async def check(self, step: CheckData = CHECK) -> None:
        await check_data(self.doors)(step, self.work)

    def hold(self, key: RecoveryKey = OLD) -> None:
        hold(self.smith.root, self.doors.own, DATA_KEY, key)

    def opens(self, key: RecoveryKey) -> list[bool]:
        return self.smith.opens(key.passphrase)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Kept]:
    if not possible():
        pytest.skip("cryptsetup is not installed")

    def made(name: str = "m") -> Kept:
        machine = InstalledMachine(tmp_path / name)
        token = next(iter(json.loads(TOKENS.read_text())["tokens"].values()))
        kept = Kept(Locksmith(machine, key=OLD, token=token))

        def blkid(argv: Sequence[str], stdin: bytes) -> Result:
            return Result(0, f"{kept.kind}\n".encode(), b"")

        def umount(argv: Sequence[str], stdin: bytes) -> Result:
            lines = table.read_text().splitlines(keepends=True)
            where = argv[-1].removeprefix(str(machine.root))
            left = [line for line in lines if line.split()[4] != where]
            table.write_text("".join(left))
            return DONE if left != lines else FAILED

        def mount(argv: Sequence[str], stdin: bytes) -> Result:
            where = argv[-1].removeprefix(str(machine.root))
            if where in machine.mounted:
                return Result(32, b"", b"already mounted")
            with table.open("a") as file:
                file.write(f"30 22 253:7 / {where} rw - ext4 {argv[-2]} rw\n")
            return DONE

        table = machine.root / "proc/self/mountinfo"
        machine.programs |= {
            "blkid": blkid,
            "mkfs.ext4": lambda argv, stdin: DONE,
            "e2fsck": lambda argv, stdin: DONE,
            "mount": mount,
            "umount": umount,
            "clevis": lambda argv, stdin: DONE,
        }
        machine.write(PAIR, b"p" * 32)
        return kept

    return made


async def test_the_data_opens_with_the_new_key_and_no_other(make: Callable[[], Kept]) -> None:
    kept = make()
    kept.hold()
    await kept.check()
    await kept.keep()
    assert kept.opens(NEW) == [True, True]
    assert kept.opens(OLD) == [False, False]
    assert kept.smith.slots() == [1, 1]
    assert not (kept.smith.root / PAIR).exists(), "tied to the new config at its first start"
    assert held(kept.doors.own, DATA_KEY) is None, "the old key is forgotten"
    made = [argv[-1] for argv in kept.smith.machine.ran("mkfs.ext4")]
    assert made == ["/dev/mapper/kr_filled"], "the config's volume, not the data's"


async def test_a_cut_leaves_a_key_that_an_operator_holds_and_the_next_run_ends(
    make: Callable[[str], Kept],
) -> None:
    for cut in range(1, 30):
        kept = make(f"cut-{cut}")
        kept.hold()
        kept.smith.cut = cut
        try:
            await kept.keep()
            break
        except Killed:
            pass
        kept.smith.cut = 0
        assert kept.opens(OLD)[1] or kept.opens(NEW)[1], f"cut {cut}: the data is lost"
        await kept.keep()
        assert kept.opens(NEW) == [True, True], f"cut {cut}"
        assert kept.opens(OLD)[1] is False, f"cut {cut}"
    assert cut > 10


@pytest.mark.parametrize("program", ["mkfs.ext4", "e2fsck", "mount"])
async def test_one_that_is_stopped_leaves_nothing_open(
    make: Callable[[], Kept], program: str
) -> None:
    kept = make()
    kept.hold()
    real = kept.smith.machine.programs[program]
    with trio.CancelScope() as scope:

        def stopped(argv: Sequence[str], stdin: bytes) -> Result:
            trio.from_thread.run_sync(scope.cancel)
            return real(argv, stdin)

        kept.smith.machine.programs[program] = stopped
        await kept.keep()
    assert scope.cancelled_caught
    assert list((kept.smith.root / "dev/mapper").iterdir()) == []
    assert kept.smith.machine.mounted == ["/run"]


@pytest.mark.parametrize(
    ("key", "kind", "why"),
    [
        (None, "crypto_LUKS", "not here"),
        (NEW, "crypto_LUKS", "does not open it"),
        (OLD, "ext4", "another kind"),
        (OLD, "", "holds nothing"),
    ],
)
async def test_refused_before_anything_is_written(
    make: Callable[[], Kept], key: RecoveryKey | None, kind: str, why: str
) -> None:
    kept = make()
    kept.kind = kind
    if key is not None:
        kept.hold(key)
    before = [kept.smith.at(device).read_bytes() for device in DEVICES]
    with pytest.raises(errors.DataNotOpen, match=why):
        await kept.check()
    assert [kept.smith.at(device).read_bytes() for device in DEVICES] == before


async def test_data_that_was_never_encrypted_is_untied_only(make: Callable[[], Kept]) -> None:
    kept = make()
    kept.kind = "ext4"
    await kept.check(replace(CHECK, encrypted=False))
    await kept.keep(replace(KEEP, encrypted=False, tpm=False))
    assert not (kept.smith.root / PAIR).exists()
    assert [argv[-1] for argv in kept.smith.machine.ran("mkfs.ext4")] == ["/dev/vda2"]


def test_who_opens_the_data_in_recovery_leaves_its_key_in_memory(
    make: Callable[[], Kept],
) -> None:
    kept = make()
    unlocking.keep_key(OLD, kept.smith.root)
    found = held(kept.doors.own, DATA_KEY)
    assert found is not None
    assert found.passphrase == OLD.passphrase


# --- the plan -----------------------------------------------------------------------------------


def plan(install: dict[str, object], *, recovery: bool = True) -> Plan:
    document = Document(from_plain({"hostname": "h", "install": install}, Mark("c.yaml", 1, 1)))
    disk = replace(FACTS.disks[0], content=("gpt", "crypto_LUKS"))
    facts = replace(FACTS, disks=(disk,))
    if recovery:
        disk = replace(disk, booted=True, in_use=True)
        facts = replace(facts, mode="recovery", disks=(disk,))
    return plan_install(facts, document)


def test_both_volumes_stay_where_they_are_and_the_check_comes_first() -> None:
    made = plan({"keep_data": True})
    names = [step.name for step in made.steps]
    assert names.index("check-data") < names.index("escrow-key") < names.index("clear-boot")
    assert names.index("write-disk") < names.index("keep-data") < names.index("prove-key")
    assert "make-volumes" not in names, "nothing copies a header over the data"
    (step,) = [step for step in made.steps if isinstance(step, WriteDisk)]
    sources = Sources(
        root=Path("r"), hashes=Path("h"), boot=Path("b"), kept=Path("k"), volumes=Path("v")
    )
    told = definitions(step, sources)
    for name in ("20-kr-oem.conf", "90-kr-persistent.conf"):
        assert told[name] == "[Partition]\nType=linux-generic\n", "not formatted, not removed"
    kinds = {part.kind for part in step.partitions if part.kept}
    assert not kinds & {part.kind for part in step.partitions if not part.kept}
    argv = command(step, folder=Path("d"))
    assert "--factory-reset=yes" in argv
    assert any("stays" in warning for warning in made.warnings)
    assert not any("is lost:" in warning for warning in made.warnings)


@pytest.mark.parametrize(
    ("install", "recovery", "why"),
    [
        ({"keep_data": True, "wipe": True}, True, "one of both"),
        ({"keep_data": True, "device": FACTS.disks[0].path}, False, "no data to keep"),
        ({}, True, "install.keep_data: true"),
    ],
)
def test_refused(install: dict[str, object], recovery: bool, why: str) -> None:
    with pytest.raises(errors.ConfigNotForThisMachine, match=why):
        plan(install, recovery=recovery)


def test_without_it_nothing_changes() -> None:
    names = [step.name for step in plan({"wipe": True}).steps]
    assert not {"check-data", "keep-data"} & set(names)
