"""What a firmware, a kernel and a thief find on a disk's image. Nothing is mounted or changed.

Programs: mtools, cryptsetup. Looking again is cheap: what was not written since is not read again.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pairing import process
from pairing.testing.gpt import ESP, Partition, Tables, tables

SECONDS = 120.0
HEADER = 16 << 20
"""Bytes before the data of a LUKS2 volume, as systemd-repart makes it."""
LUKS = b"LUKS\xba\xbe"
_PIECE = 1 << 22
Range = tuple[int, int]
"""From and to, in bytes of the disk."""


@dataclass(frozen=True, slots=True)
class Volume:
    """An encrypted volume. `opens`: whether the given key does."""

    slots: int
    opens: bool


@dataclass(frozen=True, slots=True)
class DiskView:
    """Contents are by label; empty ones of upgrades to come are left out.

    `digests`: SHA-256 of a whole partition that is neither the ESP nor encrypted. `boot`: the same
    of the ESP's files by their path in small letters, None where it has no readable file system.
    """

    tables: Tables
    digests: Mapping[str, str] = field(default_factory=dict)
    boot: Mapping[str, str] | None = None
    volumes: Mapping[str, Volume] = field(default_factory=dict)


class Looker:
    """Looks at one image again and again. `key`: the passphrase that should open the volumes."""

    def __init__(self, image: Path, key: bytes | None = None, ignored: Sequence[str] = ()) -> None:
        self._image = image
        self._key = key
        self._ignored = frozenset((*ignored, "_empty"))
        self._seen: dict[Partition, object] = {}

    def look(self, changed: Iterable[Range] = ()) -> DiskView:
        """As it is now. `changed`: what was written since the last look.

        Raises errors.CommandMissing and OSError.
        """
        for start, end in changed:
            gone = [p for p in self._seen if start < p.offset + p.size and p.offset < end]
            for part in gone:
                del self._seen[part]
        found = tables(self._read, self._image.stat().st_size)
        digests: dict[str, str] = {}
        volumes: dict[str, Volume] = {}
        boot: Mapping[str, str] | None = None
        for part in found.partitions:
            if part.label in self._ignored:
                continue
            content = self._content(part)
            if isinstance(content, Volume):
                volumes[part.label] = content
            elif isinstance(content, str):
                digests[part.label] = content
            elif isinstance(content, Mapping):
                boot = content
        return DiskView(found, digests, boot, volumes)

    def _content(self, part: Partition) -> object:
        if part not in self._seen:
            if part.kind == ESP:
                self._seen[part] = self._files(part)
            elif self._read(part.offset, len(LUKS)) == LUKS:
                self._seen[part] = self._volume(part)
            else:
                self._seen[part] = self._digest(part)
        return self._seen[part]

    def _read(self, offset: int, length: int) -> bytes:
        with self._image.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def _digest(self, part: Partition) -> str:
        whole, left = hashlib.sha256(), part.size
        with self._image.open("rb") as file:
            file.seek(part.offset)
            while left and (piece := file.read(min(_PIECE, left))):
                whole.update(piece)
                left -= len(piece)
        return whole.hexdigest()

    def _files(self, part: Partition) -> Mapping[str, str] | None:
        """mtools(1) reads a file system at an offset of an image.

        A file whose clusters are not all written yet stops its copying of a tree; firmware that
        wants another file does not care. So each is read by itself then.
        """
        source = f"{self._image}@@{part.offset}"
        with tempfile.TemporaryDirectory() as scratch:
            top = Path(scratch)
            if _mtools("mcopy", "-s", "-n", "-i", source, "::*", scratch) is None:
                if (listed := _mtools("mdir", "-/", "-b", "-i", source, "::")) is None:
                    return None
                names = [line.removeprefix("::/") for line in listed.splitlines()]
                for name in (name for name in names if name and not name.endswith("/")):
                    target = top / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    if _mtools("mcopy", "-n", "-i", source, f"::/{name}", str(target)) is None:
                        target.write_bytes(b"cannot be read")
            return {
                str(path.relative_to(top)).lower(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(top.rglob("*"))
                if path.is_file()
            }

    def _volume(self, part: Partition) -> Volume:
        """A copy of the header alone: its slots, and whether the key fits one of them."""
        with tempfile.NamedTemporaryFile() as header:
            header.write(self._read(part.offset, HEADER))
            header.flush()
            dump = ["cryptsetup", "luksDump", "--dump-json-metadata", header.name]
            said = process.run(dump, seconds=SECONDS, check=False)
            if said.status != 0:
                return Volume(0, opens=False)
            slots = len(json.loads(said.stdout)["keyslots"])
            return Volume(slots, opens=self._key is not None and self._opens(header.name))

    def _opens(self, header: str) -> bool:
        argv = ["cryptsetup", "open", "--test-passphrase", "--disable-external-tokens"]
        argv += ["--type", "luks2", "--key-file", "-", header]
        key = self._key or b""
        return process.run(argv, seconds=SECONDS, stdin=key, check=False).status == 0


def _mtools(*argv: str) -> str | None:
    """What it says; None where it fails."""
    done = process.run(argv, seconds=SECONDS, environment={"MTOOLS_SKIP_CHECK": "1"}, check=False)
    return done.text() if done.status == 0 else None
