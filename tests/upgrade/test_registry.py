"""Updates from a registry: a real one, with TLS, open and behind tokens."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.image import oci
from node.plan.upgrade import KINDS
from node.system.oci import open_artifact
from node.testing.certificates import Authority
from node.testing.registry import PROGRAM, Registry, registry, token_server
from pairing import errors

pytestmark = pytest.mark.skipif(
    not (shutil.which(PROGRAM) and shutil.which("skopeo") and shutil.which("curl")),
    reason="docker-registry, skopeo or curl is not here (as root: .ci/packages)",
)

REPOSITORY = "fleet/shop"
LARGE = 3 * 2**20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new()


@pytest.fixture(scope="module")
def update(folder: Path) -> Path:
    """The files of version 1.1.0; who signed them is looked at elsewhere."""
    files = folder / "files"
    files.mkdir()
    for kind in KINDS:
        (files / f"kr_1.1.0.{kind}").write_bytes(kind.encode() * (LARGE // 5))
    (files / "SHA256SUMS").write_text("the list\n")
    return files


@pytest.fixture(scope="module")
def open_registry(folder: Path, authority: Authority, update: Path) -> Iterator[Registry]:
    layout = folder / "layout"
    oci.write_artifact(layout, sorted(update.iterdir()), "application/vnd.test.v1", "1.1.0")
    with registry(folder / "open", folder / "storage", authority) as running:
        running.push(layout, f"{REPOSITORY}:1.1.0")
        yield running


@pytest.fixture(scope="module")
def guarded(folder: Path, authority: Authority, open_registry: Registry) -> Iterator[Registry]:
    """The same content behind a token server."""
    with (
        token_server(folder / "tokens", authority, REPOSITORY) as tokens,
        registry(folder / "guarded", folder / "storage", authority, tokens) as running,
    ):
        yield running


@pytest.mark.parametrize("kind", ["open_registry", "guarded"])
def test_every_file_comes_whole(
    kind: str, request: pytest.FixtureRequest, update: Path, tmp_path: Path
) -> None:
    shop: Registry = request.getfixturevalue(kind)
    artifact = open_artifact(f"docker://{shop.host}/{REPOSITORY}:1.1.0", shop.run)
    assert sorted(artifact.files) == sorted(path.name for path in update.iterdir())
    for path in update.iterdir():
        artifact.fetch(path.name, tmp_path / path.name, limit=2 * LARGE, seconds=60)
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_by_digest_it_is_that_manifest_or_none(open_registry: Registry, folder: Path) -> None:
    blobs = folder / "layout/blobs/sha256"
    manifest = next(
        path for path in blobs.iterdir() if b"kr_1.1.0.root" in path.read_bytes()[:4096]
    )
    name = f"docker://{open_registry.host}/{REPOSITORY}@sha256:"
    assert open_artifact(name + manifest.name, open_registry.run).files
    with pytest.raises(errors.UpgradeRefused):
        open_artifact(name + hashlib.sha256(b"another").hexdigest(), open_registry.run)


def test_a_registry_of_another_authority_is_refused(
    open_registry: Registry, tmp_path: Path
) -> None:
    other = tmp_path / "ca.crt"
    other.write_text(Authority.new("stranger").pem)
    stranger = Registry(open_registry.host, other)
    with pytest.raises(errors.UpgradeRefused, match="certificate"):
        open_artifact(f"docker://{open_registry.host}/{REPOSITORY}:1.1.0", stranger.run)


@pytest.mark.parametrize("name", ["fleet/till:1.1.0", f"{REPOSITORY}:9.9.9"])
def test_what_is_not_there_or_not_allowed(guarded: Registry, name: str) -> None:
    with pytest.raises(errors.UpgradeRefused, match=r"40[134]"):
        open_artifact(f"docker://{guarded.host}/{name}", guarded.run)


def test_a_blob_that_the_registry_changed_is_refused(
    open_registry: Registry, folder: Path, tmp_path: Path
) -> None:
    artifact = open_artifact(f"docker://{open_registry.host}/{REPOSITORY}:1.1.0", open_registry.run)
    digest = artifact.files["kr_1.1.0.verity"][0].removeprefix("sha256:")
    stored = folder / f"storage/docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"
    whole = stored.read_bytes()
    stored.write_bytes(b"changed" + whole[7:])
    try:
        with pytest.raises(errors.UpgradeRefused, match="does not match its digest"):
            artifact.fetch("kr_1.1.0.verity", tmp_path / "got", limit=2 * LARGE, seconds=60)
    finally:
        stored.write_bytes(whole)
    assert not (tmp_path / "got").exists()
