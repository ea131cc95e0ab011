"""What a power cut leaves."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path


def flush_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut (fsync(2)). Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_volume(folder: Path) -> None:
    """Make all of the folder's file system survive a power cut: syncfs(2), then fsync(2).

    For FAT: Linux keeps a rename or a removal there in memory at an fsync(2) of the folder, and
    does not make the disk flush its cache at a syncfs(2). Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc.syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put a file in place: whole, flushed, under its name only then. FAT does too.

    Raises OSError.
    """
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    flush_volume(path.parent)
