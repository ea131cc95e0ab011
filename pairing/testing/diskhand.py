"""Somebody has the disk of a machine that is switched off: reads and changes its parts.

Nothing is mounted. Programs: mtools, sgdisk, mkfs.ext4, mkswap.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from pairing import process
from pairing.testing.gpt import Partition, tables

SECONDS = 120.0
MIB = 1 << 20
_QUIET = {"MTOOLS_SKIP_CHECK": "1"}


@dataclass(frozen=True, slots=True)
class DiskHand:
    """The disk's image, and the label of its boot partition."""

    image: Path
    boot: str = "KR_ESP"

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """In the order of the table."""

        def read(offset: int, length: int) -> bytes:
            with self.image.open("rb") as file:
                file.seek(offset)
                return file.read(length)

        return tables(read, self.image.stat().st_size).partitions

    def partition(self, label: str) -> Partition:
        """The first with this label. Raises KeyError."""
        for part in self.partitions:
            if part.label == label:
                return part
        raise KeyError(label)

    def read(self, name: str) -> bytes:
        """A file of the boot partition. Raises errors.CommandFailed."""
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch, "file")
            self._mtools("mcopy", f"::{name}", str(target))
            return target.read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Put a file on the boot partition, and make the folders that it lies in."""
        for folder in reversed(Path(name).parents[:-1]):
            self._mtools("mmd", "-D", "s", f"::{folder}", check=False)
        with tempfile.TemporaryDirectory() as scratch:
            source = Path(scratch, "file")
            source.write_bytes(content)
            self._mtools("mcopy", "-o", str(source), f"::{name}")

    def copied(self, label: str, target: Path) -> Path:
        """A partition's content, as the file `target`."""
        part = self.partition(label)
        take = ["iflag=skip_bytes,count_bytes", f"skip={part.offset}", f"count={part.size}"]
        argv = ["dd", f"if={self.image}", f"of={target}", *take, "bs=4M", "status=none"]
        process.run(argv, seconds=SECONDS)
        return target

    def overwrite(self, label: str, content: Path) -> None:
        """Put a file system's image in the place of a partition's content, from its begin."""
        part = self.partition(label)
        assert content.stat().st_size <= part.size, "it does not fit"
        seek = ["oflag=seek_bytes", f"seek={part.offset}", "bs=4M", "conv=notrunc"]
        argv = ["dd", f"if={content}", f"of={self.image}", *seek, "status=none"]
        process.run(argv, seconds=SECONDS)

    def append(self, kind: str, label: str, content: Path) -> None:
        """Make the disk larger, and put a partition of this type there, with this content."""
        size = content.stat().st_size
        with self.image.open("r+b") as file:
            file.truncate(self.image.stat().st_size + size + 4 * MIB)
        process.run(["sgdisk", "--move-second-header", str(self.image)], seconds=SECONDS)
        argv = ["sgdisk", f"--new=0:0:+{size // MIB}M", f"--typecode=0:{kind}"]
        process.run([*argv, f"--change-name=0:{label}", str(self.image)], seconds=SECONDS)
        self.overwrite(label, content)

    def _mtools(self, program: str, *words: str, check: bool = True) -> None:
        where = ["-i", f"{self.image}@@{self.partition(self.boot).offset}"]
        argv = [program, *where, *words]
        process.run(argv, seconds=SECONDS, environment=_QUIET, check=check)


def filesystem(folder: Path, target: Path, size: int) -> Path:
    """An ext4 file system of `size` bytes in `target`, filled with what lies in `folder`."""
    with target.open("wb") as file:
        file.truncate(size)
    process.run(["mkfs.ext4", "-q", "-d", str(folder), str(target)], seconds=SECONDS)
    return target


def swap(target: Path, size: int) -> Path:
    """Swap space of `size` bytes in `target`."""
    with target.open("wb") as file:
        file.truncate(size)
    process.run(["mkswap", str(target)], seconds=SECONDS)
    return target
