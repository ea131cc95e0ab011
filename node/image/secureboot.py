"""What firmware in setup mode enrols: our own keys as signed lists (UEFI 2.10, 32.3; efitools).

systemd-boot finds them in `loader/keys/auto` (systemd-boot(7)). The dates in them are fixed, so
that the same keys give the same bytes.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from pathlib import Path

from node.image.rooms import KEYS, Room

SECONDS = 60.0
DATE = "2020-01-01 00:00:00"
SIGNED_BY = {"PK": "PK", "KEK": "PK", "db": "KEK"}


def enrolment(tools: Room, work: Path, keys: Path) -> Mapping[str, Path]:
    """Write PK.auth, KEK.auth and db.auth into `work`. Raises what Room.run raises."""
    owner = _owner(keys)
    found: dict[str, Path] = {}
    for role, signer in SIGNED_BY.items():
        argv = ["cert-to-efi-sig-list", "-g", owner, f"{KEYS}/{role}.crt", f"{role}.esl"]
        tools.run(argv, work, seconds=SECONDS, keys=keys)
        argv = ["sign-efi-sig-list", "-g", owner, "-t", DATE, "-k", f"{KEYS}/{signer}.key"]
        argv += ["-c", f"{KEYS}/{signer}.crt", role, f"{role}.esl", f"{role}.auth"]
        tools.run(argv, work, seconds=SECONDS, keys=keys)
        found[f"{role}.auth"] = work / f"{role}.auth"
    return found


def _owner(keys: Path) -> str:
    """Whose keys they are, as firmware lists it."""
    digest = hashlib.sha256((keys / "PK.crt").read_bytes()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))
