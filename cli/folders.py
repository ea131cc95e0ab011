"""Where the operator's keys and records lie, and how they get there without ever being half there.

Folders follow the XDG base directory specification: keys below the config folder, records below
the data folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pairing import errors
from pairing.durable import flush_folder

NAME = "kairos-register"


def config_folder() -> Path:
    """`$XDG_CONFIG_HOME/kairos-register`, by default `~/.config/kairos-register`."""
    return _xdg("XDG_CONFIG_HOME", ".config")


def data_folder() -> Path:
    """`$XDG_DATA_HOME/kairos-register`, by default `~/.local/share/kairos-register`."""
    return _xdg("XDG_DATA_HOME", ".local/share")


def _xdg(variable: str, default: str) -> Path:
    """A relative value is ignored, as the specification says."""
    value = Path(os.environ.get(variable, ""))
    if value.is_absolute():
        return value / NAME
    try:
        return Path.home() / default / NAME
    except RuntimeError:
        raise errors.StoreUnwritable(f"Neither HOME nor {variable} is set.") from None


def make_private(folder: Path) -> None:
    """Make `folder` for its owner alone. Raises errors.StoreUnwritable."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as wrong:
        raise errors.StoreUnwritable(f"({wrong.strerror})", element=str(folder)) from None


def check_private(path: Path) -> None:
    """Raises errors.KeyFolderUnsafe if others may read or write `path`, or own it."""
    found = path.stat()
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise errors.KeyFolderUnsafe(
            f"Its mode is {stat.S_IMODE(found.st_mode):o}.", element=str(path)
        )
    if found.st_uid not in (os.getuid(), 0):
        raise errors.KeyFolderUnsafe("It belongs to somebody else.", element=str(path))


def write_private(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Write a file for its owner alone: whole and on disk when this returns, or not at all.

    Without `replace` an existing file is kept and FileExistsError raised, even when two processes
    do this at once. Raises errors.StoreUnwritable.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        _write_new(draft, data)
        try:
            if replace:
                draft.replace(path)
            else:
                os.link(draft, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
        flush_folder(path.parent)
        if path.read_bytes() != data:
            raise errors.StoreUnwritable("It does not read back as written.", element=str(path))
    except FileExistsError:
        raise
    except OSError as wrong:
        raise errors.StoreUnwritable(f"({wrong.strerror})", element=str(path)) from None


def _write_new(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` while the context lasts: one writer at a time, over all processes.

    What is done under it takes milliseconds. Raises errors.StoreUnwritable.
    """
    make_private(path.parent)
    try:
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as wrong:
        raise errors.StoreUnwritable(wrong.strerror or "", element=str(path)) from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)
