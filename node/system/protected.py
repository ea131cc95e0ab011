"""Reads back what protects the volumes of a disk: their LUKS2 headers. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from node.plan.protection import Lock, protection, read_lock
from node.system.booted import booted, disk_name, part
from node.system.reading import Run
from pairing import errors
from pairing.protection import Protection
from pairing.protocol.tenancy import Tenancy

SECONDS = 60.0
VOLUMES = ("KR_OEM", "KR_PERSISTENT")


def locks(disk: str, root: Path, run: Run) -> Sequence[Lock | None]:
    """Of both volumes of the disk at this path; None for one that is not encrypted.

    Raises errors.DiskIncomplete if one is missing or its header cannot be read.
    """
    return [_lock(disk, label, root, run) for label in VOLUMES]


def running(
    root: Path, run: Run, *, mode: str, secure_boot: str, held: Tenancy | None
) -> Protection | None:
    """Of the disk that the installed system runs from; None where that cannot be told.

    `mode` is what the config asks for, `held` the lease that tells of the recovery key.
    """
    started = booted(root)
    if started is None:
        return None
    try:
        found = locks(f"/dev/{started.disk}", root, run)
    except errors.KnownError:
        return None
    manifest = held.manifest if held else None
    return protection(
        found,
        mode=mode,
        recovery=held is not None and held.proof is not None,
        recipients=len(manifest.escrow) if manifest else 0,
        secure_boot=secure_boot,
    )


def _lock(disk: str, label: str, root: Path, run: Run) -> Lock | None:
    found = part(root, disk_name(root, disk), label)
    if found is None:
        raise errors.DiskIncomplete(f"It has no partition {label}.", element=disk)
    device = str(found.device)
    if run(["cryptsetup", "isLuks", device], seconds=SECONDS, check=False).status != 0:
        return None
    dump = ["cryptsetup", "luksDump", "--dump-json-metadata", device]
    try:
        return read_lock(run(dump, seconds=SECONDS).text())
    except (errors.MissingError, ValueError):
        raise errors.DiskIncomplete("Its header cannot be read.", element=label) from None
