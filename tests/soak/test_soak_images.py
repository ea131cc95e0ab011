"""Images of every kind, built whole by the command: another kernel and all media, a Dockerfile's
base, and by a user who is not root."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from node.testing.shop import board
from pairing import errors, process
from pairing.testing import guest_system, qemu
from pairing.testing.box import Box
from pairing.testing.hardware import Drive, Firmware, Plug
from pairing.testing.measured import TOP
from pairing.testing.patience import patient

pytestmark = [pytest.mark.soak, pytest.mark.root]

SECONDS, CODE_SECONDS, LOOK_SECONDS = 1800.0, 600.0, 3.0
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


@pytest.fixture(scope="module")
def generic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image for real machines, on every medium."""
    folder = tmp_path_factory.mktemp("generic")
    build(folder, RECIPE + "kernel: generic\nmedia: [stick, iso, oci]\n")
    return folder


def test_the_kernel_for_real_machines_on_every_medium(generic: Path) -> None:
    said = json.loads((generic / "out/shop-1.0.0.json").read_text())
    assert said["kernel"].endswith("-amd64")
    assert "cloud" not in said["kernel"]
    media = {path.name for path in (generic / "out").iterdir()}
    assert {"shop-1.0.0.raw", "shop-1.0.0.iso", "shop-1.0.0.oci"} <= media
    drivers = [path for path in inside(generic) if "usb-storage.ko" in path]
    assert drivers, "a stick is read by it"


@pytest.mark.parametrize(
    ("medium", "plug"), [("raw", Plug.STICK), ("iso", Plug.STICK), ("iso", Plug.CD)]
)
def test_a_machine_starts_from_it_by_usb_and_as_a_cd(
    generic: Path, tmp_path: Path, medium: str, plug: Plug
) -> None:
    hardware = replace(board("", 1), firmware=Firmware.UEFI)
    box = Box.new(tmp_path / "box", hardware, (1 << 30,))
    image = Drive(image=generic / f"out/shop-1.0.0.{medium}", plug=plug, serial="STICK")
    with box.running(replace(image, read_only=True)) as machine:
        deadline = time.monotonic() + patient(CODE_SECONDS)
        while not shows_code(machine):
            assert time.monotonic() < deadline, machine.serial[0].text()[-2000:]
            time.sleep(LOOK_SECONDS)


def shows_code(machine: qemu.Machine) -> bool:
    try:
        guest_system.token_on_screen(machine)
    except (errors.PhotoError, OSError, SyntaxError):
        return False
    return True


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
