"""Where an upgrade comes from: a folder, a web address, an OCI image. Its list of files is signed,
and the signature is checked here, before anything is removed to make room.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

from node.plan.upgrade import Offer, complete_versions, read_sums
from node.system.door import Door
from node.system.oci import Artifact, open_artifact, why_not
from pairing import errors

KEYRING = "usr/lib/systemd/import-pubring.gpg"
SUMS, SIGNATURE = "SHA256SUMS", "SHA256SUMS.gpg"
LIST_SECONDS, VERIFY_SECONDS, FILE_SECONDS = 60.0, 30.0, 3600.0
SUMS_LIMIT = 256 * 1024
WEB = re.compile(r"https?://[!-~]+", re.A)
OCI = re.compile(r"(?:oci|docker)[:](?://)?\S+", re.A)
CHUNK = 2**20


class Source(Protocol):
    """Files by their names."""

    def fetch(self, name: str, to: Path, *, limit: int, seconds: float) -> None:
        """Bring a file of at most `limit` bytes. Raises errors.UpgradeRefused."""

    def offer(self, versions: tuple[str, ...], room: Path) -> Offer:
        """How systemd-sysupdate gets at it. `room`: the folder for what is fetched first."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of this machine, such as a mounted stick."""

    path: Path

    def fetch(self, name: str, to: Path, *, limit: int, seconds: float) -> None:
        """See `Source`."""
        try:
            with (self.path / name).open("rb") as file, to.open("wb") as target:
                while limit > 0 and (chunk := file.read(min(CHUNK, limit))):
                    target.write(chunk)
                    limit -= len(chunk)
        except OSError as wrong:
            raise errors.UpgradeRefused(f"{wrong.strerror}.", element=name) from None

    def offer(self, versions: tuple[str, ...], room: Path) -> Offer:
        """See `Source`."""
        base = _url(self.path.resolve())
        return Offer(name=str(self.path), base=base, room=_url(room), versions=versions)


@dataclass(frozen=True, slots=True)
class Web:
    """A folder on a web server."""

    url: str
    run: Door

    def fetch(self, name: str, to: Path, *, limit: int, seconds: float) -> None:
        """See `Source`."""
        argv = (
            *("curl", "--silent", "--show-error", "--fail", "--location"),
            *("--proto", "=http,https", "--max-time", f"{seconds:g}"),
            *("--max-filesize", str(limit), "--output", str(to), f"{self.url}{name}"),
        )
        result = self.run(argv, seconds=seconds + 10, check=False)
        if result.status:
            raise errors.UpgradeRefused(why_not(result), element=name)

    def offer(self, versions: tuple[str, ...], room: Path) -> Offer:
        """See `Source`."""
        return Offer(name=self.url, base=self.url, room=_url(room), versions=versions)


@dataclass(frozen=True, slots=True)
class Oci:
    """An image or artifact whose layers are named files."""

    name: str
    artifact: Artifact

    def fetch(self, name: str, to: Path, *, limit: int, seconds: float) -> None:
        """See `Source`."""
        self.artifact.fetch(name, to, limit=limit, seconds=seconds)

    def offer(self, versions: tuple[str, ...], room: Path) -> Offer:
        """See `Source`."""
        return Offer(name=self.name, base=_url(room), room=_url(room), versions=versions)


def _url(folder: Path) -> str:
    return f"file://{quote(str(folder))}/"


def require_no_password(text: str) -> None:
    """An address is in lists of processes, in the plan and in records. Raises errors.UsageError."""
    if WEB.fullmatch(text) and "@" in urlsplit(text).netloc:
        said = (
            "A password in an address is seen by everybody here. The files are signed: serve them"
        )
        raise errors.UsageError(f"{said} without one.", element=text.rpartition("@")[2])


def source_of(text: str, run: Door) -> Source:
    """What a source's name means. Raises errors.UsageError, errors.UpgradeRefused."""
    if WEB.fullmatch(text):
        return Web(text if text.endswith("/") else f"{text}/", run)
    if OCI.fullmatch(text):
        return Oci(text, open_artifact(text, run))
    path = Path(text.removeprefix("file://"))
    if not path.is_dir():
        raise errors.UsageError(
            "A source is a folder, https://..., oci:FOLDER or docker://HOST/NAME:TAG.", element=text
        )
    return Folder(path)


@dataclass(frozen=True, slots=True)
class Signed:
    """A source whose list was signed with the key that this image trusts."""

    source: Source
    sums: Mapping[str, str]

    @property
    def versions(self) -> tuple[str, ...]:
        """Complete ones, the newest first."""
        return complete_versions(tuple(self.sums))


def signed(source: Source, room: Path, root: Path, run: Door) -> Signed:
    """Bring the list and its signature into `room` and check them.

    Raises errors.UpgradeRefused if it is not signed with a key of this image.
    """
    room.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (SUMS, SIGNATURE):
        source.fetch(name, room / name, limit=SUMS_LIMIT, seconds=LIST_SECONDS)
    argv = ("gpgv", "--keyring", str(root / KEYRING), str(room / SIGNATURE), str(room / SUMS))
    if run(argv, seconds=VERIFY_SECONDS, check=False).status:
        raise errors.UpgradeRefused("Its list of files is not signed with a key of this image.")
    try:
        return Signed(source, read_sums((room / SUMS).read_text(encoding="ascii")))
    except ValueError as wrong:
        raise errors.UpgradeRefused(f"({wrong})", element=SUMS) from None


def fetch_version(
    found: Signed, version: str, kinds: Sequence[str], room: Path, limit: int
) -> None:
    """Bring these files of a version into `room`, each checked. Raises errors.UpgradeRefused."""
    for kind in kinds:
        name = f"kr_{version}.{kind}"
        found.source.fetch(name, room / name, limit=limit, seconds=FILE_SECONDS)
        if digest(room / name) != found.sums[name]:
            (room / name).unlink()
            raise errors.UpgradeRefused("It is not the file of the signed list.", element=name)


def digest(path: Path) -> str:
    """Hex SHA-256 of a file."""
    seen = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            seen.update(chunk)
    return seen.hexdigest()
