"""The root file system: one squashfs, and the hash tree that dm-verity checks each read against."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from node.image import layers
from node.image.product import LEFT_OUT
from node.image.rooms import Room
from pairing import errors

SECONDS = 900.0
LEVEL = 6
"""Of zstd: higher ones take minutes and save a few per cent."""
_ROOT_HASH = re.compile(r"^Root hash:\s*([0-9a-f]{64})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Root:
    """Where both files are, and the hash that stands for all of it (hex)."""

    squashfs: Path
    verity: Path
    hash: str


def make(draft: Path, parts: Sequence[Path], tools: Room, epoch: int) -> Root:
    """Fill `draft` with `root.squashfs` and `root.verity` from layers (tar archives, in order).

    The same layers give the same hash: salt and UUID come from the content.
    Raises what Room.run raises.
    """
    whole = draft / "root.tar"
    layers.merge(parts, whole, epoch=epoch, leave_out=LEFT_OUT)
    squash = ["sqfstar", "-quiet", "-no-progress", "-comp", "zstd"]
    squash += ["-Xcompression-level", str(LEVEL), "-b", "256K", "-reproducible"]
    squash += [
        "-mkfs-time",
        str(epoch),
        "-all-time",
        str(epoch),
        "-default-mode",
        "0755",
        "root.squashfs",
    ]
    _shell(tools, draft, f"{' '.join(squash)} < root.tar")
    whole.unlink()
    hashes = _hash_tree(draft, tools)
    for name in ("root.squashfs", "root.verity"):
        (draft / name).chmod(0o644)
    return Root(draft / "root.squashfs", draft / "root.verity", hashes)


def _hash_tree(draft: Path, tools: Room) -> str:
    with (draft / "root.squashfs").open("rb") as file:
        content = hashlib.file_digest(file, "sha256")
    own = uuid.UUID(bytes=content.digest()[:16], version=4)
    argv = ["veritysetup", "format", "--salt", content.hexdigest(), "--uuid", str(own)]
    said = tools.run([*argv, "root.squashfs", "root.verity"], draft, seconds=SECONDS).text()
    found = _ROOT_HASH.search(said)
    if found is None:
        raise errors.CommandFailed("It named no root hash.", element="veritysetup")
    return found[1]


def _shell(tools: Room, draft: Path, command: str) -> None:
    tools.run(["sh", "-e", "-c", command], draft, seconds=SECONDS)
