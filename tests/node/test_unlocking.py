"""Opening a disk with its recovery key in a repair session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import node.__main__
from node.__main__ import main
from node.recoverykey import RecoveryKey
from node.system import unlocking
from node.testing.installed import InstalledMachine
from pairing import errors, process
from pairing.process import Result
from pairing.testing.recorded_tools import plant

KEY = RecoveryKey(bytes(range(32)))
TEXT = KEY.passphrase.decode()


@dataclass
class Machine:
    """cryptsetup and mount. `right` is the key that opens; `encrypted` are LUKS.

    `foreign` have another key, `unfinished` no file system.
    """

    right: bytes = KEY.passphrase
    encrypted: frozenset[str] = frozenset({"/dev/vda2", "/dev/vda9"})
    blank: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    unfinished: frozenset[str] = frozenset()
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(
        self,
        argv: Sequence[str],
        *,
        seconds: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Result:
        self.asked.append(tuple(argv))
        assert not any(TEXT in word for word in argv)
        assert not environment
        if argv[0] == "blkid":
            return Result(0, b"ext4\n", b"") if argv[-1] not in self.blank else Result(2, b"", b"")
        if argv[1] == "isLuks":
            return Result(0 if argv[2] in self.encrypted else 1, b"", b"")
        if argv[1] == "open":
            opens = stdin == self.right and argv[-2] not in self.foreign
            return Result(0 if opens else 2, b"", b"")
        if argv[0] == "mount" and argv[-2] in self.unfinished:
            raise errors.CommandFailed("Status 32", element="mount")
        return Result(0, b"", b"")


def disk(folder: Path, name: str = "vda") -> Path:
    tree: dict[str, Any] = {}
    for number, label in ((2, "KR_OEM"), (9, "KR_PERSISTENT")):
        tree[f"sys/block/{name}/{name}{number}/partition"] = f"{number}\n"
        tree[f"sys/block/{name}/{name}{number}/uevent"] = f"PARTNAME={label}\n"
    return plant(folder, tree)


def test_both_volumes_are_opened_and_mounted(tmp_path: Path) -> None:
    machine = Machine()
    lines = list(unlocking.unlock(KEY, disk(tmp_path), machine))
    assert lines == ["KR_OEM is open at /oem", "KR_PERSISTENT is open at /usr/local"]
    opened = [argv for argv in machine.asked if argv[1] == "open"]
    assert [argv[-2:] for argv in opened] == [
        ("/dev/vda2", "kr_oem"), ("/dev/vda9", "kr_persistent"),
    ]  # fmt: skip
    assert all("--disable-external-tokens" in argv for argv in opened)
    mounted = [argv[-2:] for argv in machine.asked if argv[0] == "mount"]
    assert mounted == [
        ("/dev/mapper/kr_oem", "/oem"), ("/dev/mapper/kr_persistent", "/usr/local"),
    ]  # fmt: skip


def test_a_wrong_key_opens_nothing(tmp_path: Path) -> None:
    machine = Machine(right=b"another")
    with pytest.raises(errors.UnlockFailed):
        list(unlocking.unlock(KEY, disk(tmp_path), machine))
    assert not any(argv[0] == "mount" for argv in machine.asked)


def test_data_that_a_reset_has_kept_opens_without_the_config(tmp_path: Path) -> None:
    machine = Machine(encrypted=frozenset({"/dev/vda9"}), blank=frozenset({"/dev/vda2"}))
    lines = list(unlocking.unlock(KEY, disk(tmp_path), machine))
    assert lines == [
        "KR_OEM holds nothing: the machine was reset",
        "KR_PERSISTENT is open at /usr/local",
    ]
    assert [argv[-1] for argv in machine.asked if argv[0] == "mount"] == ["/usr/local"]


@pytest.mark.parametrize(
    ("machine", "why"),
    [
        (Machine(unfinished=frozenset({"/dev/mapper/kr_oem"})), "Status 32"),
        (Machine(foreign=frozenset({"/dev/vda2"})), "KR_OEM"),
    ],
    ids=["no file system yet", "the key of before"],
)
def test_data_is_reached_behind_a_config_that_an_installation_has_not_finished(
    tmp_path: Path, machine: Machine, why: str
) -> None:
    told, opened = list(unlocking.unlock(KEY, disk(tmp_path), machine))
    assert told.startswith("KR_OEM is left out: ")
    assert why in told
    assert opened == "KR_PERSISTENT is open at /usr/local"


def test_data_that_does_not_mount_is_no_success(tmp_path: Path) -> None:
    machine = Machine(unfinished=frozenset({"/dev/mapper/kr_persistent"}))
    with pytest.raises(errors.CommandFailed):
        list(unlocking.unlock(KEY, disk(tmp_path), machine))


def test_what_is_open_or_was_never_closed_is_mounted_only(tmp_path: Path) -> None:
    root = disk(tmp_path)
    plant(root, {"dev/mapper/kr_oem": ""})
    machine = Machine(encrypted=frozenset({"/dev/vda2"}))
    list(unlocking.unlock(KEY, root, machine))
    assert not any(argv[1] == "open" for argv in machine.asked)
    assert [argv[-2] for argv in machine.asked if argv[0] == "mount"] == [
        "/dev/mapper/kr_oem", "/dev/vda9",
    ]  # fmt: skip


def test_two_disks_are_never_guessed_between(tmp_path: Path) -> None:
    with pytest.raises(errors.DiskNotChosen):
        list(unlocking.unlock(KEY, tmp_path, Machine()))
    disk(tmp_path), disk(tmp_path, "vdb")
    with pytest.raises(errors.DiskNotChosen, match="vda, vdb"):
        list(unlocking.unlock(KEY, tmp_path, Machine()))


@pytest.mark.parametrize(
    "typed", [TEXT, TEXT.upper(), TEXT.replace("-", ""), TEXT.replace("-", " "), f"  {TEXT}\n"]
)
def test_a_key_is_read_as_people_write_it(typed: str) -> None:
    assert unlocking.read_key(typed).passphrase == KEY.passphrase


@pytest.mark.parametrize(
    "typed", ["", "x", TEXT[:-1], TEXT + "b", TEXT.replace("c", "a"), "ü" * 64]
)
def test_what_is_no_key_is_said_without_repeating_it(typed: str) -> None:
    with pytest.raises(errors.UsageError) as wrong:
        unlocking.read_key(typed)
    assert not typed or typed not in str(wrong.value)


def test_the_command_reads_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def opened(key: RecoveryKey, root: Path, run: object) -> Sequence[str]:
        seen.append(key.passphrase)
        return ["KR_OEM is open at /oem"]

    monkeypatch.setattr(unlocking, "unlock", opened)
    result = CliRunner().invoke(main, ["unlock"], input=f"{TEXT}\nmore\n")
    assert seen == [KEY.passphrase]
    assert result.output == "KR_OEM is open at /oem\n"
    assert isinstance(
        CliRunner().invoke(main, ["unlock"], input="x\n").exception, errors.UsageError
    )


TPM2 = Path(__file__).resolve().parents[1] / "data" / "volumes" / "tpm2.json"


@pytest.mark.parametrize("key", [KEY, RecoveryKey(bytes(32))], ids=["right", "wrong"])
def test_a_locked_machine_goes_on_with_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: RecoveryKey
) -> None:
    header = TPM2.read_bytes()
    machine = InstalledMachine(
        tmp_path, {"KR_OEM": header, "KR_PERSISTENT": header}, frozenset(), KEY.passphrase
    )
    machine.programs["systemctl"] = lambda argv, stdin: Result(0, b"", b"")
    monkeypatch.setattr(node.__main__, "ROOT", tmp_path)
    monkeypatch.setattr(process, "run", machine.run)
    ended = CliRunner().invoke(main, ["unlock"], input=f"{key.passphrase.decode()}\n")
    if key is KEY:
        assert ended.exit_code == 0, ended.output
        assert machine.report()["state"] == "open"
        assert "/usr/local" in machine.mounted
        assert machine.ran("systemctl") == [
            ("systemctl", "start", "--no-block", "kairos-open.target")
        ]
    else:
        assert isinstance(ended.exception, errors.UnlockFailed)
        assert machine.report()["state"] == "locked"
        assert not machine.ran("systemctl")
