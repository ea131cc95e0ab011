"""What protects a disk is read from its headers: what one volume or way in lacks is lacking."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from node.plan.protection import Lock, protection, read_lock
from node.system.protected import locks, running
from pairing import errors
from pairing.process import Result
from pairing.testing.recorded_tools import plant

TPM = {
    "type": "systemd-tpm2",
    "keyslots": ["1"],
    "tpm2-pcrs": [7, 12],
    "tpm2-pcr-bank": "sha256",
    "tpm2-pin": False,
    "tpm2_pubkey_pcrs": [11],
}
"""As systemd 257 writes it, without the sealed parts."""
RECOVERY = {"type": "systemd-recovery", "keyslots": ["2"]}


def dumped(*tokens: Any) -> str:
    return json.dumps({"keyslots": {}, "tokens": {str(n): one for n, one in enumerate(tokens)}})


def jwe(clevis: dict[str, Any]) -> str:
    header = json.dumps({"alg": "dir", "clevis": clevis, "enc": "A256GCM"}).encode()
    return base64.urlsafe_b64encode(header).rstrip(b"=").decode()


def clevis(pin: dict[str, Any]) -> dict[str, Any]:
    return {"type": "clevis", "keyslots": ["3"], "jwe": {"protected": jwe(pin), "tag": "x"}}


TANG = {"pin": "tang", "tang": {"url": "http://tang.example"}}
SEALED = {"pin": "tpm2", "tpm2": {"hash": "sha256", "pcr_bank": "sha256", "pcr_ids": "7,12"}}
BOTH = {"pin": "sss", "sss": {"t": 2, "jwe": [jwe(SEALED) + ".a.b.c.d", jwe(TANG) + ".a.b.c.d"]}}


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        ((), Lock()),
        ((RECOVERY,), Lock()),
        (
            (TPM, RECOVERY),
            Lock(tpm=True, literal=frozenset({7, 12}), signed=frozenset({11})),
        ),
        (
            ({**TPM, "tpm2-pin": True},),
            Lock(tpm=True, pin=True, literal=frozenset({7, 12}), signed=frozenset({11})),
        ),
        ((clevis(TANG),), Lock(tang=1)),
        ((clevis(BOTH),), Lock(tpm=True, literal=frozenset({7, 12}), tang=1)),
        # Two ways in: only what both ask for counts.
        (
            (TPM, {**TPM, "tpm2-pcrs": [7]}),
            Lock(tpm=True, literal=frozenset({7}), signed=frozenset({11})),
        ),
        (({**TPM, "tpm2-pin": True}, TPM), read_lock(dumped(TPM))),
        ((TPM, clevis(TANG)), Lock(tpm=True)),
    ],
)
def test_a_header_is_read(tokens: Sequence[Any], found: Lock) -> None:
    assert read_lock(dumped(*tokens)) == found


@pytest.mark.parametrize(
    "metadata",
    ["", "{}", "[]", '{"tokens": []}', '{"tokens": {"0": {}}}', '{"tokens": {"0": 7}}',
     dumped({"type": "clevis"}), dumped({"type": "clevis", "jwe": {"protected": "!"}}),
     dumped({"type": "systemd-tpm2", "tpm2-pcrs": ["x"]})],
)  # fmt: skip
def test_a_broken_header_is_an_error(metadata: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_lock(metadata)


def found(*volumes: Lock | None, mode: str = "tpm2", recovery: bool = True) -> Any:
    return protection(volumes, mode=mode, recovery=recovery, recipients=2, secure_boot="on")


def test_both_volumes_must_have_it() -> None:
    lock = read_lock(dumped(TPM))
    whole = found(lock, lock)
    assert (whole.lacks, whole.literal, whole.signed, whole.recipients) == ((), (7, 12), (11,), 2)
    assert found(lock, Lock()).lacks == ("the TPM",)
    assert found(lock, None).lacks == ("encryption", "the TPM", "a tried recovery key")
    assert found().lacks == ("encryption", "the TPM", "a tried recovery key")
    assert found(lock, lock, recovery=False).lacks == ("a tried recovery key",)
    weaker = read_lock(dumped({**TPM, "tpm2-pcrs": [7]}))
    assert found(lock, weaker).literal == (7,)
    assert found(None, None, mode="none").lacks == ()


@dataclass
class Cryptsetup:
    """Headers by device; an empty one is not LUKS."""

    headers: dict[str, str]

    def __call__(self, argv: Sequence[str], *, seconds: float, check: bool = True) -> Result:
        metadata = self.headers[argv[-1]]
        if argv[1] == "isLuks":
            return Result(0 if metadata else 1, b"", b"")
        return Result(0, metadata.encode(), b"")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    tree: dict[str, Any] = {"sys/block/vda/size": "1\n"}
    for number, label in ((2, "KR_OEM"), (9, "KR_PERSISTENT")):
        tree[f"sys/block/vda/vda{number}/partition"] = f"{number}\n"
        tree[f"sys/block/vda/vda{number}/uevent"] = f"DEVNAME=vda{number}\nPARTNAME={label}\n"
    return plant(tmp_path, tree)


def test_the_volumes_of_this_disk_are_read(disk: Path) -> None:
    tools = Cryptsetup({"/dev/vda2": dumped(TPM), "/dev/vda9": ""})
    assert locks("/dev/vda", disk, tools) == [read_lock(dumped(TPM)), None]


def test_what_cannot_be_read_is_no_protection(disk: Path) -> None:
    with pytest.raises(errors.DiskIncomplete):
        locks("/dev/vda", disk, Cryptsetup({"/dev/vda2": "{}", "/dev/vda9": ""}))
    with pytest.raises(errors.DiskIncomplete):
        locks("/dev/vdb", disk, Cryptsetup({}))


def verity_root(disk: Path) -> Path:
    """The same disk, with the system running from it."""
    words = " ".join(
        f"systemd.verity_root_{what}=PARTLABEL={label}"
        for what, label in (("data", "kr_root_1"), ("hash", "kr_verity_1"))
    )
    tree: dict[str, Any] = {
        "proc/cmdline": f"quiet {words}\n",
        "sys/block/dm-0/dm/uuid": "CRYPT-VERITY-0-root\n",
        "sys/block/dm-0/dm/name": "root\n",
    }
    for number, label in ((3, "kr_root_1"), (4, "kr_verity_1")):
        tree[f"sys/block/dm-0/slaves/vda{number}/x"] = "\n"
        tree[f"sys/block/vda/vda{number}/partition"] = f"{number}\n"
        tree[f"sys/block/vda/vda{number}/uevent"] = f"PARTNAME={label}\n"
    return plant(disk, tree)


def test_the_running_system_tells_what_protects_it(disk: Path) -> None:
    header = dumped(TPM)
    tools = Cryptsetup({"/dev/vda2": header, "/dev/vda9": header})
    told = running(verity_root(disk), tools, mode="tpm2", secure_boot="on", held=None)
    assert told is not None
    assert (told.encrypted, told.tpm, told.signed, told.secure_boot) == (True, True, (11,), "on")
    assert told.lacks == ("a tried recovery key",)
    bare = Cryptsetup({"/dev/vda2": "", "/dev/vda9": ""})
    told = running(disk, bare, mode="none", secure_boot="", held=None)
    assert told is not None
    assert told.summary == "not encrypted"


def test_what_runs_from_elsewhere_tells_nothing(disk: Path) -> None:
    assert running(disk, Cryptsetup({}), mode="tpm2", secure_boot="", held=None) is None
