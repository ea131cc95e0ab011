"""Images of every kind, built whole by the command: another kernel and all media, a Dockerfile's
base, and by a user who is not root."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pairing import process
from pairing.testing.measured import TOP

pytestmark = [pytest.mark.soak, pytest.mark.root]

SECONDS = 1800.0
RECIPE = "#kairos-image\nid: shop\nversion: 1.0.0\nopen: true\n"
DOCKERFILE = "FROM oci-archive:base.oci.tar\nRUN echo ours > /etc/ours && rm /usr/bin/sudo\n"
USER = "KAIROS_SOAK_USER"
"""Names a user with numbers of its own (subuid(5)) who builds an image without root."""


def image(folder: Path, *words: str, **environment: str) -> None:
    """`kairos-fleet image`, with `folder` as home."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    home = {"HOME": str(folder), "XDG_CACHE_HOME": cache, **environment}
    command = [sys.executable, "-m", "cli.fleet", "image", *words]
    process.run(["env", f"--chdir={TOP}", *command], seconds=SECONDS, environment=home)


def build(folder: Path, recipe: str, **environment: str) -> Mapping[str, object]:
    """What the manifest of this recipe's image says."""
    (folder / "recipe.yaml").write_text(recipe)
    image(folder, "build", f"{folder}/recipe.yaml", "--out", f"{folder}/out", **environment)
    body = json.loads((folder / "out/shop-1.0.0.json").read_text())
    assert isinstance(body, dict)
    return body


def inside(folder: Path) -> set[str]:
    """All paths in the image's root."""
    listed = ["unsquashfs", "-l", "-d", "", str(folder / "out/kr_1.0.0.root")]
    return set(process.run(listed, seconds=SECONDS).text().splitlines())


def test_the_kernel_for_real_machines_on_every_medium(tmp_path: Path) -> None:
    said = build(tmp_path, RECIPE + "kernel: generic\nmedia: [stick, iso, oci]\n")
    assert str(said["kernel"]).endswith("-amd64")
    assert "cloud" not in str(said["kernel"])
    media = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"shop-1.0.0.raw", "shop-1.0.0.iso", "shop-1.0.0.oci"} <= media
    drivers = [path for path in inside(tmp_path) if "usb-storage.ko" in path]
    assert drivers, "a stick is read by it"


def test_a_dockerfile_changes_the_base(tmp_path: Path) -> None:
    image(tmp_path, "base", f"{tmp_path}/base.oci.tar")
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    build(tmp_path, RECIPE + "base: {dockerfile: Dockerfile}\n")
    found = inside(tmp_path)
    assert "/etc/ours" in found
    assert "/usr/bin/sudo" not in found


@pytest.mark.skipif(USER not in os.environ, reason=f"{USER} names no user")
def test_somebody_without_root_builds_the_same(tmp_path: Path) -> None:
    by_root = build(tmp_path, RECIPE)
    user = pwd.getpwnam(os.environ[USER])
    home = Path(user.pw_dir) / "kairos-soak"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    shutil.copytree(tmp_path / ".config", home / ".config")
    (home / "recipe.yaml").write_text(RECIPE)
    for path in (home, *home.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)
    become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]
    words = ["build", f"{home}/recipe.yaml", "--out", f"{home}/out"]
    command = [*become, "env", f"--chdir={TOP}", sys.executable, "-m", "cli.fleet", "image", *words]
    process.run(command, seconds=SECONDS, environment={"HOME": str(home)})
    assert json.loads((home / "out/shop-1.0.0.json").read_text())["roothash"] == by_root["roothash"]
