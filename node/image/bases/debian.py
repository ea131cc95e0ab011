"""A Debian tree, made by mmdebstrap: the packages that every node needs, and the recipe's.

mmdebstrap runs as root or, without, in a user namespace (newuidmap, subuid(5)); the archive is the
same. Debian's keys come from this machine's keyring.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from node.image import layers
from node.image.recipe import Base
from pairing import process

SECONDS = 1800.0
PYTHON = "3.13"
"""Of trixie."""
NODE_PACKAGES = (
    "ca-certificates",
    "clevis",
    "clevis-luks",
    "clevis-tpm2",
    "cryptsetup-bin",
    "dbus-broker",
    "dmsetup",
    "dosfstools",
    "dracut",
    "e2fsprogs",
    "efibootmgr",
    "fdisk",
    "gpg",
    "gpgv",
    "iproute2",
    "kmod",
    "libtss2-esys-3.0.2-0t64",
    "libtss2-mu-4.0.1-0t64",
    "libtss2-rc0t64",
    "libtss2-tcti-device0t64",
    "nftables",
    "openssh-server",
    "python3",
    "sudo",
    "systemd",
    "systemd-boot",
    "systemd-boot-tools",
    "systemd-container",
    "systemd-cryptsetup",
    "systemd-repart",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "tpm2-tools",
    "udev",
    "util-linux",
    "zstd",
)
KERNELS = {"cloud": "linux-image-cloud-amd64", "generic": "linux-image-amd64"}
TOOL_PACKAGES = (
    "binutils",
    "cryptsetup-bin",
    "dosfstools",
    "efitools",
    "fdisk",
    "gdisk",
    "libtss2-esys-3.0.2-0t64",
    "libtss2-mu-4.0.1-0t64",
    "libtss2-rc0t64",
    "mtools",
    "openssl",
    "sbsigntool",
    "sqop",
    "squashfs-tools",
    "systemd-boot-efi",
    "systemd-repart",
    "systemd-ukify",
    "xorriso",
    "zstd",
)
COMPILE = (
    "PYTHONHASHSEED=0 chroot $1 python3 -m compileall -q -f --invalidation-mode unchecked-hash"
)
BUILDERS_RESOLVER = "/etc/.resolv.conf.systemd-resolved.bak"
"""systemd-resolved's package keeps the resolv.conf that it finds: that of whoever builds."""
QUIET_KERNEL = (
    "mkdir -p $1/etc/kernel/postinst.d && cd $1/etc/kernel/postinst.d"
    " && printf '#!/bin/sh\\n' >dracut && chmod 755 dracut"
)
"""The kernel's package would have an initrd made here; ours is made once everything is there."""


def make_node_tree(
    draft: Path, base: Base, kernel: str, packages: Sequence[str], epoch: int
) -> None:
    """Fill `draft` with `root.tar`, and the same unpacked in `tree`.

    Raises errors.CommandMissing, errors.CommandFailed and errors.CommandTimeout.
    """
    _make(draft, base, node_options(base, kernel, packages), epoch)


def make_tools(draft: Path, base: Base, epoch: int) -> None:
    """The same for the tree with the tools that make images."""
    _make(draft, base, tool_options(base), epoch)
    (draft / "root.tar").unlink()


def node_options(base: Base, kernel: str, packages: Sequence[str]) -> list[str]:
    """mmdebstrap's options; with suite and mirror they say what is in the tree."""
    standard = f"/usr/lib/python3 /usr/lib/python{PYTHON}"
    names = sorted({*NODE_PACKAGES, KERNELS[kernel], *packages})
    return [
        *_options(base, "apt", names),
        *(
            f"--dpkgopt=path-exclude=/etc/kernel/postinst.d/{n}"
            for n in ("dracut", "zz-systemd-boot")
        ),
        f"--essential-hook={QUIET_KERNEL}",
        f"--customize-hook={COMPILE} {standard}",
        f"--customize-hook=rm -f $1{BUILDERS_RESOLVER}",
    ]


def tool_options(base: Base) -> list[str]:
    """The same for the tools."""
    return _options(base, "essential", TOOL_PACKAGES)


def _options(base: Base, variant: str, packages: Sequence[str]) -> list[str]:
    return [
        "--quiet",
        f"--variant={variant}",
        f"--components={','.join(base.components)}",
        f"--include={','.join(packages)}",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "locale", "doc")),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    ]


def _make(draft: Path, base: Base, options: Sequence[str], epoch: int) -> None:
    archive = draft / "root.tar"
    mirror = [base.mirror] if base.mirror else []
    process.run(
        ["mmdebstrap", *options, base.suite, str(archive), *mirror],
        seconds=SECONDS,
        environment={"SOURCE_DATE_EPOCH": str(epoch)},
    )
    layers.unpack(archive, draft / "tree")
