"""A product image for the tests of clusters: examples/images/kubernetes.yaml with a real kubelet.

What a shop's network has and the tests' has not is in the image: a container image to run, and a
network plug-in. k3s is a stand-in that records how it is started; `shop` is a provider's program.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from node.image import build
from node.image import recipe as recipes
from node.image.bases.debian import PYTHON
from node.image.python import site_of
from node.image.recipe import ImageFile, ProviderFile, Recipe
from node.testing import cluster as clusters
from node.testing import k3s_stand_in, kube_build, oci_image, shop_provider
from node.testing.images import QUICK

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/images/kubernetes.yaml"
POD = "test.invalid/pause:1"
"""The container image that is in the system; no other can be had there."""
ARCHIVE = "/usr/share/shop/pause.tar"
NETWORK = {
    "cniVersion": "1.0.0",
    "name": "test",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]]},
        }
    ],
}
"""Pods get addresses: what a cluster's network plug-in installs on a real node."""
HERE = f"""[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{POD}"
"""
IMPORT = f"""[Unit]
Requires=containerd.service
After=containerd.service
Before=kubelet.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ctr --namespace k8s.io images import {ARCHIVE}
"""
WANTS = "[Unit]\nWants=shop-images.service\n"
STAND_IN = ("__init__", "certificates", "k3s_stand_in", "k3s_supervisor")
"""Modules of node.testing that a product image leaves out."""
INTERPRETER = "/opt/kairos-register/bin/python"
NEEDED_MEMORY = 2048
"""Megabytes that a node with kubelet and containerd needs."""


def recipe(folder: Path) -> Recipe:
    """The example, open and quick to boot; what it is made of is put into `folder`.

    Raises errors.CommandMissing (Go) and errors.CommandFailed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    example = recipes.read(EXAMPLE)
    providers = tuple(_providers(folder))
    files = tuple(_files(folder, example))
    return replace(
        example,
        kernel_words=QUICK,
        fleets=(),
        providers=providers,
        files=files,
        tries=2,
        folder=folder,
    )


def main() -> None:
    """Fill the cache with what the image is made of (needs the network, Go and etcd)."""
    if lacking := clusters.missing():
        print(f"not installed: {', '.join(lacking)}: no image for clusters", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        made = recipe(Path(folder))
        build.prepare(made, lambda step, done, total: print(step.text, flush=True))


def _providers(folder: Path) -> Iterator[ProviderFile]:
    shutil.copy(kube_build.build("kubelet"), folder / "kubelet")
    (folder / "k3s").write_text(k3s_stand_in.launcher(INTERPRETER))
    shutil.copy(shop_provider.__file__, folder / "shop")
    for name in ("kubelet", "k3s", "shop"):
        with (folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        yield ProviderFile(name=name, source=name, sha256=digest)


def _files(folder: Path, example: Recipe) -> Iterator[ImageFile]:
    (settings,) = example.files
    content = settings.content.replace("/opt/cni/bin", "/usr/lib/cni")
    content = content.replace("version = 2\n", f"version = 2\n{HERE}")
    yield replace(settings, content=content)
    pause = folder / "pause"
    shutil.copy(kube_build.build("pause"), pause)
    oci_image.write(folder / "pause.tar", pause, (POD,))
    yield ImageFile(path=ARCHIVE, source="pause.tar")
    yield ImageFile(path="/etc/cni/net.d/10-test.conflist", content=json.dumps(NETWORK))
    yield ImageFile(path="/usr/lib/systemd/system/shop-images.service", content=IMPORT)
    yield ImageFile(path="/usr/lib/systemd/system/kubelet.service.d/shop.conf", content=WANTS)
    for name in STAND_IN:
        source = Path(__file__).with_name(f"{name}.py")
        place = f"/{site_of(PYTHON)}/node/testing/{name}.py"
        yield ImageFile(path=place, source=str(source))


if __name__ == "__main__":
    main()
