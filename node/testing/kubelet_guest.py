"""A small Debian with containerd, to be a real node of the test cluster in a virtual machine.

Not our image: it shows that the files which the provider writes make a real kubelet Ready, in a
minute. Needs root: the tree is made into a disk with its owners.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from node.testing import kube_build
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
)
BUILD_SECONDS = 900.0
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
DHCP = "[Match]\nType=ether\n[Network]\nDHCP=yes\n"
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

    def start_at_boot(self, unit: str) -> None:
        """Have a unit of /etc started, as the provider does on a running system."""
        wants = self.tree / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / unit).symlink_to(f"/etc/systemd/system/{unit}")

    def disk(self, target: Path) -> Path:
        """The tree as an ext4 file system in the file `target`."""
        with target.open("wb") as file:
            file.truncate(DISK_BYTES)
        argv = ["mkfs.ext4", "-q", "-F", "-d", str(self.tree), str(target)]
        process.run(argv, seconds=BUILD_SECONDS)
        return target


def guest(folder: Path, hostname: str) -> Guest:
    """Unpack the system into `folder`, with the kubelet and what the network needs.

    Raises errors.CommandMissing (mmdebstrap, Go) and errors.CommandFailed.
    """
    tree = folder / "tree"
    with tarfile.open(_archive()) as opened:
        opened.extractall(tree, numeric_owner=True, filter="fully_trusted")
    shutil.copy(kube_build.build("kubelet"), tree / "usr/bin/kubelet")
    _write(tree / "etc/cni/net.d/10-test.conflist", json.dumps(NETWORK))
    _write(tree / "etc/systemd/network/lan.network", DHCP)
    _write(tree / "etc/hostname", f"{hostname}\n")
    _write(tree / "etc/fstab", "/dev/vda / ext4 rw 0 1\n")
    made = Guest(tree)
    process.run(["systemctl", "--root", str(tree), "enable", "systemd-networkd"], seconds=60)
    return made


def _archive() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:16]
    target = home / "kairos-register" / "kube" / f"guest-{digest}.tar"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}.{os.getpid()}")
        ignored = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "locale")]
        argv = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(PACKAGES)}"]
        process.run([*argv, *ignored, "--format=tar", SUITE, str(draft)], seconds=BUILD_SECONDS)
        draft.rename(target)
    return target


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
