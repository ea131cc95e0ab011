"""check-machine, and the fault table: what is missing or broken is found before the first write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from node.steps import CheckMachine, Plan
from node.system.install.check_machine import check_machine
from node.testing.ground import Call, Ground, sealing
from node.testing.ground import healthy as make_healthy
from pairing import errors
from pairing.process import Result

from .conftest import MakePlan

TANG = {"mode": "tang", "tang": "http://tang.example"}
TPM_TANG = {"mode": "tpm2+tang", "tang": "http://tang.example"}
APPROVAL = {"mode": "tpm2", "unlock": "approval"}
FAILED = Result(1, b"", b"TPM2 device lacks...")


def forgetting(call: Call) -> Result:
    """It unseals something else."""
    return Result(0, b"x", b"") if "decrypt" in call.argv else sealing(call)


@pytest.fixture
def healthy(ground: Ground) -> Ground:
    """Everything works."""
    make_healthy(ground)
    ground.write("sys/class/tpm/tpm0/pcr-sha256/12", 32 * "00" + "\n")
    return ground


async def check(ground: Ground, plan: Plan) -> None:
    step = next(step for step in plan.steps if isinstance(step, CheckMachine))
    await check_machine(ground.doors)(step, ground.work(plan))


@pytest.mark.parametrize("encrypt", ["tpm2", TANG, APPROVAL, "recovery-only", "none"], ids=str)
async def test_a_healthy_machine(healthy: Ground, make_plan: MakePlan, encrypt: object) -> None:
    await check(healthy, make_plan(encrypt))


def read_only_firmware(ground: Ground) -> None:
    ground.plant_mounts("ro")


def no_key(ground: Ground) -> None:
    ground.write("usr/lib/kairos-register/pcr.pub", b"")


def given_words(ground: Ground) -> None:
    """Register 12 of a start that a word was added to."""
    ground.write("sys/class/tpm/tpm0/pcr-sha256/12", 32 * "A7" + "\n")


def answers(**changed: Any) -> Callable[[Ground], None]:
    def change(ground: Ground) -> None:
        named = {name.replace("_", "-", 1): answer for name, answer in changed.items()}
        ground.programs.answers.update(named)

    return change


def without(program: str) -> Callable[[Ground], None]:
    return lambda ground: (ground.root / "usr/bin" / program).unlink()


LOCKED = Result(0, b"TPM2_PT_PERMANENT:\n  inLockout:                 1\n", b"")
FAULTS: list[tuple[object, Callable[[Ground], None], type[errors.KnownError], str]] = [
    ("tpm2", answers(systemd_creds=FAILED), errors.TpmUnusable, "Status 1"),
    ("tpm2", answers(systemd_creds=forgetting), errors.TpmUnusable, "unsealed"),
    ("tpm2", given_words, errors.InstallStartNotPure, "outside the image"),
    (APPROVAL, given_words, errors.InstallStartNotPure, "outside the image"),
    (TPM_TANG, given_words, errors.InstallStartNotPure, "outside the image"),
    ("tpm2", no_key, errors.PolicyKeyMissing, "pcr.pub"),
    ("tpm2", answers(efibootmgr=FAILED), errors.BootEntriesRefused, "Status 1"),
    ("tpm2", read_only_firmware, errors.BootEntriesRefused, "read-only"),
    ("tpm2", without("systemd-repart"), errors.CommandMissing, "systemd-repart"),
    ("none", without("systemd-repart"), errors.CommandMissing, "systemd-repart"),
    ("recovery-only", without("cryptsetup"), errors.CommandMissing, "cryptsetup"),
    (TANG, answers(clevis=FAILED), errors.TangUnusable, "tang.example"),
    (TANG, answers(clevis=forgetting), errors.TangUnusable, "not with its key"),
    (TANG, without("clevis"), errors.CommandMissing, "clevis"),
]


@pytest.mark.parametrize(("encrypt", "break_it", "error", "said"), FAULTS)
async def test_faults_are_found(
    healthy: Ground,
    make_plan: MakePlan,
    encrypt: object,
    break_it: Callable[[Ground], None],
    error: type[errors.KnownError],
    said: str,
) -> None:
    plan = make_plan(encrypt)
    await check(healthy, plan)  # the control: only the fault stands in the way
    break_it(healthy)
    with pytest.raises(error, match=said):
        await check(healthy, plan)


async def test_a_locked_out_tpm_matters_where_a_number_is_asked(
    healthy: Ground, make_plan: MakePlan
) -> None:
    healthy.programs.answers["tpm2_getcap"] = LOCKED
    await check(healthy, make_plan("tpm2"))
    with pytest.raises(errors.TpmUnusable, match="locked out"):
        await check(healthy, make_plan(APPROVAL))


async def test_without_tpm_none_is_asked(healthy: Ground, make_plan: MakePlan) -> None:
    healthy.programs.answers["systemd-creds"] = FAILED
    given_words(healthy)
    await check(healthy, make_plan("recovery-only"))
