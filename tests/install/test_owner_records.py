"""Who owns a machine whose data is kept: told by its boot partition at every moment."""

from __future__ import annotations

import os

import pytest

from node.plan.reset import OWNER
from node.steps import ClearBoot, Plan
from node.system.install.handover import Handover
from node.testing.ground import Ground

from .conftest import CONFIG, MakePlan, run

ESP = "run/kairos-register/esp"
OLD = {"EFI/BOOT/BOOTX64.EFI": b"old", "EFI/Linux/kr_1.0.0.efi": b"old"}


@pytest.fixture
def owned(ground: Ground) -> Ground:
    """Its boot partition has an old system, and the records of who owns it."""
    for name in (*OLD, *OWNER):
        ground.write(f"{ESP}/{name}", b"old")
    ground.write("run/kairos-register/staging/boot/EFI/Linux/kr_1.0.0.efi", b"new")
    return ground


def records(ground: Ground) -> list[bytes | None]:
    """Their contents, None where one is not there."""
    paths = [ground.root / ESP / name for name in OWNER]
    return [path.read_bytes() if path.exists() else None for path in paths]


def handover(escrow: bytes, report: bytes) -> Handover:
    return Handover(config=CONFIG, escrow=lambda: escrow, report=lambda: report, keep=print)


async def test_the_owner_stays_until_there_is_another(
    owned: Ground, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[bytes | None]] = []
    flush = os.fsync

    def flushed(file: int) -> None:
        seen.append(records(owned))
        flush(file)

    monkeypatch.setattr(os, "fsync", flushed)
    plan = make_plan(recovery=True, keep=True)
    await run(owned, plan, "clear-boot")
    assert not [name for name in OLD if (owned.root / ESP / name).exists()]
    assert records(owned) == [b"old", b"old"]
    await run(owned, plan, "fill-boot", handover(b"sealed", b"report"))
    assert records(owned) == [b"report", b"sealed"]
    assert not [one for one in seen if None in one], "at no moment nobody owns it"


async def test_records_that_the_new_installation_has_none_of_go(
    owned: Ground, make_plan: MakePlan
) -> None:
    plan = make_plan(recovery=True, keep=True)
    await run(owned, plan, "clear-boot")
    await run(owned, plan, "fill-boot", handover(b"", b""))
    assert records(owned) == [None, None]


async def test_where_the_data_goes_its_owner_goes_first(owned: Ground, make_plan: MakePlan) -> None:
    plan = make_plan(recovery=True)
    await run(owned, plan, "clear-boot")
    assert records(owned) == [None, None]
    assert forgets(plan) == OWNER
    assert forgets(make_plan(recovery=True, keep=True)) == ()


def forgets(plan: Plan) -> tuple[str, ...]:
    (step,) = [step for step in plan.steps if isinstance(step, ClearBoot)]
    return tuple(step.forgets)
