"""The firmware's variables for a virtual machine: OVMF's empty ones, or with keys enrolled.

`virt-fw-vars` is of the package virt-firmware: it does on the host what a person would do in the
firmware's menus.
"""

from __future__ import annotations

import shutil
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

from pairing import process
from pairing.testing.hardware import OVMF

EMPTY = OVMF / "OVMF_VARS_4M.fd"
SECONDS = 30.0
OWNER = uuid.UUID("6f0b6dc2-8f0e-4c43-9b21-5d2d4f6f3c11")
"""Who is named as owner of the keys; any GUID does. It is measured into PCR 7."""
SETTINGS = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
"""EFI_GLOBAL_VARIABLE of the UEFI specification: BootOrder, SecureBoot, PK and KEK."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """PEM files: platform key, key exchange key, and the key that signs what may start."""

    platform: Path
    exchange: Path
    database: Path


def variables(target: Path, keys: Certificates | None = None) -> Path:
    """Write new variables to `target`: setup mode, or Secure Boot on with `keys`.

    Raises errors.CommandFailed and OSError.
    """
    if keys is None:
        shutil.copy(EMPTY, target)
        return target
    enrolled = [*_enrolled(keys), "--secure-boot"]
    _change(["--input", str(EMPTY), "--output", str(target), *enrolled])
    return target


def add_keys(file: Path, keys: Certificates) -> None:
    """Enrol these keys with Secure Boot switched off; boot entries stay.

    Off has to be said: where OVMF finds keys and no such variable, it switches Secure Boot on.
    Raises errors.CommandFailed.
    """
    _change(["--inplace", str(file), *_enrolled(keys), "--set-false", "SecureBootEnable"])


def _enrolled(keys: Certificates) -> list[str]:
    words = ["--set-pk", str(OWNER), str(keys.platform)]
    words += ["--add-kek", str(OWNER), str(keys.exchange)]
    return [*words, "--add-db", str(OWNER), str(keys.database)]


def clear_keys(file: Path) -> None:
    """As the menu's "reset to setup mode" does: no keys, Secure Boot off; boot entries stay."""
    words = ["--inplace", str(file)]
    for name in ("PK", "KEK", "db", "dbx"):
        words += ["--delete", name]
    _change(words)


def described(file: Path) -> str:
    """All variables as text, a line or more each: for looking up boot entries and keys."""
    return _change(["--input", str(file), "--print", "--verbose"])


def _change(words: list[str]) -> str:
    command = [sys.executable, "-m", "virt.firmware.vars", *words]
    done = process.run(command, seconds=SECONDS)
    return done.text() + done.stderr.decode("utf-8", "replace")
