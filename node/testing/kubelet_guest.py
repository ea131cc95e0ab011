"""A small Debian with containerd, to be a real node of the test cluster in a virtual machine.

Not our image: no verity, no encryption, Debian's own Python packages. It shows in two minutes that
the provider, run by its own loop under systemd, makes a real kubelet Ready. Needs root: the tree is
made into a disk with its owners.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from node.testing import kube_build, oci_image
from pairing import process

SUITE = "trixie"
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "udev",
    "linux-image-cloud-amd64",
    "containerd",
    "runc",
    "containernetworking-plugins",
    "dbus",
    "iptables",
    "procps",
    "systemd-resolved",
    "python3-cryptography",
    "python3-trio",
    "python3-yaml",
)
BUILD_SECONDS = 900.0
TOP = Path(__file__).resolve().parents[2]
SITE = "usr/lib/python3/dist-packages"
IGNORED = shutil.ignore_patterns("__pycache__")
DISK = "disk.raw"
DISK_BYTES = 3 << 30
MEMORY = 2048
"""Megabytes that a node with kubelet and containerd needs."""
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
"""Pods would get addresses; what a cluster's network plug-in installs on a real node."""
IMAGE = "test.invalid/pause:1"
"""The container image that is in the system; no other can be had there."""
RUNTIME = f"""version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true
"""
"""The kubelet and the container runtime leave control groups to the same one: systemd."""
DHCP = "[Match]\nType=ether\n[Network]\nDHCP=yes\n"
CONFIGS = "var/lib/join"
ARCHIVE = f"{CONFIGS}/pause.tar"
JOIN = f"""[Unit]
Wants=network-online.target containerd.service
After=network-online.target containerd.service
[Service]
Type=oneshot
ExecStartPre=ctr --namespace k8s.io images import /{ARCHIVE}
ExecStart=/usr/bin/python3 -m node.testing.join_once /{CONFIGS}
StandardOutput=journal+console
StandardError=journal+console
[Install]
WantedBy=multi-user.target
"""
WORDS = ("root=/dev/vda", "rw", "console=ttyS0", "panic=1")


@dataclass(frozen=True, slots=True)
class Guest:
    """The tree of the system, to put files into before `disk` is called."""

    tree: Path

    @property
    def kernel(self) -> Path:
        """Debian's kernel."""
        return next((self.tree / "boot").glob("vmlinuz-*"))

    @property
    def initramfs(self) -> Path:
        """Its initramfs."""
        return next((self.tree / "boot").glob("initrd.img-*"))

    def disk(self, target: Path) -> Path:
        """The tree as an ext4 file system in the file `target`."""
        with target.open("wb") as file:
            file.truncate(DISK_BYTES)
        argv = ["mkfs.ext4", "-q", "-F", "-d", str(self.tree), str(target)]
        process.run(argv, seconds=BUILD_SECONDS)
        return target


def guest(folder: Path, configs: Mapping[str, str]) -> Guest:
    """Unpack the system into `folder`: with the kubelet, our packages, and configs to join by.

    Raises errors.CommandMissing (mmdebstrap, Go) and errors.CommandFailed.
    """
    tree = folder / "tree"
    with tarfile.open(_archive()) as opened:
        opened.extractall(tree, numeric_owner=True, filter="fully_trusted")
    shutil.copy(kube_build.build("kubelet"), tree / "usr/bin/kubelet")
    for package in ("pairing", "node"):
        shutil.copytree(TOP / package, tree / SITE / package, ignore=IGNORED)
    for name, text in configs.items():
        _write(tree / CONFIGS / f"{name}.yaml", text)
    oci_image.write(tree / ARCHIVE, _named(folder, "pause"), (IMAGE,))
    _write(tree / "etc/containerd/config.toml", RUNTIME)
    _write(tree / "etc/cni/net.d/10-test.conflist", json.dumps(NETWORK))
    _write(tree / "etc/systemd/network/lan.network", DHCP)
    _write(tree / "etc/fstab", "/dev/vda / ext4 rw 0 1\n")
    _write(tree / "etc/systemd/system/join.service", JOIN)
    units = ("systemd-networkd", "systemd-networkd-wait-online", "systemd-resolved", "join")
    process.run(["systemctl", "--root", str(tree), "enable", *units], seconds=60)
    return Guest(tree)


def _named(folder: Path, name: Literal["pause"]) -> Path:
    """The program under its plain name: so it is called in the image."""
    link = folder / name
    link.symlink_to(kube_build.build(name))
    return link


def _archive() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:16]
    target = home / "kairos-register" / "kube" / f"guest-{digest}.tar"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}.{os.getpid()}.part")
        ignored = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "locale")]
        argv = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(PACKAGES)}"]
        process.run([*argv, *ignored, "--format=tar", SUITE, str(draft)], seconds=BUILD_SECONDS)
        kube_build.keep(draft, target)
    return target


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
