"""Trees from container images, by skopeo, buildah and a real registry."""

from __future__ import annotations

import contextlib
import io
import shutil
import socket
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.image import oci
from node.image.bases import container
from node.image.recipe import Base, Recipe
from pairing import errors, process

START_SECONDS = 20.0
REGISTRY = """version: 0.1
storage: {filesystem: {rootdir: FOLDER}}
http: {addr: "ADDRESS"}
log: {level: error}
"""


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {' '.join(missing)}")


def image(folder: Path, text: str = "one") -> Path:
    """An OCI archive with one file, `etc/said`."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "root.tar", "w") as out:
        entry = tarfile.TarInfo("etc/said")
        entry.size, entry.mode = len(text), 0o644
        out.addfile(entry, io.BytesIO(text.encode()))
    draft, target = folder / "draft", folder / "base.oci.tar"
    oci.write_image(draft, folder / "root.tar", {}, "base")
    oci.pack(draft, target)
    return target


def made(tmp_path: Path, base: Base) -> str:
    """What the tree of this base says."""
    draft = tmp_path / "made"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    container.make_tree(draft, Recipe(version="1", base=base, folder=tmp_path))
    assert sorted(entry.name for entry in draft.iterdir() if entry.is_dir()) == ["tree"]
    with tarfile.open(draft / "root.tar") as archive:
        assert "etc/said" in archive.getnames()
    return (draft / "tree/etc/said").read_text()


@needs("skopeo")
@pytest.mark.parametrize(
    "name", ["oci-archive:base.oci.tar", "oci-archive:base.oci.tar:base", "oci:layout:base"]
)
def test_an_image_that_is_a_file_or_a_folder(tmp_path: Path, name: str) -> None:
    archive = image(tmp_path)
    (tmp_path / "layout").mkdir()
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "layout", filter="data")
    base = Base(oci=name)
    assert made(tmp_path, base) == "one"
    recipe = Recipe(version="1", base=base, folder=tmp_path)
    assert container.identity(recipe) == container.identity(recipe)


@needs("skopeo", "zstd")
def test_layers_that_cannot_be_unpacked_make_no_base(tmp_path: Path) -> None:
    image(tmp_path)
    process.run(["zstd", "--quiet", str(tmp_path / "root.tar")], seconds=START_SECONDS)
    oci.write_image(tmp_path / "layout", tmp_path / "root.tar.zst", {}, "base")
    with pytest.raises(errors.BaseUnsuitable, match="layers"):
        made(tmp_path, Base(oci="oci:layout:base"))


@pytest.mark.parametrize("name", ["oci-archive:none.tar", "oci:nowhere:base"])
def test_an_image_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    recipe = Recipe(version="1", base=Base(oci=name), folder=tmp_path)
    with pytest.raises(errors.SourceUnreadable, match=name.split(":")[1]):
        container.identity(recipe)


@needs("buildah")
@pytest.mark.root
def test_a_dockerfile_on_an_image_that_is_a_file(tmp_path: Path) -> None:
    image(tmp_path)
    (tmp_path / "more").write_text("two")
    (tmp_path / "Dockerfile").write_text("FROM oci-archive:base.oci.tar\nCOPY more /etc/said\n")
    assert made(tmp_path, Base(dockerfile="Dockerfile")) == "two"


def dockerfile_of(folder: Path, begin: str = "FROM scratch") -> list[str]:
    """What tells the tree of this folder's Dockerfile from others."""
    (folder / "Dockerfile").write_text(f"{begin}\nCOPY . /srv/\n")
    base = Base(dockerfile="Dockerfile")
    return container.identity(Recipe(version="1", base=base, folder=folder))


@pytest.mark.parametrize("change", ["mode", "place", "content", "link"])
def test_a_dockerfile_is_run_again_when_its_folder_changes(tmp_path: Path, change: str) -> None:
    script, link = tmp_path / "script", tmp_path / "link"
    script.write_text("echo")
    link.symlink_to("script")
    (tmp_path / "more").mkdir()
    before = dockerfile_of(tmp_path)
    assert dockerfile_of(tmp_path) == before
    match change:
        case "mode":
            script.chmod(0o755)
        case "place":
            script.rename(tmp_path / "more/script")
        case "content":
            script.write_text("exit")
        case _:
            link.unlink()
            link.symlink_to("more")
    assert dockerfile_of(tmp_path) != before


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A registry on this machine, without TLS, which its user has allowed: HOST:PORT."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = tmp_path / "registry.yml"
    text = REGISTRY.replace("FOLDER", str(tmp_path / "registry")).replace("ADDRESS", address)
    settings.write_text(text)
    allowed = tmp_path / "home/.config/containers/registries.conf"
    allowed.parent.mkdir(parents=True)
    allowed.write_text(f'[[registry]]\nlocation = "{address}"\ninsecure = true\n')
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    server = process.start_service(
        ["docker-registry", "serve", str(settings)], log=tmp_path / "log"
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(address):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
        yield address
    finally:
        server.stop()


def answers(address: str) -> bool:
    host, _, port = address.partition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


def push(tmp_path: Path, name: str, text: str) -> None:
    archive = image(tmp_path / text, text)
    copy = ["skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"]
    process.run([*copy, f"oci-archive:{archive}", f"docker://{name}"], seconds=60)


@needs("skopeo", "docker-registry")
def test_an_image_in_a_registry_and_what_its_tag_means_today(tmp_path: Path, registry: str) -> None:
    name = f"{registry}/shop/base:1"
    base = Base(oci=f"docker://{name}")
    recipe = Recipe(version="1", base=base, folder=tmp_path)

    push(tmp_path, name, "one")
    assert made(tmp_path, base) == "one"
    first = container.identity(recipe)
    assert container.identity(recipe) == first
    push(tmp_path, name, "two")
    assert container.identity(recipe) != first, "else the cache would keep the old one for ever"
    assert made(tmp_path, base) == "two"


@needs("skopeo", "docker-registry")
def test_a_dockerfile_is_run_again_when_the_tag_that_it_begins_with_moves(
    tmp_path: Path, registry: str
) -> None:
    name = f"{registry}/shop/base:1"
    context = tmp_path / "context"
    context.mkdir()
    begin = f"FROM --platform=linux/amd64 {name} AS first\nFROM first"
    push(tmp_path, name, "one")
    before = dockerfile_of(context, begin)
    assert dockerfile_of(context, begin) == before
    push(tmp_path, name, "two")
    assert dockerfile_of(context, begin) != before
