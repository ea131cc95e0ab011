"""make-volumes: LUKS2 headers as files in memory, complete before anything is on the disk.

The recovery key is 256 random bits: stretching it would add nothing, so its slot asks for as few
rounds as cryptsetup lets one have (docs/adr/0022).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from node.execute import Handler, Work
from node.plan.install import LUKS_HEADER
from node.plan.repart import tpm_options
from node.steps import MakeVolumes
from node.system.install.bind import enroll
from node.system.install.doors import Doors
from node.system.keyslots import KDF
from node.system.medium import PUBLIC_KEY

SECONDS = 120.0
FORMAT = (
    *("cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2"),
    *("--cipher", "aes-xts-plain64", "--key-size", "512", "--sector-size", "4096"),
    *KDF,
)
"""cryptsetup-luksFormat(8)."""


def make_volumes(doors: Doors) -> Handler:
    """The handler of `MakeVolumes`. What an interrupted run left is made anew."""

    async def handler(step: MakeVolumes, work: Work) -> None:
        shutil.rmtree(doors.volumes, ignore_errors=True)
        doors.volumes.mkdir(mode=0o700)
        for number, volume in enumerate(step.volumes):
            await _make(doors, step, volume, work)
            work.progress(number + 1, len(step.volumes))

    return handler


async def _make(doors: Doors, step: MakeVolumes, volume: str, work: Work) -> None:
    """All of the header, so that on the disk nothing of an older one is left below it."""
    head, key = doors.volumes / volume, doors.key_file(work)
    _blank(head)
    made = (*FORMAT, "--label", volume, "--key-file", key, head)
    await doors.tool(made, work, seconds=SECONDS)
    if step.tpm:
        options = tpm_options(step.pcrs, step.signed_pcrs, PUBLIC_KEY)
        await enroll(doors, work, head, key, options)


def _blank(head: Path) -> None:
    with head.open("wb") as file:
        head.chmod(0o600)
        file.truncate(LUKS_HEADER)
