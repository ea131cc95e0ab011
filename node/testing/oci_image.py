"""A container image of one static program, as an OCI archive that containerd imports.

Source: github.com/opencontainers/image-spec (image layout, manifest, config).
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

NAME = "io.containerd.image.name"
KIND = "application/vnd.oci.image."
ARCHITECTURE = {"architecture": "amd64", "os": "linux"}


def write(target: Path, program: Path, names: Sequence[str]) -> None:
    """Write `target`: an image that runs `program`, under each of `names`."""
    blobs: dict[str, bytes] = {}

    def blob(content: bytes, kind: str) -> Mapping[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    layer = _tar([(program.name, program.read_bytes(), 0o755)])
    digest = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    command = {"Entrypoint": [f"/{program.name}"]}
    rootfs = {"type": "layers", "diff_ids": [digest]}
    config = _json({**ARCHITECTURE, "config": command, "rootfs": rootfs})
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{KIND}manifest.v1+json",
        "config": blob(config, f"{KIND}config.v1+json"),
        "layers": [blob(layer, f"{KIND}layer.v1.tar")],
    }
    described = blob(_json(manifest), f"{KIND}manifest.v1+json")
    listed = [
        {**described, "annotations": {NAME: name}, "platform": ARCHITECTURE} for name in names
    ]
    target.write_bytes(_tar(_files(blobs, {"schemaVersion": 2, "manifests": listed})))


def _files(
    blobs: Mapping[str, bytes], index: Mapping[str, Any]
) -> Iterator[tuple[str, bytes, int]]:
    yield "oci-layout", _json({"imageLayoutVersion": "1.0.0"}), 0o644
    yield "index.json", _json(index), 0o644
    for digest, content in blobs.items():
        yield f"blobs/sha256/{digest}", content, 0o644


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _tar(files: Sequence[tuple[str, bytes, int]] | Iterator[tuple[str, bytes, int]]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content, mode in files:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return written.getvalue()
