"""Layers of a root tree as tar archives: written, merged, unpacked. Owners stay what they are.

Nothing here needs root: an archive can hold files of any owner, and mksquashfs reads archives.
"""

from __future__ import annotations

import io
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Layer:
    """Files to be laid over a tree, all owned by root. Paths are relative, without `./`."""

    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)

    def file(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """A file with this content, also in place of a link that was there."""
        data = content.encode() if isinstance(content, str) else content
        self.links.pop(path.lstrip("/"), None)
        self.files[path.lstrip("/")] = (data, mode)

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self.links[path.lstrip("/")] = target

    def folder(self, path: str, mode: int = 0o755) -> None:
        """An empty folder, unless files come into it."""
        self.folders[path.lstrip("/")] = mode

    def tree(self, source: Path, path: str) -> None:
        """Everything below the folder `source`, at `path`."""
        for entry in sorted(source.rglob("*")):
            place = f"{path.strip('/')}/{entry.relative_to(source)}".lstrip("/")
            if entry.is_symlink():
                self.link(place, str(entry.readlink()))
            elif entry.is_file():
                self.file(place, entry.read_bytes(), _mode(entry))

    def write(self, target: Path, epoch: int) -> None:
        """As an archive: sorted, with every folder on the way, all times `epoch` (seconds)."""
        with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(self._parents() | set(self.folders)):
                entry = _member(path, tarfile.DIRTYPE, self.folders.get(path, 0o755), epoch)
                archive.addfile(entry)
            for path, (data, mode) in sorted(self.files.items()):
                entry = _member(path, tarfile.REGTYPE, mode, epoch)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
            for path, to in sorted(self.links.items()):
                entry = _member(path, tarfile.SYMTYPE, 0o777, epoch)
                entry.linkname = to
                archive.addfile(entry)

    def _parents(self) -> set[str]:
        """Every folder on the way to a file or link."""
        names = [*self.files, *self.links, *self.folders]
        return {str(parent) for name in names for parent in Path(name).parents} - {"."}


def _mode(entry: Path) -> int:
    return 0o755 if entry.stat().st_mode & stat.S_IXUSR else 0o644


def _member(path: str, kind: bytes, mode: int, epoch: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.mtime = kind, mode, epoch
    return entry


def merge(
    layers: Sequence[Path], target: Path, *, epoch: int, leave_out: Sequence[str] = ()
) -> None:
    """One archive of several: a file of a later layer takes the place of an earlier one.

    What a later layer puts below a link of an earlier one (`/lib/x`, where `/lib` is a link to
    `usr/lib`) goes where the link leads, as on a running system. Left out: device nodes, and
    whatever begins with a prefix in `leave_out` (prefixes count for the first layer only: what we
    add ourselves is wanted). No time is later than `epoch`.
    Raises tarfile.TarError and OSError.
    """
    winners, links = _winners(layers)
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as out:
        for number, layer in enumerate(layers):
            prefixes = tuple(leave_out) if number == 0 else ()
            with tarfile.open(layer) as archive:
                for member, name in _kept(archive, links[number]):
                    if winners[name] == number and not (prefixes and name.startswith(prefixes)):
                        _copy(archive, member, name, out, epoch)


def _winners(layers: Sequence[Path]) -> tuple[Mapping[str, int], Sequence[Mapping[str, str]]]:
    """Which layer each path comes from: the last with it; a folder's first. And the links that
    each layer finds there."""
    winners: dict[str, int] = {}
    folders: set[str] = set()
    links: list[Mapping[str, str]] = [{}]
    for number, layer in enumerate(layers):
        found = dict(links[-1])
        with tarfile.open(layer) as archive:
            for member, name in _kept(archive, links[-1]):
                if member.isdir() and name in folders:
                    continue
                winners[name] = number
                found.pop(name, None)
                if member.isdir():
                    folders.add(name)
                else:
                    folders.discard(name)
                if member.issym():
                    found[name] = member.linkname
        links.append(found)
    return winners, links


def _kept(
    archive: tarfile.TarFile, links: Mapping[str, str]
) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """Each member that is no device, with the path that it goes to."""
    for member in archive:
        if not member.isdev() and (name := plain(member.name)):
            yield member, through(name, links, whole=member.isdir())


def through(name: str, links: Mapping[str, str], *, whole: bool, hops: int = 40) -> str:
    """Where a path leads by the links on its way, those at its end only if `whole`.

    Raises tarfile.TarError for links that lead nowhere.
    """
    parts = name.split("/")
    for count in range(1, len(parts) + (1 if whole else 0)):
        begin = "/".join(parts[:count])
        if begin in links:
            if not hops:
                raise tarfile.TarError(f"{name}: its links lead in a circle")
            to = posixpath.join("/", posixpath.dirname(begin), links[begin], *parts[count:])
            return through(posixpath.normpath(to).strip("/"), links, whole=whole, hops=hops - 1)
    return name


def _copy(
    archive: tarfile.TarFile, member: tarfile.TarInfo, name: str, out: tarfile.TarFile, epoch: int
) -> None:
    """Hard links become files of their own: what they point at may have been left out."""
    source = archive.getmember(member.linkname) if member.islnk() else member
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname = source.type, source.mode, source.linkname
    entry.uid, entry.gid, entry.mtime = source.uid, source.gid, min(int(source.mtime), epoch)
    entry.pax_headers = {
        key: value for key, value in source.pax_headers.items() if key.startswith("SCHILY.xattr.")
    }
    if source.isreg():
        entry.size = source.size
        out.addfile(entry, archive.extractfile(source))
    else:
        out.addfile(entry)


def plain(name: str) -> str:
    """A member's path without `./` and slashes at the ends; empty for the root."""
    path = name.removeprefix("./").strip("/")
    return "" if path == "." else path


def unpack(archive: Path, target: Path) -> None:
    """Unpack as an ordinary user can: owned by that user, without device nodes, each folder
    writable for it. Without tarfile's filters: Debian 12's Python (3.11.2) has none.

    Raises tarfile.TarError (also for a member that would leave `target`) and OSError.
    """
    target.mkdir(parents=True, exist_ok=True)
    root = target.resolve()
    with tarfile.open(archive) as opened:
        for member in opened:
            if member.isdev() or not plain(member.name):
                continue
            _stay_below(root, member.name)
            if member.islnk():
                _stay_below(root, member.linkname)
            place = root / member.name
            if not place.is_dir() or place.is_symlink():
                place.unlink(missing_ok=True)
            elif not member.isdir():
                raise tarfile.TarError(f"{member.name}: a folder is in its place")
            member.name = str(Path(member.name))
            member.uid, member.gid, member.uname, member.gname = os.geteuid(), os.getegid(), "", ""
            member.mode = member.mode & 0o755 | (0o700 if member.isdir() else 0o400)
            opened.extract(member, root)


def _stay_below(root: Path, name: str) -> None:
    """Raises tarfile.TarError for a name that leads out of `root`, also by a link on its way."""
    if not (root / name).parent.resolve().is_relative_to(root) or ".." in Path(name).parts:
        raise tarfile.TarError(f"{name}: it leaves the folder")
