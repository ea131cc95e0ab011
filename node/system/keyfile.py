"""The recovery key as a file in memory: for cryptsetup and its like, and over a restart of ours.

Only in a file system that the kernel keeps in memory, in a folder that only root may enter, mode
0600, one file for each release: a key that one operator holds is never used for another's lease.
See docs/adr/0013 for why a file, and why it may outlive the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from node.recoverykey import TEXT_SIZE, RecoveryKey
from node.system.reading import read
from pairing import errors

IN_MEMORY = frozenset({"tmpfs", "ramfs"})
DATA_KEY = "the data that is kept"
"""In place of a release: the key of a data volume that was opened in a repair session."""


def hold(root: Path, folder: Path, release: str, key: RecoveryKey) -> Path:
    """Write the key below `folder` if it is not there; returns the file.

    Raises errors.KeyNotInMemory if that folder is on a disk.
    """
    if filesystem(root, folder) not in IN_MEMORY:
        raise errors.KeyNotInMemory(element=str(folder))
    path = _path(folder, release)
    if _content(path) != key.passphrase:
        drop(folder, release)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(path, flags, 0o600)
        try:
            os.write(handle, key.passphrase)
        finally:
            os.close(handle)
    return path


def held(folder: Path, release: str) -> RecoveryKey | None:
    """The key that `hold` left for this release, None if there is none."""
    try:
        return RecoveryKey.from_passphrase(_content(_path(folder, release)))
    except ValueError:
        return None


def drop(folder: Path, release: str) -> None:
    """Overwrite and remove the file; nothing happens if there is none."""
    path = _path(folder, release)
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        file.write(bytes(TEXT_SIZE))
        file.flush()
    path.unlink(missing_ok=True)


def filesystem(root: Path, folder: Path) -> str:
    """The type of the file system that holds a folder, by the mount table."""
    best, kind = "", ""
    inside = Path("/") / folder.relative_to(root)
    for line in read(root / "proc/self/mountinfo").decode("utf-8", "replace").splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if len(fields) < 5 or not rest:
            continue
        if inside.is_relative_to(fields[4]) and len(fields[4]) >= len(best):
            best, kind = fields[4], rest[0]
    return kind


def _path(folder: Path, release: str) -> Path:
    name = hashlib.sha256(f"recovery key {release}".encode()).hexdigest()[:16]
    return folder / f"key-{name}"


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(TEXT_SIZE + 1)
    except OSError:
        return b""
