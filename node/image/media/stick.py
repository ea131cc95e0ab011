"""The stick: a raw disk image for dd(1). GPT with boot partition, root and hashes."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from node.image.rooms import Room

SECONDS = 120.0
MIB = 2**20
SECTOR = 512
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
DATA_TYPE = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"


@dataclass(frozen=True, slots=True)
class Part:
    """A partition and the file with its content."""

    label: str
    kind: str
    content: Path


def make(tools: Room, work: Path, parts: Sequence[Part], seed: str, target: str) -> Path:
    """Write the image `work/target`. The same `seed` gives the same identifiers.

    Raises what Room.run raises.
    """
    image, at = work / target, MIB
    lines = ["label: gpt", f"label-id: {identifier(seed, 'disk')}", "unit: sectors"]
    places: list[tuple[Path, int]] = []
    for part in parts:
        size = -(-part.content.stat().st_size // MIB) * MIB
        lines.append(
            f"start={at // SECTOR}, size={size // SECTOR}, type={part.kind},"
            f' name="{part.label}", uuid={identifier(seed, part.label)}'
        )
        places.append((part.content, at))
        at += size
    with image.open("wb") as file:
        file.truncate(at + MIB)
    script = "\n".join(lines).encode() + b"\n"
    argv = ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", target]
    tools.run(argv, work, seconds=SECONDS, stdin=script)
    for content, offset in places:
        _copy(content, image, offset)
    return image


def _copy(content: Path, image: Path, offset: int) -> None:
    with content.open("rb") as source, image.open("r+b") as disk:
        disk.seek(offset)
        shutil.copyfileobj(source, disk, 4 * MIB)


def identifier(seed: str, name: str) -> str:
    """A UUID for a disk or partition: the same for the same content."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4)).upper()
