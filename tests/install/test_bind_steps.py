"""Further ways to open the volumes: bound once, with secrets in files in memory only."""

from __future__ import annotations

import json
from pathlib import Path

from node.recoverykey import RecoveryKey
from node.testing.ground import Call, Ground
from pairing import approval
from pairing.process import Result

from .conftest import MakePlan, assert_not_told, run

TANG = {"mode": "tpm2+tang", "tang": "http://tang.example"}
APPROVAL = {"mode": "tpm2", "unlock": "approval"}


async def test_tang_and_the_tpm_together(ground: Ground, make_plan: MakePlan) -> None:
    await run(ground, make_plan(TANG), "bind-tang")
    binds = [argv for argv in ground.programs.called("clevis") if argv[2] == "bind"]
    assert [argv[5] for argv in binds] == ["/dev/vda2", "/dev/vda9"]
    assert binds[0][-2] == "sss"
    config = json.loads(binds[0][-1])
    assert config["t"] == 2
    assert config["pins"]["tpm2"] == {"pcr_bank": "sha256", "pcr_ids": "7,12,15"}
    assert config["pins"]["tang"] == [{"url": "http://tang.example"}]
    assert_not_told(ground, ground.key.passphrase)


async def test_tang_alone_is_its_own_pin(ground: Ground, make_plan: MakePlan) -> None:
    await run(ground, make_plan({"mode": "tang", "tang": "http://tang.example"}), "bind-tang")
    bind = ground.programs.called("clevis")[-1]
    assert bind[-2:] == ("tang", '{"url": "http://tang.example"}')


async def test_bound_again_it_is_bound_once(ground: Ground, make_plan: MakePlan) -> None:
    listed = b"1: sss '{\"t\":2}'\n"
    ground.programs.answers["clevis luks list"] = Result(0, listed, b"")
    await run(ground, make_plan(TANG), "bind-tang")
    kinds = [argv[2] for argv in ground.programs.called("clevis")]
    assert kinds == ["list", "unbind", "bind"] * 2


async def test_the_number_of_an_approval_is_a_credential(
    ground: Ground, make_plan: MakePlan
) -> None:
    seen: list[bytes] = []

    def enroll(call: Call) -> Result:
        folder = Path(call.environment["CREDENTIALS_DIRECTORY"])
        (file,) = folder.iterdir()
        assert file.name == "cryptenroll.new-tpm2-pin"
        assert file.stat().st_mode & 0o777 == 0o600
        seen.append(file.read_bytes())
        return Result(0, b"", b"")

    ground.programs.answers["systemd-cryptenroll"] = enroll
    await run(ground, make_plan(APPROVAL), "bind-approval")
    number = approval.pin(ground.key.passphrase)
    assert seen == [number, number]
    assert_not_told(ground, number)
    assert_not_told(ground, ground.key.passphrase)
    assert not (ground.doors.own / "credentials").exists()
    argv = ground.programs.called("systemd-cryptenroll")[0]
    assert {
        "--wipe-slot=tpm2",
        "--tpm2-with-pin=yes",
        f"--tpm2-pcrs=7+12+15:sha256={64 * '0'}",
    } <= set(argv)


def test_the_number_is_made_from_the_key_and_does_not_tell_it() -> None:
    key = RecoveryKey(bytes(range(32)))
    assert approval.pin(key.passphrase) == b"5b69703ea8f18e32d95601eb5f94e109"
    assert approval.pin(RecoveryKey(bytes(32)).passphrase) != approval.pin(key.passphrase)
