"""A folder taken as `/`: no path, link or trick reaches anything outside it.

Paths are walked folder by folder with directory handles (openat(2), O_NOFOLLOW); a symbolic link is
read and walked by the same rules, as in openat2(2)'s RESOLVE_IN_ROOT, so that swapping a folder
for a link in the middle of it changes nothing. Files are written beside and renamed, so that a
half-written one is never seen, and other names of an old file (hard links) keep the old content.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pairing import errors
from pairing.config.places import reserved

MOST_LINKS = 40
"""As the kernel's own limit (path_resolution(7))."""
ROOT = (0, 0)
"""Number of user and group."""
TEMPORARY = ".kairos-new"
READ_LIMIT = 16 * 1024 * 1024
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that was reached: an open handle, and its real path below the root."""

    handle: int
    path: str


def trusted() -> frozenset[int]:
    """Users whose links are followed: root, and who runs this on another root than `/`."""
    return frozenset({0, os.geteuid()})


@dataclass(frozen=True, slots=True)
class Inside:
    """`root` taken as `/`. Raises errors.PathRefused or OSError.

    A link is followed if one of `owners` made it: a path that a config names may lead through a
    folder of somebody who is not root, and who chooses where his links lead. `links` False follows
    no link at all.
    """

    root: Path
    owners: frozenset[int] = field(default_factory=trusted)

    def read(self, path: str, *, links: bool = True) -> bytes | None:
        """The content of a regular file, at most 16 MiB; None if there is nothing."""
        try:
            handle = self._open(path, links)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise errors.PathRefused("It is no regular file.", element=path)
            return file.read(READ_LIMIT)

    def status(self, path: str) -> os.stat_result | None:
        """What is at `path`, a link itself not followed; None if there is nothing."""
        parts = split(path)
        try:
            with self._folder(parts[:-1]) as place:
                name = parts[-1] if parts else "."
                return os.stat(name, dir_fd=place.handle, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(
        self,
        path: str,
        content: bytes,
        *,
        mode: int,
        owner: tuple[int, int] = ROOT,
        links: bool = True,
    ) -> None:
        """Put a file there with exactly this mode and owner. A link at its place is replaced; a
        file that is as asked for stays: a full disk then keeps nothing from being in force."""
        parts = split(path)
        if not parts:
            raise errors.PathRefused(element=path)
        with self._folder(parts[:-1], make=True, links=links) as place:
            self._refuse_ours(f"{place.path}/{parts[-1]}", path)
            if _is_as_asked(place.handle, parts[-1], content, mode, owner):
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(TEMPORARY, dir_fd=place.handle)
            handle = os.open(
                TEMPORARY,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600,
                dir_fd=place.handle,
            )
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                self._own(handle, owner)
                os.fchmod(handle, mode)
                os.fsync(handle)
            os.rename(TEMPORARY, parts[-1], src_dir_fd=place.handle, dst_dir_fd=place.handle)
            _flush(place.handle)

    def make_folder(
        self, path: str, *, mode: int, owner: tuple[int, int] = ROOT, links: bool = True
    ) -> bool:
        """Make a folder, and set mode and owner also of one that is there. True if it is new."""
        new = self.status(path) is None
        with self._folder(split(path), make=True, links=links) as place:
            self._refuse_ours(place.path or "/", path)
            handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.handle)
            try:
                self._own(handle, owner)
                os.fchmod(handle, mode)
            finally:
                os.close(handle)
        return new

    def names(self, path: str) -> tuple[str, ...]:
        """The names in a folder, in order; nothing if there is none."""
        try:
            with self._folder(split(path)) as place:
                handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=place.handle)
                try:
                    return tuple(sorted(os.listdir(handle)))  # noqa: PTH208 (a handle)
                finally:
                    os.close(handle)
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def _open(self, path: str, links: bool) -> int:
        """A handle to read the file at `path`; a link is followed by our own rules."""
        parts = split(path)
        for _ in range(MOST_LINKS if links else 1):
            with self._folder(parts[:-1], links=links) as place:
                name = parts[-1] if parts else "."
                try:
                    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                    return os.open(name, flags, dir_fd=place.handle)
                except OSError as wrong:
                    if wrong.errno != errno.ELOOP or not links:
                        raise
                parts = _joined(place.path, self.target(name, place.handle))
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def target(self, name: str, folder: int) -> str:
        """Where the link `name` in an open folder leads. Raises errors.PathRefused, OSError."""
        # A handle to the link itself: it cannot be exchanged between the two questions.
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            target = os.readlink("", dir_fd=handle)
            if os.fstat(handle).st_uid not in self.owners:
                raise errors.PathRefused("There is somebody's link on the way.", element=name)
            return target
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _folder(
        self, parts: Sequence[str], *, make: bool = False, links: bool = True
    ) -> Iterator[Place]:
        root = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        walk = _Walk(self, root, links)
        try:
            walk.along(parts, make=make)
            yield Place(walk.handles[-1], "".join(f"/{name}" for name in walk.names))
        finally:
            for handle in walk.handles:
                os.close(handle)

    def _own(self, handle: int, owner: tuple[int, int]) -> None:
        """Give it away. Below another root a normal user, who cannot, keeps it."""
        try:
            os.fchown(handle, *owner)
        except PermissionError:
            if os.geteuid() == 0 or self.root == Path("/"):
                raise

    def _refuse_ours(self, real: str, asked: str) -> None:
        if ours := reserved(real):
            raise errors.PathRefused(f"{ours} is not the config's to change.", element=asked)


class _Walk:
    """The folders on the way, from the root: their handles and names."""

    def __init__(self, inside: Inside, root: int, links: bool) -> None:
        self._inside = inside
        self.handles, self.names = [root], list[str]()
        self._links = MOST_LINKS if links else 0

    def along(self, parts: Sequence[str], *, make: bool) -> None:
        left = deque(parts)
        while left:
            name = left.popleft()
            if name in ("", "."):
                continue
            if name == "..":
                self._up()
                continue
            try:
                handle = os.open(name, _FOLDER, dir_fd=self.handles[-1])
            except FileNotFoundError:
                if not make:
                    raise
                self._make(name)
                left.appendleft(name)
            except NotADirectoryError:
                left.extendleft(reversed(self._link(name)))
            else:
                self.handles.append(handle)
                self.names.append(name)

    def _up(self) -> None:
        if self.names:
            os.close(self.handles.pop())
            self.names.pop()

    def _make(self, name: str) -> None:
        real = "".join(f"/{part}" for part in (*self.names, name))
        self._inside._refuse_ours(real, real)
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=self.handles[-1])
            # The mode of a new folder must not hang on the umask of whoever started us.
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(name, flags, dir_fd=self.handles[-1])
            try:
                os.fchmod(handle, 0o755)
            finally:
                os.close(handle)

    def _link(self, name: str) -> list[str]:
        """The parts of a link's target, from where it stands; an absolute one starts at the root.

        Raises NotADirectoryError if it is no link.
        """
        try:
            target = self._inside.target(name, self.handles[-1])
        except OSError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name) from None
        if self._links == 0:
            raise errors.PathRefused("There is a link on the way.", element=name)
        self._links -= 1
        if target.startswith("/"):
            while self.names:
                self._up()
        return target.split("/")


def split(path: str) -> list[str]:
    """The parts of an absolute path. Raises errors.PathRefused for `..`, NUL or a relative one."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not path.startswith("/") or ".." in parts or "\0" in path:
        raise errors.PathRefused("A path is absolute and without `..`.", element=path)
    return parts


def _joined(folder: str, target: str) -> list[str]:
    """The parts of a link's target; `..` never leads above the root."""
    parts: list[str] = []
    for part in (target if target.startswith("/") else f"{folder}/{target}").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return parts


def _is_as_asked(folder: int, name: str, content: bytes, mode: int, owner: tuple[int, int]) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(name, flags, dir_fd=folder)
    except OSError:
        return False
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        return (
            stat.S_ISREG(found.st_mode)
            and (stat.S_IMODE(found.st_mode), found.st_nlink) == (mode, 1)
            and ((found.st_uid, found.st_gid), found.st_size) == (owner, len(content))
            and file.read(len(content) + 1) == content
        )


def _flush(folder: int) -> None:
    handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
