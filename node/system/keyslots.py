"""Changes the key slots of one volume that people's keys open: adds one, removes all others."""

from __future__ import annotations

from pathlib import Path

from node.execute import Work
from node.plan.keyslots import KeySlots, read_slots
from node.system.install.doors import Doors
from node.system.install.prove_key import metadata
from pairing import errors

SECONDS = 120.0
"""Argon2 takes its time on a small machine."""
KDF = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
"""The key has 256 random bits: nothing is gained by making each guess slow, and a small machine has
not the memory for more. systemd does the same with its own recovery keys."""


async def add_key(doors: Doors, work: Work | None, device: Path, present: Path, new: Path) -> None:
    """Let the key in the file `new` open the volume too. Raises errors.MissingError."""
    argv = ("cryptsetup", "luksAddKey", "--batch-mode", "--disable-external-tokens", *KDF)
    await doors.tool((*argv, "--key-file", present, device, new), work, seconds=SECONDS)


async def remove_all_but(
    doors: Doors, work: Work | None, device: Path, kept: str, key: bytes
) -> None:
    """Remove every slot that a person's key opens but `kept`, whose key is `key`.

    With the key that stays: cryptsetup makes sure that it does not need the slot that goes.
    Raises errors.KeysUnchanged if others are left.
    """
    for slot in (await key_slots(doors, work, device)).people:
        if slot != kept:
            argv = ("cryptsetup", "luksKillSlot", "--batch-mode", "--key-file", "-")
            await doors.tool((*argv, device, slot), work, seconds=SECONDS, stdin=key)
    left = (await key_slots(doors, work, device)).people
    if left != (kept,):
        raise errors.KeysUnchanged(f"Slots {', '.join(left)} are left.", element=str(device))


async def key_slots(doors: Doors, work: Work | None, device: Path) -> KeySlots:
    """Raises errors.KeysUnchanged if the header cannot be read."""
    try:
        return read_slots(await metadata(doors, work, device))
    except ValueError as wrong:
        raise errors.KeysUnchanged(str(wrong), element=str(device)) from None
