"""prove-key: open every volume with the recovery key alone, without mounting anything."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from pathlib import Path

from node.execute import Handler, ProvedVolume, Work
from node.steps import ProveKey
from node.system.install.doors import Doors
from pairing import errors

SECONDS = 120.0
LUKS, UUID_AT, UUID_SIZE = b"LUKS\xba\xbe", 168, 40
SLOT_LIMIT = 4 * 2**20
"""Bytes of a key slot's area that are hashed at most; LUKS2 uses 258048."""
_UNLOCKED = re.compile(r"Key slot (\d+) unlocked")


def prove_key(doors: Doors) -> Handler:
    """The handler of `ProveKey`."""

    async def handler(step: ProveKey, work: Work) -> None:
        key = doors.key_file(work)
        for number, volume in enumerate(step.volumes):
            device = doors.partition(step.disk, volume).device
            slot = await opening_slot(doors, work, device, key, volume)
            work.proved(await proved_volume(doors, work, device, slot, volume))
            work.progress(number + 1, len(step.volumes))

    return handler


async def proved_volume(
    doors: Doors, work: Work | None, device: Path, slot: str, volume: str
) -> ProvedVolume:
    """What the operator's record is completed with, for a slot that was opened."""
    digest = slot_digest(doors.at(device), await metadata(doors, work, device), slot)
    return ProvedVolume(volume, uuid_of(doors.at(device)), digest)


def uuid_of(device: Path) -> str:
    """The UUID in a LUKS2 header (on-disk format, 2.1). Raises errors.KeyNotProved."""
    with device.open("rb") as file:
        start = file.read(UUID_AT + UUID_SIZE)
    try:
        if start.startswith(LUKS):
            return str(uuid.UUID(start[UUID_AT:].split(b"\0")[0].decode("ascii")))
    except ValueError:
        pass
    raise errors.KeyNotProved("Its header cannot be read.", element=str(device))


async def opening_slot(
    doors: Doors, work: Work | None, device: Path, key: Path, volume: str
) -> str:
    """The slot that the key opens. Raises errors.KeyNotProved."""
    opening = ("cryptsetup", "open", "--test-passphrase", "--disable-external-tokens")
    argv = (*opening, "--verbose", "--key-file", key, device)
    said = await doors.tool(argv, work, seconds=SECONDS, check=False)
    found = _UNLOCKED.search(said.text() + said.stderr.decode("utf-8", "replace"))
    if said.status != 0 or found is None:
        raise errors.KeyNotProved(f"Status {said.status}.", element=volume)
    return found[1]


async def metadata(doors: Doors, work: Work | None, device: Path) -> str:
    """The header's metadata, as JSON."""
    dump = ("cryptsetup", "luksDump", "--dump-json-metadata", device)
    return (await doors.tool(dump, work, seconds=SECONDS)).text()


def slot_digest(device: Path, metadata: str, slot: str) -> str:
    """Hex SHA-256 of a key slot's area on the disk (LUKS2 on-disk format, 3.2).

    It changes when the slot is wiped or made anew, and says nothing of the key.
    Raises errors.KeyNotProved if the header does not have that slot.
    """
    try:
        area = json.loads(metadata)["keyslots"][slot]["area"]
        offset, size = int(area["offset"]), int(area["size"])
    except (ValueError, KeyError, TypeError):
        raise errors.KeyNotProved("Its header cannot be read.", element=str(device)) from None
    with device.open("rb") as file:
        file.seek(offset)
        return hashlib.sha256(file.read(min(size, SLOT_LIMIT))).hexdigest()
