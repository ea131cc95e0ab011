"""The virtual machine's image: a small Debian with this project in a venv of its own.

The whole system is one initramfs: a list of cpio layers that the kernel unpacks into memory. No
loop device, no mounts and no root are needed to build it, and no driver to boot it.

    base      Debian's packages (mmdebstrap), trimmed for slow emulation
    site      the locked Python dependencies, for the guest's Python, byte-compiled
    project   pairing and node as they are in the working tree, and node/units

Base and site are kept under the user's cache folder by the hash of what they are made from.
`python -m node.testing.guest` builds what is missing (this needs the network) and prints where.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from node.image import python
from pairing import process
from pairing.testing import cpio, guest_system

TOP = Path(__file__).resolve().parents[2]
SUITE = "trixie"
PYTHON = "3.13"
PACKAGES = ("systemd", "systemd-sysv", "udev", "kmod", "python3", "linux-image-cloud-amd64")
BUILD_SECONDS = 900.0
KEPT = 3
"""Layers of a kind in the cache, of some hundred megabytes each."""

UNCHECKED = "--invalidation-mode unchecked-hash"

PRUNED = (
    "boot/",
    "dev/",
    "usr/bin/perl",
    f"usr/lib/python{PYTHON}/pydoc_data/",
    f"usr/lib/python{PYTHON}/test/",
    "usr/lib/udev/hwdb",
    "usr/lib/x86_64-linux-gnu/gconv/",
    "usr/lib/x86_64-linux-gnu/perl-base/",
    "usr/share/bash-completion/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/zsh/",
    "var/cache/",
    "var/lib/apt/",
    "var/lib/dpkg/info/",
    "var/log/",
)
"""Left out of the base layer: every megabyte is copied at boot by an emulated processor."""


@dataclass(frozen=True, slots=True)
class Image:
    """What QEMU boots: a kernel and the initramfs."""

    kernel: Path
    initramfs: Path


def image(folder: Path) -> Image:
    """Build what is missing and put the initramfs into `folder`.

    Raises errors.CommandMissing, errors.CommandFailed and errors.CommandTimeout.
    """
    base = _base()
    site = _site(base)
    project = _project(base, folder)
    target = folder / "guest.cpio"
    with target.open("wb") as out:
        for layer in (base / "base.cpio", site, project):
            with layer.open("rb") as part:
                shutil.copyfileobj(part, out, cpio.CHUNK)
    project.unlink()
    return Image(base / "vmlinuz", target)


# --- the layers -------------------------------------------------------------------------------


def _base() -> Path:
    folder = _cache("base", [*_mmdebstrap(Path()), *PRUNED, _source()])
    if not folder.exists():
        draft = _draft(folder)
        archive = draft / "root.tar"
        process.run(_mmdebstrap(archive), seconds=BUILD_SECONDS)
        _extract(archive, draft / "tree")
        shutil.copy(next((draft / "tree/boot").glob("vmlinuz-*")), draft / "vmlinuz")
        cpio.from_tar(archive, draft / "base.cpio", PRUNED)
        archive.unlink()
        _keep(draft, folder)
    return folder


def _mmdebstrap(archive: Path) -> list[str]:
    standard = f"/usr/lib/python3 /usr/lib/python{PYTHON}"
    return [
        "mmdebstrap",
        "--variant=essential",
        f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "locale", "doc")),
        f"--customize-hook=chroot $1 python3 -m compileall -q -f {UNCHECKED} {standard}",
        SUITE,
        str(archive),
    ]


def _site(base: Path) -> Path:
    folder = _cache("site", [base.name, *python.locked(), *python.pip(PYTHON, Path(), Path())[1:]])
    if not folder.exists():
        draft = _draft(folder)
        python.make_site(draft, base / "tree", PYTHON)
        _pack(draft / "root", draft / "site.cpio")
        shutil.rmtree(draft / "root")
        _keep(draft, folder)
    return folder / "site.cpio"


def _project(base: Path, folder: Path) -> Path:
    """The layer with this project's packages, units and commands."""
    draft = folder / "project"
    shutil.rmtree(draft, ignore_errors=True)
    python.make_project(draft, base / "tree", PYTHON)
    stage = draft / "root"
    for source in sorted((TOP / "node/units").iterdir()):
        kind = "network" if source.suffix == ".network" else "system"
        target = stage / "etc/systemd" / kind / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Additions to other units (ssh.service.d) are folders.
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    guest_system.write(stage)
    _pack(stage, folder / "project.cpio")
    shutil.rmtree(draft)
    return folder / "project.cpio"


# --- tools ------------------------------------------------------------------------------------


def _extract(archive: Path, target: Path) -> None:
    """Unpack as an ordinary user: without device nodes."""

    def plain(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        return None if member.isdev() else tarfile.tar_filter(member, path)

    with tarfile.open(archive) as opened:
        opened.extractall(target, filter=plain)


def _pack(folder: Path, target: Path) -> None:
    """A cpio archive of what is in `folder`, all owned by root."""

    def owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        return member

    archive = target.with_suffix(".tar")
    with tarfile.open(archive, "w") as opened:
        opened.add(folder, ".", filter=owned_by_root)
    cpio.from_tar(archive, target)
    archive.unlink()


def _cache(kind: str, inputs: Sequence[str]) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]
    return home / "kairos-register" / "guest" / f"{kind}-{digest}"


def _draft(folder: Path) -> Path:
    draft = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    return draft


def _keep(draft: Path, folder: Path) -> None:
    """Take a finished layer into the cache and drop all but the newest few of its kind."""
    draft.rename(folder)
    kind = folder.name.partition("-")[0]
    layers = (entry for entry in folder.parent.glob(f"{kind}-*") if "." not in entry.name)
    for old in sorted(layers, key=lambda entry: entry.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old)


def _source() -> str:
    return Path(cpio.__file__).read_text()


def main() -> None:
    """Build the image into build/e2e and print its files."""
    folder = TOP / "build/e2e"
    folder.mkdir(parents=True, exist_ok=True)
    built = image(folder)
    print(built.kernel, built.initramfs, sep="\n")


if __name__ == "__main__":
    main()
