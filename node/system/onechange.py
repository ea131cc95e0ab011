"""One change of the installed system at a time: an upgrade, a rollback or a reset."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from pairing import errors

LOCK = "run/kairos-register/change.lock"


@contextlib.contextmanager
def one_change(root: Path, refused: type[errors.NodeError]) -> Iterator[None]:
    """Keep every other change away. Looking first counts: it uses the same folders and mounts.

    Raises `refused` if another one runs, at once.
    """
    path = root / LOCK
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # No program that we start inherits it: one that hangs would keep it.
        held = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as wrong:
        raise refused(f"{path}: {wrong.strerror}.") from None
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise refused(
                "Another upgrade, rollback or reset runs on this machine right now."
            ) from None
        yield
    finally:
        os.close(held)
