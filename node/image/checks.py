"""Is everything there that a node needs? Asked of each tree, wherever it comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from node.image.initrd import TPM_LIBRARIES, tpm_libraries
from node.image.rooms import Room
from pairing import errors

SECONDS = 60.0
SYSTEMD = 257
PYTHONS = ("3.11", "3.12", "3.13")
PROGRAMS = {
    "usr/lib/systemd/systemd-cryptsetup": "systemd-cryptsetup",
    "usr/lib/systemd/systemd-sysupdate": "systemd-sysupdate (systemd-container)",
    "usr/lib/systemd/systemd-bless-boot": "systemd-bless-boot (systemd-boot)",
    "usr/bin/systemd-repart": "systemd-repart",
    "usr/bin/dracut": "dracut",
    "usr/sbin/cryptsetup": "cryptsetup",
    "usr/sbin/veritysetup": "veritysetup",
    "usr/bin/gpg": "gpg",
    "usr/bin/curl": "curl",
    "usr/bin/efibootmgr": "efibootmgr",
    "usr/bin/tpm2_pcrextend": "tpm2-tools",
    "usr/sbin/e2fsck": "e2fsprogs",
    "usr/sbin/mkfs.vfat": "dosfstools",
    "usr/sbin/sfdisk": "sfdisk (fdisk)",
    "usr/sbin/sshd": "sshd (openssh-server)",
}
"""What a machine's life runs. Only clevis may be missing: a machine without Tang needs none."""
_VERSION = re.compile(r"systemd (\d+)")


def require_suitable(tree: Path, draft: Path) -> None:
    """Raises errors.BaseUnsuitable with all that is missing. `draft`: an empty folder."""
    if found := list(missing(tree)):
        raise errors.BaseUnsuitable(f"It lacks {', '.join(found)}.")
    said = Room(tree).run(["systemctl", "--version"], draft, seconds=SECONDS).text()
    version = _VERSION.search(said)
    if version is None or int(version[1]) < SYSTEMD:
        raise errors.BaseUnsuitable(f"Its systemd is {version[1] if version else 'unknown'}.")


def missing(tree: Path) -> Iterator[str]:
    """What is not there, in words."""
    if not (tree / "usr/lib/systemd/systemd").exists():
        yield f"systemd (>= {SYSTEMD})"
    for place, name in PROGRAMS.items():
        if not _is_there(tree, place):
            yield name
    kernels = {path.name.removeprefix("vmlinuz-") for path in (tree / "boot").glob("vmlinuz-*")}
    drivers = {path.name for path in (tree / "usr/lib/modules").glob("*")}
    if not kernels:
        yield "a kernel (/boot/vmlinuz-*)"
    elif not kernels & drivers:
        yield "the kernel's drivers (/usr/lib/modules)"
    there = {Path(place).name for place in tpm_libraries(tree)}
    yield from (name for name in TPM_LIBRARIES if name not in there)
    if not any((tree / f"usr/bin/python{version}").exists() for version in PYTHONS):
        yield "Python 3.11 to 3.13"


def _is_there(tree: Path, place: str) -> bool:
    """Links count: they point to places in the tree, not here. Debian merges /usr/sbin at times."""
    names = (place, place.replace("/sbin/", "/bin/"))
    return any((tree / name).exists() or (tree / name).is_symlink() for name in names)
