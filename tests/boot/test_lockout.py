"""A TPM that counted too many wrong numbers refuses the right one too, and that is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.plan.boot import OpenVolume
from node.plan.header import read_header
from node.plan.locked import SignedPolicy, TpmView
from node.system.opening import Opener, Secret
from node.testing.installed import InstalledMachine
from pairing import errors
from pairing.process import Result

DATA = Path(__file__).resolve().parents[1] / "data" / "volumes"
APPROVAL = (DATA / "approval.json").read_bytes()
STEP = OpenVolume(label="KR_OEM", device="/dev/vda2", means="approval")
SAID = b"TPM2_PT_PERMANENT:\n  ownerAuthSet:              0\n  inLockout:                 %d\n"


def as_sealed() -> TpmView:
    """All that the volume is sealed to is as it was."""
    registers = {
        7: bytes.fromhex("8878b15a7d6a3a4f464e8f9f42591dbc0cf4bedea0ec309003d2b2ee53655ef8"),
        11: bytes.fromhex("8b4fecab2df01d837d750537492a6b3a93ceb89c5f4e35e406a364b9d81a2e4e"),
    }
    line = json.loads((DATA / "signature.json").read_text())["sha256"][0]
    policy = bytes.fromhex(line["pol"])
    signed = SignedPolicy(key=line["pkfp"], registers=tuple(line["pcrs"]), policy=policy)
    return TpmView(registers=registers, parent=None, signed=(signed,))


def refused(root: Path, view: TpmView, said: Result | None) -> errors.LockedError:
    """What a wrong number is answered with; `said` by tpm2_getcap(1), None: it is not there."""
    machine = InstalledMachine(root, {"KR_OEM": APPROVAL}, frozenset({"pin"}))
    if said is not None:
        machine.programs["tpm2_getcap"] = lambda argv, stdin: said
    opener = Opener(root, machine.run, Secret("pin", b"000000"), lambda root, run: view)
    with pytest.raises(errors.LockedError) as told:
        opener.open(STEP)
    return told.value


def test_a_lockout_is_told_instead_of_a_wrong_number(tmp_path: Path) -> None:
    told = refused(tmp_path, as_sealed(), Result(0, SAID % 1, b""))
    assert isinstance(told, errors.TpmRefuses)
    assert "locked out after too many wrong tries" in told.sentence


@pytest.mark.parametrize(
    "said", [Result(0, SAID % 0, b""), Result(1, SAID % 1, b""), Result(0, b"", b""), None]
)
def test_where_it_is_not_known_the_number_was_wrong(tmp_path: Path, said: Result | None) -> None:
    assert isinstance(refused(tmp_path, as_sealed(), said), errors.UnlockFailed)


def test_a_reason_that_no_wait_mends_is_told_first(tmp_path: Path) -> None:
    told = refused(tmp_path, TpmView(present=False), Result(0, SAID % 1, b""))
    assert isinstance(told, errors.TpmMissing)
    assert read_header(APPROVAL).tpm[0].pin
