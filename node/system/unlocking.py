"""Opens a machine's volumes with the recovery key, for whoever repairs it: from the recovery system
or from a stick. The start of the installed system does this in its own way.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from node.recoverykey import TEXT_SIZE, RecoveryKey
from node.system.booted import booted, part, parts
from node.system.door import Door
from node.system.reading import names
from pairing import errors

OPEN_SECONDS = 120.0
"""Argon2 takes its time on a small machine."""
MOUNT_SECONDS = 60.0
PLACES = (
    ("KR_OEM", "kr_oem", "/oem", "nodev,nosuid,noexec"),
    ("KR_PERSISTENT", "kr_persistent", "/usr/local", "nodev,nosuid"),
)
"""Label, name below /dev/mapper, where it is mounted, how: as in the installed system."""


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
    """Open and mount both volumes; gives a line for each that is done.

    Raises errors.UnlockFailed, errors.DiskNotChosen, errors.MissingError.
    """
    disk = installed_disk(root)
    for label, mapped, where, options in PLACES:
        found = part(root, disk, label)
        if found is None:
            raise errors.UnlockFailed("It is not on the disk.", element=label)
        device = _open(str(found.device), label, mapped, key, root, run)
        run(["mount", "-o", options, device, where], seconds=MOUNT_SECONDS)
        yield f"{label} is open at {where}"


def _open(device: str, label: str, mapped: str, key: RecoveryKey, root: Path, run: Door) -> str:
    if (root / "dev/mapper" / mapped).exists():
        return f"/dev/mapper/{mapped}"
    if run(["cryptsetup", "isLuks", device], seconds=MOUNT_SECONDS, check=False).status != 0:
        return device  # never encrypted
    # Without the option cryptsetup would ask the TPM first.
    argv = ["cryptsetup", "open", "--type", "luks2", "--disable-external-tokens", "--key-file", "-"]
    opened = run([*argv, device, mapped], seconds=OPEN_SECONDS, stdin=key.passphrase, check=False)
    if opened.status != 0:
        raise errors.UnlockFailed(f"Status {opened.status}.", element=label)
    return f"/dev/mapper/{mapped}"
