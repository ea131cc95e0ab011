"""boot-entries: a firmware in memory, killed at every write, never without a way to start."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from node.steps import Plan, SetBootEntries
from node.system.install.boot_entries import parse, set_boot_entries
from node.testing.ground import Call, FirmwareModel, Ground
from pairing.process import Result

from .conftest import MakePlan

PRINTED = """BootCurrent: 0002
Timeout: 0 seconds
BootOrder: 0002,0001,0000
Boot0000* UiApp\tFvVol(7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1)/FvFile(462caa21)
Boot0001* UEFI VIRTIO DISK \tPciRoot(0x0)/Pci(0x5,0x0)N.....YM....R,Y.
Boot0002  EFI Internal Shell\tFvVol(7cb8bdc9)/FvFile(7c04a583)
BootABCD* KR system\tHD(1,GPT,aa,0x800,0x100000)/File(\\EFI\\systemd\\systemd-bootx64.efi)
"""
"""Shape of efibootmgr 18's output."""


class PowerCut(Exception):
    """Here."""


@dataclass(slots=True)
class Firmware(FirmwareModel):
    """`cut_at`: the power goes before that write."""

    writes: int = 0
    cut_at: int = 0

    def __call__(self, call: Call) -> Result:
        """See `FirmwareModel`."""
        if len(call.argv) > 1:
            self.writes += 1
            if self.writes == self.cut_at:
                raise PowerCut
        return FirmwareModel.__call__(self, call)


def step_of(plan: Plan) -> SetBootEntries:
    return next(step for step in plan.steps if isinstance(step, SetBootEntries))


async def run(ground: Ground, plan: Plan, firmware: Firmware) -> None:
    ground.programs.answers["efibootmgr"] = firmware
    await set_boot_entries(ground.doors)(step_of(plan), ground.work(plan))


def in_order(firmware: Firmware) -> list[str]:
    return [firmware.labels[number] for number in firmware.order]


async def test_the_disk_then_the_recovery_system_then_what_was_there(
    ground: Ground, make_plan: MakePlan
) -> None:
    firmware = Firmware()
    await run(ground, make_plan(), firmware)
    assert in_order(firmware) == ["KR system", "KR recovery", "stick", "UiApp"]
    assert [firmware.loaders[number] for number in firmware.order[:2]] == [
        r"\EFI\systemd\systemd-bootx64.efi",
        r"\EFI\Linux\recovery.efi",
    ]
    argv = next(one for one in ground.programs.called("efibootmgr") if "--create-only" in one)
    assert argv[2:6] == ("--disk", "/dev/vda", "--part", "1")


async def test_again_it_replaces_its_own(ground: Ground, make_plan: MakePlan) -> None:
    firmware, plan = Firmware(), make_plan()
    for _ in range(3):
        await run(ground, plan, firmware)
    assert sorted(firmware.labels.values()) == ["KR recovery", "KR system", "UiApp", "stick"]
    assert in_order(firmware) == ["KR system", "KR recovery", "stick", "UiApp"]


async def test_cut_at_every_write_there_is_a_way_to_start(
    ground: Ground, make_plan: MakePlan
) -> None:
    plan, whole = make_plan(), Firmware()
    await run(ground, plan, whole)
    await run(ground, plan, whole)
    old = in_order(whole)
    for at in range(1, 6):
        firmware = Firmware()
        await run(ground, plan, firmware)
        firmware.writes, firmware.cut_at = 0, at
        with pytest.raises(PowerCut):
            await run(ground, plan, firmware)
        assert in_order(firmware)[:2] == old[:2], "the old order or the new one"
        firmware.cut_at = 0
        await run(ground, plan, firmware)
        assert sorted(firmware.labels.values()) == sorted(whole.labels.values())


def test_what_efibootmgr_prints() -> None:
    entries = parse(PRINTED)
    assert entries.order == ("0002", "0001", "0000")
    assert entries.labels["0001"] == "UEFI VIRTIO DISK"
    assert entries.ours == ("ABCD",)
    assert parse("").order == ()
