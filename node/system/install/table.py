"""Which handler carries out which step of an installation on a real machine."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from node.datasteps import CheckData, KeepData
from node.execute import Handler, Work
from node.steps import (
    BindApproval,
    BindTang,
    CheckDisk,
    CheckImage,
    CheckMachine,
    ClearBoot,
    FillBoot,
    KeepConfig,
    MakeVolumes,
    MarkComplete,
    ProveKey,
    SetBootEntries,
    Step,
    WipeTables,
    WriteDisk,
)
from node.system.check import require_same
from node.system.disks import disks
from node.system.install.bind import bind_approval, bind_tang
from node.system.install.boot_entries import set_boot_entries
from node.system.install.boot_files import clear_boot, fill_boot, mark_complete
from node.system.install.check_image import check_image
from node.system.install.check_machine import check_machine
from node.system.install.doors import Doors
from node.system.install.handover import Handover
from node.system.install.keep_config import keep_config
from node.system.install.keep_data import check_data, keep_data
from node.system.install.let_go import let_go, was_begun
from node.system.install.make_volumes import make_volumes
from node.system.install.prove_key import prove_key
from node.system.install.wipe_tables import wipe_tables
from node.system.install.write_disk import write_disk
from pairing.facts import Facts


def handlers(doors: Doors, handover: Handover) -> Mapping[type[Step], Handler]:
    """For `node.execute.execute`, on the machine that we run on."""

    async def check_disk(step: CheckDisk, work: Work) -> None:
        ours = was_begun(doors, step.disk)
        if ours:
            await let_go(doors, work)
        found = await trio.to_thread.run_sync(disks, doors.root, doors.run)
        require_same(step, Facts(disks=found), ours=ours)

    return {
        CheckImage: check_image(doors),
        CheckDisk: check_disk,
        CheckMachine: check_machine(doors),
        CheckData: check_data(doors),
        MakeVolumes: make_volumes(doors),
        WipeTables: wipe_tables(doors),
        ClearBoot: clear_boot(doors),
        WriteDisk: write_disk(doors, handover),
        KeepData: keep_data(doors),
        BindTang: bind_tang(doors),
        BindApproval: bind_approval(doors),
        ProveKey: prove_key(doors),
        KeepConfig: keep_config(doors, handover),
        FillBoot: fill_boot(doors, handover),
        SetBootEntries: set_boot_entries(doors),
        MarkComplete: mark_complete(doors),
    }
