"""What an image is made of: digests and versions, and its packages as CycloneDX 1.6 (JSON).

Source: cyclonedx.org/docs/1.6/json; purl-spec for the package URLs.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

UNLISTED = (
    "packages: the base has no list of Debian packages (/var/lib/dpkg/status), so what it holds is"
    " missing in the image's list: only our Python packages are there."
)
"""Said of an image whose list of packages is not whole."""


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """A package in the image. `kind` as in package URLs: deb or pypi."""

    kind: str
    name: str
    version: str
    arch: str = ""

    @property
    def url(self) -> str:
        """Its package URL."""
        space = "debian/" if self.kind == "deb" else ""
        arch = f"?arch={self.arch}" if self.arch else ""
        return f"pkg:{self.kind}/{space}{quote(self.name)}@{quote(self.version)}{arch}"


def debian_packages(tree: Path) -> Iterator[Package]:
    """What dpkg says is installed in a tree; nothing where there is no dpkg."""
    status = tree / "var/lib/dpkg/status"
    if not status.exists():
        return
    for block in status.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", block, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            yield Package("deb", fields["Package"], fields["Version"], fields["Architecture"])


def python_packages(lock: Iterable[str]) -> Iterator[Package]:
    """Those of the lock file's entries."""
    for block in lock:
        if found := re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", block):
            yield Package("pypi", found[1].lower(), found[2])


def bill(name: str, version: str, packages: Iterable[Package], seed: str) -> str:
    """The list of packages as CycloneDX. The same `seed` gives the same serial number."""
    number = uuid.uuid5(uuid.NAMESPACE_OID, seed)
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        "metadata": {"component": {"type": "operating-system", "name": name, "version": version}},
        "components": [
            {
                "type": "library",
                "bom-ref": package.url,
                "name": package.name,
                "version": package.version,
                "purl": package.url,
            }
            for package in sorted(packages)
        ],
    }
    return json.dumps(body, indent=1) + "\n"


def digests(folder: Path, names: Iterable[str]) -> Mapping[str, Mapping[str, object]]:
    """Size and SHA-256 of files."""
    found: dict[str, Mapping[str, object]] = {}
    for name in sorted(names):
        with (folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[name] = {"size": (folder / name).stat().st_size, "sha256": digest}
    return found
