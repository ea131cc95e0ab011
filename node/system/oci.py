"""Reads files from an OCI image: an image layout in a folder, or a registry.

A file is a layer with the annotation `org.opencontainers.image.title`, as `oras push` makes it.
Every byte is checked against the digest that the manifest names; the manifest against its own. Who
made it is told by the signed list within, not by the registry.

Sources: OCI Image Layout, Image Manifest and Distribution Specifications 1.1.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

from node.system.door import Door
from pairing import errors
from pairing.process import Result

TITLE = "org.opencontainers.image.title"
REFERENCE = "org.opencontainers.image.ref.name"
INDEXES = ("application/vnd.oci.image.index.v1+json",)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
MANIFEST_LIMIT = 4 * 2**20
SECONDS = 60.0
DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.A)
NAME = re.compile(
    r"(?P<host>[A-Za-z0-9.-]+(?::\d+)?)/(?P<name>[a-z0-9._/-]+)"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?",
    re.A,
)
CHALLENGE = re.compile(r'(\w+)="([^"]*)"', re.A)
CHUNK = 2**20
DEPTH = 3


class Blobs(Protocol):
    """Where manifests and blobs are."""

    def manifest(self, reference: str) -> bytes:
        """By tag or digest."""

    def blob(self, digest: str, to: Path, *, limit: int, seconds: float) -> None:
        """Into a file; whoever calls checks it."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """The named files of one manifest: digest and size of each."""

    blobs: Blobs
    files: Mapping[str, tuple[str, int]]

    def fetch(self, name: str, to: Path, *, limit: int, seconds: float) -> None:
        """Bring a file. Raises errors.UpgradeRefused."""
        if name not in self.files:
            raise errors.UpgradeRefused("The image has no such file.", element=name)
        wanted, size = self.files[name]
        if size > limit:
            raise errors.UpgradeRefused(f"It has {size} bytes, {limit} at most.", element=name)
        self.blobs.blob(wanted, to, limit=size, seconds=seconds)
        if _digest(to) != wanted:
            to.unlink(missing_ok=True)
            raise errors.UpgradeRefused("It does not match its digest.", element=name)


def why_not(result: Result) -> str:
    """The sentence with which curl ends without a file; what follows it is general advice."""
    lines = result.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[0][:200] if lines else f"curl: status {result.status}"


def open_artifact(text: str, run: Door) -> Artifact:
    """`oci:FOLDER[:TAG]`, or `docker://HOST/NAME[:TAG|@DIGEST]` (HTTPS).

    Raises errors.UpgradeRefused, errors.UsageError.
    """
    kind, _, rest = text.partition(":")
    if kind == "oci" and not rest.startswith("//"):
        folder, tag = _folder_and_tag(rest)
        return _artifact(Layout(folder), tag)
    match = NAME.fullmatch(rest.removeprefix("//"))
    if match is None:
        raise errors.UsageError("An image is HOST/NAME:TAG.", element=text)
    registry = Registry(f"https://{match['host']}/v2/{match['name']}", run)
    return _artifact(registry, match["digest"] or match["tag"] or "latest")


def _folder_and_tag(text: str) -> tuple[Path, str]:
    if (Path(text) / "index.json").exists():
        return Path(text), ""
    folder, _, tag = text.rpartition(":")
    return Path(folder or text), tag if folder else ""


def _artifact(blobs: Blobs, reference: str, depth: int = DEPTH) -> Artifact:
    data = blobs.manifest(reference)
    if DIGEST.fullmatch(reference) and "sha256:" + hashlib.sha256(data).hexdigest() != reference:
        raise errors.UpgradeRefused("The manifest does not match its digest.", element=reference)
    try:
        body = json.loads(data)
        inner = [one["digest"] for one in body.get("manifests", ())]
        if inner:
            if len(inner) != 1 or not depth:
                raise errors.UpgradeRefused(f"It holds {len(inner)} images; name one by its tag.")
            return _artifact(blobs, _checked(inner[0]), depth - 1)
        return Artifact(blobs, dict(_file(layer) for layer in body["layers"] if _title(layer)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise errors.UpgradeRefused("Its manifest cannot be read.") from None


def _title(layer: Mapping[str, Any]) -> str:
    title = (layer.get("annotations") or {}).get(TITLE, "")
    return title if isinstance(title, str) and "/" not in title else ""


def _file(layer: Mapping[str, Any]) -> tuple[str, tuple[str, int]]:
    return _title(layer), (_checked(layer["digest"]), int(layer["size"]))


def _checked(digest: Any) -> str:
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise ValueError("not a digest")
    return digest


def _digest(path: Path) -> str:
    seen = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            seen.update(chunk)
    return f"sha256:{seen.hexdigest()}"


@dataclass(frozen=True, slots=True)
class Layout:
    """An image layout in a folder."""

    folder: Path

    def manifest(self, reference: str) -> bytes:
        """See `Blobs`. A tag picks from the index; without one the index has one entry."""
        if DIGEST.fullmatch(reference):
            return self._read(self._path(reference))
        index = self._read(self.folder / "index.json")
        if not reference:
            return index
        try:
            named = [
                one
                for one in json.loads(index)["manifests"]
                if (one.get("annotations") or {}).get(REFERENCE) == reference
            ]
            return self.manifest(_checked(named[0]["digest"]))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            raise errors.UpgradeRefused("There is no such tag.", element=reference) from None

    def blob(self, digest: str, to: Path, *, limit: int, seconds: float) -> None:
        """See `Blobs`."""
        left = limit
        try:
            with self._path(digest).open("rb") as source, to.open("wb") as target:
                while left and (chunk := source.read(min(CHUNK, left))):
                    target.write(chunk)
                    left -= len(chunk)
        except OSError as wrong:
            raise errors.UpgradeRefused(f"{wrong.strerror}.", element=digest) from None

    def _path(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.replace(":", "/", 1)

    def _read(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(MANIFEST_LIMIT)
        except OSError as wrong:
            raise errors.UpgradeRefused(f"{wrong.strerror}.", element=str(path)) from None


@dataclass(slots=True)
class Registry:
    """A repository on a registry, over HTTPS. `base`: https://HOST/v2/NAME."""

    base: str
    run: Door
    _token: str = field(default="", repr=False)

    def manifest(self, reference: str) -> bytes:
        """See `Blobs`."""
        accept = tuple(f"Accept: {kind}" for kind in (*MANIFESTS, *INDEXES))
        options = ("--max-filesize", str(MANIFEST_LIMIT))
        return self._get(f"{self.base}/manifests/{reference}", options, accept, SECONDS)

    def blob(self, digest: str, to: Path, *, limit: int, seconds: float) -> None:
        """See `Blobs`."""
        options = ("--max-filesize", str(limit), "--output", str(to))
        self._get(f"{self.base}/blobs/{digest}", options, (), seconds)

    def _get(
        self, url: str, options: tuple[str, ...], headers: tuple[str, ...], seconds: float
    ) -> bytes:
        """One download; a registry that asks for a token is asked for an anonymous one, once."""
        if not self._token:
            self._token = self._anonymous(url)
        wanted = (*headers, *((f"Authorization: Bearer {self._token}",) if self._token else ()))
        # Headers through standard input: a token is no argument.
        config = "".join(f'header = "{line}"\n' for line in wanted).encode()
        argv = ("curl", "--silent", "--show-error", "--fail", "--location", "--proto", "=https")
        more = ("--max-time", f"{seconds:g}", "--config", "-", *options, url)
        result = self.run(argv + more, seconds=seconds + 10, stdin=config, check=False)
        if result.status:
            raise errors.UpgradeRefused(why_not(result), element=url)
        return result.stdout

    def _anonymous(self, url: str) -> str:
        """The token that the registry's own challenge names; empty if it does not want one."""
        argv = (
            "curl",
            "--silent",
            "--head",
            "--proto",
            "=https",
            "--max-time",
            f"{SECONDS:g}",
            url,
        )
        answer = self.run(argv, seconds=SECONDS + 10, check=False).text()
        for line in answer.splitlines():
            key, _, value = line.partition(":")
            if key.lower() == "www-authenticate" and value.strip().lower().startswith("bearer "):
                return self._ask(dict(CHALLENGE.findall(value)))
        return ""

    def _ask(self, challenge: Mapping[str, str]) -> str:
        realm = challenge.get("realm", "")
        if not realm.startswith("https://"):
            return ""
        asked = urlencode({key: challenge[key] for key in ("service", "scope") if key in challenge})
        argv = ("curl", "--silent", "--fail", "--location", "--proto", "=https")
        more = ("--max-time", f"{SECONDS:g}", "--max-filesize", "65536", f"{realm}?{asked}")
        try:
            body = json.loads(self.run(argv + more, seconds=SECONDS + 10, check=False).stdout)
            token = body.get("token") or body.get("access_token") or ""
        except (ValueError, AttributeError):
            return ""
        plain = isinstance(token, str) and re.fullmatch(r"[A-Za-z0-9._~+/=-]{1,16384}", token)
        return str(token) if plain else ""
