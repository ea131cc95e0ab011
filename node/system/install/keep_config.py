"""keep-config: what the installed system needs, on the volume that only it opens.

The volume stays open and mounted until the restart, for the events in between.
"""

from __future__ import annotations

import json
from pathlib import Path

from node.execute import Handler, Work
from node.steps import KeepConfig, Plan
from node.system.install.doors import Doors
from node.system.install.handover import Handover
from node.system.install.let_go import MAPPED, is_mounted
from pairing.durable import write_durably

SECONDS = 120.0
CONFIG = "90_custom.yaml"
INSTALLED = ".kairos/install.json"
SCHEMA = 1


def keep_config(doors: Doors, handover: Handover) -> Handler:
    """The handler of `KeepConfig`."""

    async def handler(step: KeepConfig, work: Work) -> None:
        folder = await opened(doors, step, work)
        (folder / ".kairos").mkdir(mode=0o700, exist_ok=True)
        write_durably(folder / CONFIG, handover.config)
        write_durably(folder / INSTALLED, json.dumps(about(work.plan), indent=1).encode())
        handover.keep(folder)

    return handler


async def opened(doors: Doors, step: KeepConfig, work: Work) -> Path:
    """The mounted volume, opened and mounted first where it is not."""
    device = doors.partition(step.disk, step.volume).device
    if step.encrypted:
        mapped = Path("/dev/mapper", MAPPED[0])
        if not doors.at(mapped).exists():
            opening = ("cryptsetup", "open", "--disable-external-tokens", "--key-file")
            argv = (*opening, doors.key_file(work), device, MAPPED[0])
            await doors.tool(argv, work, seconds=SECONDS)
        device = mapped
    folder = oem_folder(doors)
    if not is_mounted(doors, folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        options = ("--types", "ext4", "--options", "nodev,nosuid,noexec")
        await doors.tool(("mount", *options, device, folder), work, seconds=SECONDS)
        folder.chmod(0o700)
    return folder


def oem_folder(doors: Doors) -> Path:
    """Where the volume is mounted while we install."""
    return doors.own / "oem"


def about(plan: Plan) -> dict[str, object]:
    """`install.json`: what was installed and how its volumes open. No secrets."""
    from node.steps import BindApproval, BindTang, CheckImage

    steps = {type(step): step for step in plan.steps}
    tang, image = steps.get(BindTang), steps.get(CheckImage)
    return {
        "schema": SCHEMA,
        "version": image.version if isinstance(image, CheckImage) else "",
        "disk": plan.disk.path,
        "by_id": list(plan.disk.by_id),
        "serial": plan.disk.serial,
        "encryption": plan.encryption,
        "tang": list(tang.servers) if isinstance(tang, BindTang) else [],
        "unlock": "approval" if BindApproval in steps else "auto",
    }
