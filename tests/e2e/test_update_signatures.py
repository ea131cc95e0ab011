"""What an update's signature keeps out: the real gpgv and systemd-sysupdate of an image's own root,
on a disk that is a file. Two of the cases are tried in a machine too: `test_upgrade.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from node.image import signing, trees
from node.image.media import updates
from node.image.rooms import WORK, Room
from node.image.store import Store, cache_folder
from node.plan.slots import ROOT, VERITY, entries
from node.plan.upgrade import KINDS, WriteSlot
from node.system.updatesource import KEYRING, Folder, Signed
from node.system.upgrading import ENTRIES, Upgrader
from node.testing.images import RECIPE
from node.testing.installed import InstalledMachine
from node.testing.kernels import kernel
from node.upgrade import carry_out, prepare, run_steps
from pairing import errors
from pairing.process import Result
from tests.e2e.conftest import ARTEFACTS, fresh

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

MIB = 2**20
TABLE = """label: gpt
size=4M, type=uefi, name=KR_ESP
size=4M, type=linux, name=KR_OEM
size=8M, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, name=kr_root_1.0.0
size=4M, type=2c7357ed-ebd2-46d9-aec1-23d437ec2bf5, name=kr_verity_1.0.0
size=8M, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, name=_empty
size=4M, type=2c7357ed-ebd2-46d9-aec1-23d437ec2bf5, name=_empty
"""
RUNNING = (9 * MIB, 8 * MIB)
"""Offset and size of the running root: sfdisk begins at 1 MiB."""
IN_THE_ROOM = ("gpgv", "sfdisk", "/usr/lib/systemd/systemd-sysupdate")
ENTER = f'mount --bind {WORK}/{KEYRING} "/{KEYRING}"; exec "$@"'


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who makes updates: `keys` signs them."""

    tools: Room
    folder: Path
    keys: Path

    def publish(self, name: str, *versions: str, keys: Path | None = None) -> Path:
        """A folder with these versions, small ones, and their signed list."""
        folder = fresh(self.folder / name)
        for version in versions:
            for kind in KINDS:
                data = os.urandom(MIB)
                data = kernel() + data if kind == "efi" else data
                (folder / f"kr_{version}.{kind}").write_bytes(data)
        self.sign(folder, keys or self.keys)
        return folder

    def sign(self, folder: Path, keys: Path) -> None:
        updates.publish(self.tools, folder, fresh(self.folder / "work"), keys)

    def new_keys(self, name: str) -> Path:
        signing.make_keys(self.folder / name, self.tools, name)
        return self.folder / name


@dataclass(frozen=True, slots=True)
class Till:
    """A machine of files: its programs for updates are real ones, in a room of its own root."""

    machine: InstalledMachine
    room: Room
    disk: Path
    cut: float = 0.0
    """Seconds after which systemd-sysupdate is killed; 0: never."""

    @property
    def root(self) -> Path:
        return self.machine.root

    def run(self, argv: Sequence[str], *, seconds: float, **more: object) -> Result:
        """See `node.system.door.Door`."""
        if argv[0] == "blkid":
            self.machine.labels = self.labels()
        if argv[0] not in IN_THE_ROOM:
            return self.machine.run(argv, seconds=seconds, **more)  # type: ignore[arg-type]
        for told in (self.root / "run").rglob("*.transfer"):
            text = told.read_text().replace("Path=/dev/vda", f"Path={self.disk}")
            told.write_text(text.replace(str(self.root), WORK))
        inside = [word.replace(str(self.root), WORK) for word in argv]
        inside = [str(self.disk) if word == "/dev/vda" else word for word in inside]
        if self.cut and inside[0].endswith("sysupdate"):
            inside = ["timeout", "--signal=KILL", f"{self.cut:g}", *inside]
        entered = ["sh", "-ec", ENTER, "sh", "sh", "-c", '"$@"; echo "status=$?"', "sh", *inside]
        said = self.room.run(entered, self.root, seconds=60)
        answer, _, status = said.stdout.rpartition(b"status=")
        return Result(int(status), answer, said.stderr)

    def labels(self) -> list[str]:
        argv = ["sfdisk", "--dump", str(self.disk)]
        lines = self.room.run(argv, self.root, seconds=60).text().splitlines()
        return [line.split('name="')[1].rstrip('"') for line in lines if 'name="' in line]

    def entries(self) -> list[str]:
        return sorted(path.name for path in (self.root / ENTRIES).iterdir())

    def running_root(self) -> bytes:
        offset, size = RUNNING
        with (self.root / "disk.img").open("rb") as file:
            file.seek(offset)
            return file.read(size)


@pytest.fixture(scope="module")
def publisher() -> Publisher:
    tools = trees.tool_room(RECIPE.base)
    made = Publisher(tools, fresh(ARTEFACTS / "signatures"), ARTEFACTS / "signatures/ours")
    made.new_keys("ours")
    return made


@pytest.fixture(scope="module")
def room() -> Room:
    return Room(trees.tree_part(RECIPE, Store(cache_folder())) / "tree")


@pytest.fixture
def till(tmp_path: Path, publisher: Publisher, room: Room) -> Till:
    names = [line.rpartition("name=")[2] for line in TABLE.splitlines()[1:]]
    machine = InstalledMachine(tmp_path / "till", labels=names)
    root = machine.root
    machine.write(f"{ENTRIES}/kr_1.0.0.efi", "k")
    machine.write(KEYRING, (publisher.keys / "update.pub").read_bytes())
    (root / "usr/local/.kairos").mkdir()
    with (root / "disk.img").open("wb") as disk:
        disk.truncate(48 * MIB)
        disk.seek(RUNNING[0])
        disk.write(b"running " * (RUNNING[1] // 8))
    made = Till(machine, room, Path(WORK, "disk.img"))
    argv = ["sfdisk", "--quiet", str(made.disk)]
    room.run(argv, root, seconds=60, stdin=TABLE.encode())
    return made


def serve(till: Till, folder: Path) -> Path:
    """The folder as the machine sees it, such as a mounted stick."""
    return Path(shutil.copytree(folder, till.root / "stick"))


def test_a_signed_update_is_installed(till: Till, publisher: Publisher) -> None:
    """The control: everything below differs from this in one thing."""
    before = till.running_root()
    source = serve(till, publisher.publish("good", "1.1.0"))
    carry_out(prepare(str(source), "", till.root, till.run), lambda line: None)
    assert till.labels()[2:] == [
        *("kr_root_1.0.0", "kr_verity_1.0.0", "kr_root_1.1.0", "kr_verity_1.1.0")
    ]
    assert till.entries() == ["kr_1.0.0.efi", "kr_1.1.0+3-0.efi"]
    assert till.running_root() == before


def without_signature(folder: Path, publisher: Publisher) -> None:
    (folder / "SHA256SUMS.gpg").unlink()


def of_a_stranger(folder: Path, publisher: Publisher) -> None:
    publisher.sign(folder, publisher.new_keys("stranger"))


def with_another_list(folder: Path, publisher: Publisher) -> None:
    """An old version under a new name: the list was changed after it was signed."""
    for kind in KINDS:
        (folder / f"kr_1.1.0.{kind}").rename(folder / f"kr_9.9.9.{kind}")
    sums = folder / "SHA256SUMS"
    sums.write_text(sums.read_text().replace("1.1.0", "9.9.9"))


def with_the_signature_of_another_list(folder: Path, publisher: Publisher) -> None:
    other = publisher.publish("other", "1.2.0")
    shutil.copy(other / "SHA256SUMS.gpg", folder)


def with_a_changed_root(folder: Path, publisher: Publisher) -> None:
    with (folder / "kr_1.1.0.root").open("r+b") as file:
        file.seek(MIB // 2)
        file.write(b"changed")


def with_a_short_kernel(folder: Path, publisher: Publisher) -> None:
    os.truncate(folder / "kr_1.1.0.efi", MIB // 2)


def with_a_mixed_version(folder: Path, publisher: Publisher) -> None:
    """Root of one version, hashes of another: each signed, but not so."""
    other = publisher.publish("other", "1.1.0")
    shutil.copy(other / "kr_1.1.0.verity", folder)


Attack = Callable[[Path, Publisher], None]
OF_THE_LIST: Sequence[Attack] = (
    without_signature,
    of_a_stranger,
    with_another_list,
    with_the_signature_of_another_list,
)
OF_THE_FILES: Sequence[Attack] = (with_a_changed_root, with_a_short_kernel, with_a_mixed_version)
SAID: Mapping[Attack, str] = {
    without_signature: "Failed to retrieve signature file",
    of_a_stranger: "Signature verification failed",
    with_another_list: "Signature verification failed",
    with_the_signature_of_another_list: "Signature verification failed",
    with_a_changed_root: "file has been tampered with",
    with_a_short_kernel: "file has been tampered with",
    with_a_mixed_version: "file has been tampered with",
}


@pytest.mark.parametrize("attack", OF_THE_LIST)
def test_before_anything_is_changed_the_list_is_checked(
    till: Till, publisher: Publisher, attack: Attack
) -> None:
    source = serve(till, publisher.publish("attacked", "1.1.0"))
    attack(source, publisher)
    with pytest.raises(errors.UpgradeRefused):
        prepare(str(source), "", till.root, till.run)
    require_unchanged(till)


@pytest.mark.parametrize("attack", OF_THE_FILES)
def test_files_are_checked_against_the_list(
    till: Till, publisher: Publisher, attack: Attack
) -> None:
    source = serve(till, publisher.publish("attacked", "1.1.0"))
    attack(source, publisher)
    made = prepare(str(source), "", till.root, till.run)
    # Our own look is at the kernel; the rest is systemd's.
    ours = attack is with_a_short_kernel
    wrong = errors.UpgradeRefused if ours else errors.UpgradeFailed
    with pytest.raises(wrong, match="not the file of the signed list" if ours else SAID[attack]):
        carry_out(made, lambda line: None)
    require_unchanged(till)


@pytest.mark.parametrize("attack", [*OF_THE_LIST, *OF_THE_FILES])
def test_systemd_checks_all_of_it_itself(till: Till, publisher: Publisher, attack: Attack) -> None:
    """Without our own look at the list: it may have been exchanged since."""
    source = serve(till, publisher.publish("attacked", "1.1.0"))
    attack(source, publisher)
    version = "9.9.9" if attack is with_another_list else "1.1.0"
    with pytest.raises(errors.UpgradeFailed, match=SAID[attack]):
        write_blindly(till, source, version)
    require_unchanged(till)


def write_blindly(till: Till, source: Path, version: str) -> None:
    """Only systemd-sysupdate's part, as if everything before it had been passed."""
    base = f"file://{WORK}/{source.name}/"
    blind = Upgrader(till.root, till.run, Signed(Folder(source), {}), till.root / "room")
    step = WriteSlot(
        version=version, base=base, kernel=base, disk="/dev/vda", protected="1.0.0", tries=2
    )
    blind.write_slot(step)


def require_unchanged(till: Till) -> None:
    """Nothing new can be started, and what runs is as it was."""
    assert till.entries() == ["kr_1.0.0.efi"]
    labels = till.labels()
    assert labels[2:4] == ["kr_root_1.0.0", "kr_verity_1.0.0"]
    assert not [label for label in labels[4:] if label.startswith(("kr_root_", "kr_verity_"))]
    assert till.running_root() == b"running " * (RUNNING[1] // 8)


def test_an_old_list_is_no_way_back(till: Till, publisher: Publisher) -> None:
    """Signed, and old: nothing in the format ends. What is not newer is refused."""
    source = serve(till, publisher.publish("old", "0.9.0"))
    with pytest.raises(errors.UpgradeRefused, match="not newer"):
        prepare(str(source), "", till.root, till.run)
    with pytest.raises(errors.UpgradeRefused, match="not newer"):
        prepare(str(source), "0.9.0", till.root, till.run)
    require_unchanged(till)


def test_systemd_goes_below_no_floor_either(till: Till, publisher: Publisher) -> None:
    """`MinVersion=`: where our own comparison is left out."""
    source = serve(till, publisher.publish("old", "0.9.0"))
    with pytest.raises(errors.UpgradeFailed):
        write_blindly(till, source, "0.9.0")
    require_unchanged(till)


def test_a_new_key_is_taken_while_the_image_knows_both(till: Till, publisher: Publisher) -> None:
    """Rotation: an image with both public keys, then updates signed by the new one."""
    new = publisher.new_keys("new")
    source = serve(till, publisher.publish("rotated", "1.1.0", keys=new))
    with pytest.raises(errors.UpgradeRefused, match="not signed"):
        prepare(str(source), "", till.root, till.run)
    keyring = till.root / KEYRING
    keyring.write_bytes(keyring.read_bytes() + (new / "update.pub").read_bytes())
    carry_out(prepare(str(source), "", till.root, till.run), lambda line: None)
    assert till.entries() == ["kr_1.0.0.efi", "kr_1.1.0+3-0.efi"]


# --- cut off ------------------------------------------------------------------------------------


def require_startable(till: Till) -> None:
    """Every entry's slot is labelled as whole, and what runs is as it was."""
    whole = till.labels()
    for entry in entries(till.entries()):
        assert {ROOT + entry.version, VERITY + entry.version} <= set(whole)
    assert "kr_1.0.0.efi" in till.entries()
    assert till.running_root() == b"running " * (RUNNING[1] // 8)


@pytest.mark.parametrize("done", range(6))
def test_cut_off_after_any_step_the_next_upgrade_goes_through(
    till: Till, publisher: Publisher, done: int
) -> None:
    """Over a version that was given up, so that something is removed first."""
    first = serve(till, publisher.publish("first", "1.1.0"))
    carry_out(prepare(str(first), "", till.root, till.run), lambda line: None)
    shutil.rmtree(first)
    linux = till.root / ENTRIES
    (linux / "kr_1.1.0+3-0.efi").rename(linux / "kr_1.1.0+0-3.efi")
    source = serve(till, publisher.publish("second", "1.2.0"))
    made = prepare(str(source), "", till.root, till.run)
    assert len(made.plan.steps) == 6
    run_steps(made.plan.steps[:done], made.upgrader, lambda line: None)
    require_startable(till)
    carry_out(prepare(str(source), "", till.root, till.run), lambda line: None)
    assert till.entries() == ["kr_1.0.0.efi", "kr_1.2.0+3-0.efi"]
    require_startable(till)


@pytest.mark.parametrize("cut", [0.02, 0.05, 0.1, 0.2, 0.4])
def test_killed_while_it_writes_the_next_upgrade_goes_through(
    till: Till, publisher: Publisher, cut: float
) -> None:
    """Wherever that is on this machine today: before, within or behind it."""
    source = serve(till, publisher.publish("good", "1.1.0"))
    with contextlib.suppress(errors.UpgradeFailed):
        killed = replace(till, cut=cut)
        carry_out(prepare(str(source), "", till.root, killed.run), lambda line: None)
    require_startable(till)
    carry_out(prepare(str(source), "", till.root, till.run), lambda line: None)
    assert till.entries() == ["kr_1.0.0.efi", "kr_1.1.0+3-0.efi"]
    require_startable(till)
