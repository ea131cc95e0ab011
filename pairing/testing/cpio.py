"""Turn a tar archive into a Linux initramfs (cpio "newc"), without root and without other programs.

Format: Documentation/driver-api/early-userspace/buffer-format.rst of the Linux kernel. Archives
may be appended to each other: files of a later one replace those of an earlier one.
"""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CHUNK = 1 << 20
BLOCK = 512
KINDS = {
    tarfile.REGTYPE: stat.S_IFREG,
    tarfile.AREGTYPE: stat.S_IFREG,
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """The numbers of one newc header that are not always zero."""

    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    major: int = 0
    minor: int = 0


class _Writer:
    """Writes records; every part is padded to four bytes, the archive to 512."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._position = 0
        self._inode = 0

    def record(self, name: str, header: _Header, content: IO[bytes]) -> None:
        self._inode += 1
        encoded = name.encode("utf-8", "surrogateescape") + b"\0"
        h = header
        identity = (self._inode, h.mode, h.uid, h.gid, 1, h.mtime, h.size)
        numbers = (*identity, 0, 0, h.major, h.minor, len(encoded), 0)
        self._write(b"070701" + b"".join(b"%08x" % number for number in numbers) + encoded)
        self._pad(4)
        while chunk := content.read(CHUNK):
            self._write(chunk)
        self._pad(4)

    def end(self) -> None:
        self.record("TRAILER!!!", _Header(), io.BytesIO())
        self._pad(BLOCK)

    def _write(self, data: bytes) -> None:
        self._target.write(data)
        self._position += len(data)

    def _pad(self, size: int) -> None:
        self._write(bytes(-self._position % size))


def from_tar(source: Path, target: Path, leave_out: Sequence[str] = ()) -> None:
    """Write the members of the tar file `source`, without those below a prefix in `leave_out`.

    Hard links become files of their own. Raises tarfile.TarError and OSError.
    """
    with tarfile.open(source) as archive, target.open("wb") as out:
        writer = _Writer(out)
        for member in archive:
            name = member.name.removeprefix("./")
            if name in ("", ".") or name.startswith(tuple(leave_out)):
                continue
            _copy(archive, member, name, writer)
        writer.end()


def _copy(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str, writer: _Writer) -> None:
    meta = archive.getmember(member.linkname) if member.islnk() else member
    content: IO[bytes] = io.BytesIO()
    size = 0
    if meta.isreg():
        content, size = archive.extractfile(meta) or content, meta.size
    elif meta.issym():
        link = meta.linkname.encode("utf-8", "surrogateescape")
        content, size = io.BytesIO(link), len(link)
    device = meta.ischr() or meta.isblk()
    header = _Header(
        mode=KINDS[meta.type] | meta.mode,
        uid=meta.uid,
        gid=meta.gid,
        mtime=int(meta.mtime),
        size=size,
        major=meta.devmajor if device else 0,
        minor=meta.devminor if device else 0,
    )
    writer.record(name, header, content)
