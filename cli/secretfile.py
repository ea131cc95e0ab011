"""Where a secret goes that a command makes: a private file, or a pipe; never a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

from cli import folders
from pairing import errors


def put_out(data: bytes, path: Path | None, option: str) -> None:
    """Write `data` to the new file `path` (mode 0600), or to standard output unless a terminal.

    `option` is what names a file. An existing file is kept. Raises errors.UsageError,
    errors.StoreUnwritable.
    """
    if path is not None and str(path) != "-":
        try:
            folders.write_private(path, data, replace=False)
        except FileExistsError:
            raise errors.UsageError("It is there already.", element=str(path)) from None
        return
    if sys.stdout.isatty():
        raise errors.UsageError(f"This is a secret: name a file ({option} FILE), or pipe it on.")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
