"""The node's lease as one file in the encrypted volume: whole and on disk, or as it was before."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from pairing import errors
from pairing.durable import flush_folder
from pairing.protocol.kept import SIZE_LIMIT, KeptTenancy

NAME = "tenancy.json"


@dataclass(frozen=True, slots=True)
class TenancyStore:
    """`path` is the file; its folder must exist (`/oem/.kairos` once the volume is open)."""

    path: Path

    def save(self, kept: KeptTenancy) -> None:
        """Replace the file. A power cut leaves the old one or the new one.

        Raises errors.TenancyUnwritable.
        """
        draft = self.path.with_name(f".{self.path.name}.new")
        try:
            _write(draft, kept.to_bytes())
            draft.replace(self.path)
            flush_folder(self.path.parent)
        except OSError as wrong:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise errors.TenancyUnwritable(f"({wrong.strerror})", element=str(self.path)) from None

    def load(self) -> KeptTenancy | None:
        """What was saved; None if nothing was. Raises errors.TenancyDamaged."""
        try:
            with self.path.open("rb") as file:
                data = file.read(SIZE_LIMIT + 1)
        except FileNotFoundError:
            return None
        except OSError as wrong:
            raise errors.TenancyDamaged(f"({wrong.strerror})", element=str(self.path)) from None
        try:
            return KeptTenancy.from_bytes(data)
        except ValueError as wrong:
            raise errors.TenancyDamaged(f"({wrong})", element=str(self.path)) from None


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
