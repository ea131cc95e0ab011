"""check-data, keep-data: an installation around the data of the one before.

The data volume's own recovery key comes from whoever opened it in a repair session
(`kairos-node unlock`): it is kept in memory until the restart. At every moment a key that an
operator holds opens the data: the new one is acknowledged, added and tried before the old one goes.
"""

from __future__ import annotations

from pathlib import Path

import trio

from node.datasteps import CheckData, KeepData
from node.execute import Handler, Work
from node.plan.repart import tpm_options
from node.system.install.bind import enroll, unbind
from node.system.install.doors import Doors
from node.system.install.let_go import let_go
from node.system.install.prove_key import opening_slot
from node.system.install.write_disk import FILLED
from node.system.keyfile import DATA_KEY, drop, held
from node.system.keyslots import KDF, add_key, remove_all_but
from node.system.medium import PUBLIC_KEY
from pairing import errors

MAPPED, FOLDER = "kr_persistent", "data"
PAIR = ".kairos/pair"
"""What tied the volume to the config of before (`node.system.keeping.Keeper.match`)."""
SECONDS = 120.0
MAKE_SECONDS = 300.0


def check_data(doors: Doors) -> Handler:
    """The handler of `CheckData`. Raises errors.DataNotOpen: nothing was changed yet."""

    async def handler(step: CheckData, work: Work) -> None:
        device = doors.partition(step.disk, step.volume).device
        probe = ("blkid", "--probe", "--match-tag", "TYPE", "--output", "value", device)
        kind = (await doors.tool(probe, work, seconds=SECONDS, check=False)).text().strip()
        if kind != ("crypto_LUKS" if step.encrypted else "ext4"):
            what = f"It holds {kind or 'nothing'}; the config asks for another kind of volume."
            raise errors.DataNotOpen(what, element=step.volume)
        if step.encrypted:
            await _data_slot(doors, work, device, step.volume)

    return handler


def keep_data(doors: Doors) -> Handler:
    """The handler of `KeepData`. A run that was stopped is done again from its beginning, without
    what it has left open."""

    async def handler(step: KeepData, work: Work) -> None:
        await let_go(doors, work)
        config = doors.partition(step.disk, step.config).device
        data = doors.partition(step.disk, step.volume).device
        if not step.encrypted:
            await _format(doors, work, config)
            await _untie(doors, work, data)
            return
        key = doors.key_file(work)
        slot = await _take_over(doors, work, data, key, step)
        await unbind(doors, work, data)
        await doors.tool(("systemd-cryptenroll", "--wipe-slot=tpm2", data), work, seconds=SECONDS)
        await _make(doors, work, config, key, step.config)
        for device in (config, data):
            if step.tpm:
                options = tpm_options(step.pcrs, step.signed_pcrs, PUBLIC_KEY)
                await enroll(doors, work, device, key, options)
        opening = ("cryptsetup", "open", "--disable-external-tokens", "--key-file", key)
        await doors.tool((*opening, data, MAPPED), work, seconds=SECONDS)
        try:
            await _untie(doors, work, Path("/dev/mapper", MAPPED))
        finally:
            await _close(doors, work, MAPPED)
        await remove_all_but(doors, work, data, slot, work.key.passphrase)
        drop(doors.own, DATA_KEY)

    return handler


async def _take_over(doors: Doors, work: Work, data: Path, key: Path, step: KeepData) -> str:
    """The slot of the new key; made with the old one, unless an earlier run has made it."""
    try:
        return await opening_slot(doors, work, data, key, step.volume)
    except errors.KeyNotProved:
        await _data_slot(doors, work, data, step.volume)
    old = held(doors.own, DATA_KEY)
    assert old is not None, "it has just opened the volume"
    await add_key(doors, work, data, doors.hold_key(DATA_KEY, old), key)
    return await opening_slot(doors, work, data, key, step.volume)


async def _data_slot(doors: Doors, work: Work, data: Path, volume: str) -> None:
    """Raises errors.DataNotOpen unless the key that is kept in memory opens the volume."""
    old = held(doors.own, DATA_KEY)
    if old is None:
        raise errors.DataNotOpen("Its recovery key is not here.", element=volume)
    try:
        await opening_slot(doors, work, data, doors.hold_key(DATA_KEY, old), volume)
    except errors.KeyNotProved:
        raise errors.DataNotOpen("The key that is here does not open it.", element=volume) from None


async def _make(doors: Doors, work: Work, config: Path, key: Path, label: str) -> None:
    """An empty encrypted volume for the config."""
    argv = ("cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2", "--label", label, *KDF)
    await doors.tool((*argv, "--key-file", key, config), work, seconds=SECONDS)
    opening = ("cryptsetup", "open", "--disable-external-tokens", "--key-file", key)
    await doors.tool((*opening, config, FILLED), work, seconds=SECONDS)
    try:
        await _format(doors, work, Path("/dev/mapper", FILLED))
    finally:
        await _close(doors, work, FILLED)


async def _close(doors: Doors, work: Work, name: str) -> None:
    """Stopped or not: nothing may hold the volume when the step is done again."""
    with trio.CancelScope(shield=True):
        await doors.tool(("cryptsetup", "close", name), work, seconds=SECONDS)


async def _format(doors: Doors, work: Work, device: Path) -> None:
    await doors.tool(("mkfs.ext4", "-q", "-F", device), work, seconds=MAKE_SECONDS)


async def _untie(doors: Doors, work: Work, device: Path) -> None:
    """The volume belongs to no config: the next start ties it to the new one."""
    folder = doors.own / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    check = ("e2fsck", "-p", device)
    await doors.tool(check, work, seconds=MAKE_SECONDS, check=False)
    options = ("--types", "ext4", "--options", "nodev,nosuid,noexec")
    await doors.tool(("mount", *options, device, folder), work, seconds=SECONDS)
    try:
        (folder / PAIR).unlink(missing_ok=True)
    finally:
        with trio.CancelScope(shield=True):
            await doors.tool(("umount", folder), work, seconds=SECONDS)
