"""Opens a machine's volumes with the recovery key, for whoever repairs it: from the recovery system
or from a stick. On the installed system that key goes to the start, which then goes on
(`node.boot.open_late`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from node.plan.boot import DATA_FOLDER, MAPPED, OEM, OEM_FOLDER, PERSISTENT, OpenVolume
from node.recoverykey import TEXT_SIZE, RecoveryKey
from node.system.booted import booted, part, parts
from node.system.door import Door
from node.system.install.doors import Doors
from node.system.keyfile import DATA_KEY, hold
from node.system.opening import Opener, Secret
from node.system.reading import names
from pairing import errors

MOUNT_SECONDS = 60.0
PLACES = (
    (OEM, OEM_FOLDER, "nodev,nosuid,noexec"),
    (PERSISTENT, DATA_FOLDER, "nodev,nosuid"),
)
"""Label, where it is mounted, how: as in the installed system."""


def read_key(typed: str) -> RecoveryKey:
    """The key in what was typed or pasted: blanks, dashes and capital letters do not matter.

    Raises errors.UsageError.
    """
    letters = "".join(typed.lower().replace("-", "").split())
    groups = "-".join(letters[start : start + 8] for start in range(0, len(letters), 8))
    try:
        return RecoveryKey.from_passphrase(groups.encode("ascii", "replace"))
    except ValueError:
        raise errors.UsageError(
            f"A recovery key has {TEXT_SIZE} characters: 8 groups of 8 letters."
        ) from None


def installed_disk(root: Path) -> str:
    """The kernel's name of the disk with our volumes: the one that was booted, or the only one.

    Raises errors.DiskNotChosen.
    """
    running = booted(root)
    if running and part(root, running.disk, PLACES[0][0]):
        return running.disk
    found = [disk for disk in names(root / "sys/block") if _is_ours(root, disk)]
    if len(found) != 1:
        raise errors.DiskNotChosen(f"Disks with our volumes: {', '.join(found) or 'none'}.")
    return found[0]


def _is_ours(root: Path, disk: str) -> bool:
    labels = {one.label for one in parts(root, disk)}
    return all(label in labels for label, *_ in PLACES)


def unlock(key: RecoveryKey, root: Path, run: Door) -> Iterator[str]:
    """Open and mount both volumes; yields a line for each.

    Data that is whole can lie behind a config that an installation has not finished, or that has
    another key still: that one is told, and left out.

    Raises errors.UnlockFailed, errors.DiskNotChosen, errors.MissingError.
    """
    disk = installed_disk(root)
    opener = Opener(root, run, Secret("key", key.passphrase))
    for label, where, options in PLACES:
        found = part(root, disk, label)
        if found is None:
            raise errors.UnlockFailed("It is not on the disk.", element=label)
        try:
            device = _open(label, str(found.device), opener)
            if device:
                run(["mount", "-o", options, device, where], seconds=MOUNT_SECONDS)
        except (errors.UnlockFailed, errors.CommandFailed) as wrong:
            if label != OEM:
                raise
            yield f"{label} is left out: {wrong.sentence}"
            continue
        if device:
            yield f"{label} is open at {where}"
        else:
            yield f"{label} holds nothing: the machine was reset"


def _open(label: str, device: str, opener: Opener) -> str:
    """What to mount, empty if it holds nothing. Raises errors.UnlockFailed, errors.MissingError."""
    asked = ["cryptsetup", "isLuks", device]
    if opener.run(asked, seconds=MOUNT_SECONDS, check=False).status == 0:
        opener.open(OpenVolume(label=label, device=device, means="key"))
        return f"/dev/mapper/{MAPPED[label]}"
    return device if _is_plain(device, opener.run) else ""


def _is_plain(device: str, run: Door) -> bool:
    """Whether it was never encrypted: it is mounted as it is."""
    probe = ["blkid", "--probe", "--match-tag", "TYPE", "--output", "value", device]
    return run(probe, seconds=MOUNT_SECONDS, check=False).text().strip() == "ext4"


def keep_key(key: RecoveryKey, root: Path) -> None:
    """Keep the key in memory until the restart: an installation that keeps the data needs it.

    Raises errors.KeyNotInMemory.
    """
    folder = Doors(root=root).own
    hold(root, folder, DATA_KEY, key)
