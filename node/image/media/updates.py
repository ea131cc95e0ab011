"""Update files: root, hashes and kernel of each version in a folder, as systemd-sysupdate reads it.

SHA256SUMS lists them all, SHA256SUMS.gpg signs the list (sysupdate.d(5), `Verify=`). Whoever
changes a file, or mixes two versions, changes the list.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from node.image import signing
from node.image.rooms import Room

_FILE = re.compile(r"kr_[^/]+\.(root|verity|efi)")


def publish(tools: Room, folder: Path, work: Path, keys: Path | None) -> None:
    """List every version's files in `folder`, and sign the list; both appear at once, last.

    Without keys there is no signature, and no machine takes the update. Raises what Room.run
    raises.
    """
    names = sorted(path.name for path in folder.iterdir() if _FILE.fullmatch(path.name))
    lines = (f"{_digest(folder / name)}  {name}\n" for name in names)
    (work / "SHA256SUMS").write_text("".join(lines), encoding="ascii")
    if keys is not None:
        signing.sign_sums(tools, work, keys)
        (work / "SHA256SUMS.gpg").replace(folder / "SHA256SUMS.gpg")
    (work / "SHA256SUMS").replace(folder / "SHA256SUMS")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
