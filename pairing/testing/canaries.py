"""Whether a secret is anywhere it should not be: on a disk outside of encryption, in logs, in lists
of processes. A secret is looked for as it is, and in the forms in which programs write things down.
"""

from __future__ import annotations

import base64
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pairing import process
from pairing.testing.diskview import HEADER, LUKS
from pairing.testing.gpt import Partition, tables

SHORTEST = 12
"""Characters: shorter secrets would be found by chance (their base64 loses up to four)."""
UNPACK_SECONDS = 300.0
_PIECE = 1 << 22
_SQUASHFS = b"hsqs"
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """A secret's name, the form it was found in, and where."""

    name: str
    form: str
    where: str


class Canaries:
    """Secrets by name, and the search for them. Raises ValueError for a short one."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._meaning: dict[bytes, tuple[str, str]] = {}
        for name, secret in secrets.items():
            if len(secret) < SHORTEST:
                raise ValueError(f"{name} is too short to be looked for")
            for form, pattern in forms(secret):
                self._meaning[pattern] = (name, form)
        self._overlap = max(map(len, self._meaning)) - 1
        self._pattern = re.compile(b"|".join(map(re.escape, self._meaning)))

    def in_bytes(self, data: bytes, where: str) -> set[Finding]:
        return {Finding(*self._meaning[hit], where) for hit in self._pattern.findall(data)}

    def in_file(self, path: Path, where: str = "", leave_out: Iterable[Range] = ()) -> set[Finding]:
        """In a file, or a disk's image without the ranges `leave_out` (bytes, from and to)."""
        found: set[Finding] = set()
        for start, end in _between(path.stat().st_size, leave_out):
            for data in self._pieces(path, start, end):
                found |= self.in_bytes(data, where or path.name)
        return found

    def in_tree(self, folder: Path) -> set[Finding]:
        """In every file below `folder`, and in the names of files and links."""
        found: set[Finding] = set()
        for path in folder.rglob("*"):
            name = str(path.relative_to(folder))
            found |= self.in_bytes(os.fsencode(name), f"name of {name}")
            if path.is_symlink():
                found |= self.in_bytes(os.fsencode(path.readlink()), name)
            elif path.is_file():
                found |= self.in_file(path, name)
        return found

    def on_disk(self, image: Path) -> set[Finding]:
        """On a partitioned disk's image: everywhere but in the data of encrypted volumes, and in
        the files of compressed file systems. Raises what in_squashfs raises."""
        found = self.in_file(image, leave_out=sealed(image))
        for part in _partitions(image):
            found |= self.in_squashfs(image, part.offset)
        return found

    def in_squashfs(self, image: Path, offset: int = 0) -> set[Finding]:
        """Inside a compressed file system that begins at `offset`; nothing, if none does.

        unsquashfs(1). Raises errors.CommandMissing and errors.CommandFailed.
        """
        with image.open("rb") as file:
            file.seek(offset)
            if file.read(len(_SQUASHFS)) != _SQUASHFS:
                return set()
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch, "root")
            argv = ["unsquashfs", "-no-progress", "-no-xattrs", "-ignore-errors"]
            argv += ["-offset", str(offset), "-dest", str(target), str(image)]
            process.run(argv, seconds=UNPACK_SECONDS)
            return self.in_tree(target)

    def _pieces(self, path: Path, start: int, end: int) -> Iterator[bytes]:
        """What is between two places, without holes; pieces overlap by the longest pattern."""
        with path.open("rb") as file:
            at = start
            while at < end:
                try:
                    data = os.lseek(file.fileno(), at, os.SEEK_DATA)
                except OSError:  # nothing but a hole up to the end of the file
                    return
                # A secret may begin just before a piece that begins after a hole: never, as zeros.
                at = max(at, min(data, end))
                file.seek(at)
                piece = file.read(min(_PIECE, end - at))
                if not piece:
                    return
                yield piece
                at += len(piece)
                if at < end:
                    at = max(at - self._overlap, at - len(piece) + 1)


def sealed(image: Path) -> list[Range]:
    """Where the data of a disk's LUKS2 volumes is, behind their headers."""
    parts = _partitions(image)
    with image.open("rb") as disk:
        starts = [os.pread(disk.fileno(), len(LUKS), part.offset) for part in parts]
    return [
        (part.offset + HEADER, part.offset + part.size)
        for part, start in zip(parts, starts, strict=True)
        if start == LUKS
    ]


def _partitions(image: Path) -> Sequence[Partition]:
    with image.open("rb") as disk:
        size = image.stat().st_size
        return tables(lambda at, count: os.pread(disk.fileno(), count, at), size).partitions


def forms(secret: str) -> Iterator[tuple[str, bytes]]:
    """How programs write a secret down: name of the form, and the bytes."""
    plain = secret.encode()
    yield "plain", plain
    yield "hex", plain.hex().encode()
    yield "hex", plain.hex().upper().encode()
    for encoding in ("utf-16-le", "utf-16-be"):
        yield encoding, secret.encode(encoding)
    for before in range(3):
        yield from _base64(plain, before)


def _base64(plain: bytes, before: int) -> Iterator[tuple[str, bytes]]:
    """The letters that depend on the secret alone, after `before` other bytes."""
    first, last = -(-before * 8 // 6), (before + len(plain)) * 8 // 6
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield f"base64 after {before}", encode(bytes(before) + plain)[first:last]


def _between(size: int, leave_out: Iterable[Range]) -> Sequence[Range]:
    """What is left of 0 to `size`."""
    found, at = [], 0
    for start, end in sorted(leave_out):
        if start > at:
            found.append((at, start))
        at = max(at, end)
    return [*found, (at, size)] if at < size else found
