"""OCI images: written as an archive or a folder of blobs, and laid flat to one tree.

Source: github.com/opencontainers/image-spec: image-layout.md, manifest.md, layer.md (whiteouts).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.image.layers import plain
from pairing import errors

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"
TITLE = "org.opencontainers.image.title"
VERSION = "org.opencontainers.image.version"
JSON_LIMIT = 4 << 20
HIDES, HIDES_ALL = ".wh.", ".wh..wh..opq"
ALL = "/"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """A folder with an OCI image layout."""

    folder: Path

    def begin(self) -> None:
        """An empty one."""
        (self.folder / "blobs/sha256").mkdir(parents=True)
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def add(self, content: bytes, kind: str) -> dict[str, Any]:
        """Keep a blob; gives its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(content)
        return _descriptor(kind, digest, len(content))

    def add_file(self, path: Path, kind: str) -> dict[str, Any]:
        """The same for a file."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        blob = self.folder / "blobs/sha256" / digest
        try:
            blob.hardlink_to(path)
        except OSError:
            shutil.copyfile(path, blob)
        return _descriptor(kind, digest, path.stat().st_size)

    def finish(self, manifest: Json, tag: str) -> None:
        """Write manifest and index: now it is an image."""
        described = self.add(_json(manifest), MANIFEST)
        described["annotations"] = {"org.opencontainers.image.ref.name": tag}
        if "artifactType" in manifest:
            described["artifactType"] = manifest["artifactType"]
        else:
            described["platform"] = {"architecture": "amd64", "os": "linux"}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [described]}
        (self.folder / "index.json").write_bytes(_json(index))

    def blob(self, descriptor: Json) -> Path:
        """The file of a blob. Raises errors.BaseUnsuitable."""
        found = _DIGEST.fullmatch(str(descriptor.get("digest")))
        path = self.folder / "blobs/sha256" / (found[1] if found else "-")
        if not path.is_file():
            raise errors.BaseUnsuitable(f"The OCI image lacks {descriptor.get('digest')}.")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if found is None or digest != found[1]:
            raise errors.BaseUnsuitable(f"The OCI image's {path.name} is damaged.")
        return path

    def manifest(self) -> Json:
        """Of the image for this kind of machine. Raises errors.BaseUnsuitable."""
        entry = _chosen(_read(self.folder / "index.json"))
        for _ in range(2):
            found = _read(self.blob(entry))
            if "layers" in found:
                return found
            entry = _chosen(found)
        raise errors.BaseUnsuitable("The OCI image has no manifest.")

    def layers(self) -> list[Path]:
        """The layers' archives, lowest first. Raises errors.BaseUnsuitable."""
        return [self.blob(layer) for layer in self.manifest()["layers"]]

    def labels(self) -> Json:
        """What its maker said of it, such as its version."""
        config = _read(self.blob(self.manifest()["config"]))
        found: Json = (config.get("config") or {}).get("Labels") or {}
        return found


def write_image(folder: Path, archive: Path, labels: Json, tag: str) -> None:
    """An image of one layer (a tar archive) in the new folder `folder`. Raises OSError."""
    layout = Layout(folder)
    layout.begin()
    layer = layout.add_file(archive, LAYER)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Cmd": ["/bin/sh"],
            "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.add(_json(config), CONFIG),
        "layers": [layer],
    }
    layout.finish(manifest, tag)


def write_artifact(folder: Path, files: Sequence[Path], kind: str, version: str) -> None:
    """An artifact of files in the new folder `folder`: a blob each, with its name as title."""
    layout = Layout(folder)
    layout.begin()
    blobs = [{**layout.add_file(path, kind), "annotations": {TITLE: path.name}} for path in files]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": layout.add(b"{}", EMPTY),
        "layers": blobs,
        "annotations": {VERSION: version},
    }
    layout.finish(manifest, version)


def flatten(archives: Sequence[Path], target: Path) -> None:
    """Lay layers over one another into one archive. Raises tarfile.TarError and OSError.

    What a layer hides of those below is left out.
    """
    seen: set[str] = set()
    hidden: set[str] = set()
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as out:
        for archive in reversed(archives):
            seen_here, hidden_here = set[str](), set[str]()
            with tarfile.open(archive) as members:
                for member in members:
                    name = plain(member.name)
                    folder, _, last = name.rpartition("/")
                    if last == HIDES_ALL:
                        hidden_here.add(f"{folder}/" if folder else ALL)
                    elif last.startswith(HIDES):
                        path = f"{folder}/{last.removeprefix(HIDES)}".lstrip("/")
                        hidden_here |= {path, f"{path}/"}
                    elif name and name not in seen and not _is_hidden(name, hidden):
                        _copy(members, member, name, out)
                        seen_here.add(name)
                        # A file here takes the place of a whole folder below.
                        if not member.isdir():
                            hidden_here.add(f"{name}/")
            seen |= seen_here
            hidden |= hidden_here


def _is_hidden(name: str, hidden: set[str]) -> bool:
    if not hidden:
        return False
    if ALL in hidden or name in hidden:
        return True
    at = -1
    while (at := name.find("/", at + 1)) > 0:
        if name[: at + 1] in hidden:
            return True
    return False


def _copy(
    members: tarfile.TarFile, member: tarfile.TarInfo, name: str, out: tarfile.TarFile
) -> None:
    """Hard links become files of their own: their other name may be hidden."""
    source = members.getmember(member.linkname) if member.islnk() else member
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname = source.type, source.mode, source.linkname
    entry.uid, entry.gid, entry.mtime = source.uid, source.gid, source.mtime
    entry.pax_headers = {
        key: value for key, value in source.pax_headers.items() if key.startswith("SCHILY.xattr.")
    }
    entry.devmajor, entry.devminor = source.devmajor, source.devminor
    content = members.extractfile(source) if source.isreg() else None
    entry.size = source.size if content else 0
    out.addfile(entry, content)


def _chosen(index: Json) -> Json:
    """The manifest for this kind of machine; without platforms the first."""
    entries: Sequence[Json] = index.get("manifests") or ()
    for entry in entries:
        platform = entry.get("platform") or {}
        if platform.get("architecture", "amd64") == "amd64":
            return entry
    raise errors.BaseUnsuitable("The OCI image has nothing for x86_64.")


def _read(path: Path) -> Json:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(JSON_LIMIT))
    except (OSError, ValueError):
        raise errors.BaseUnsuitable("It is no OCI image.", element=str(path)) from None
    if not isinstance(found, Mapping):
        raise errors.BaseUnsuitable("It is no OCI image.", element=str(path))
    return found


def _descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": size}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def archive_members(folder: Path) -> Iterator[tuple[str, Path]]:
    """What an archive of a layout holds, by name."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path


def pack(folder: Path, target: Path) -> None:
    """A layout as one file, an `oci-archive`."""
    with tarfile.open(target, "w") as out:
        for name, path in archive_members(folder):
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            with path.open("rb") as content:
                out.addfile(entry, content)
