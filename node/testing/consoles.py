"""A virtual machine for the looks of its console: the guest's system with `kairos-node run` and
nothing else in it, and fonts to change under its feet.
"""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
from pathlib import Path

from node.testing import guest
from pairing.testing import cpio, guest_system

FONTS = Path("/usr/share/consolefonts")
SETFONT = Path("/usr/bin/setfont")
FOUND = ("Lat15-Fixed16", "default8x16", "FullGreek-VGA16", "Uni2-Fixed16")
"""Debian's usual one, without half blocks; kbd's; one with 512 glyphs that has them where VGA text
tiles; one with 512 that has none."""
BROKEN = "LatGrkCyr-8x16"
"""As kbd has it: half blocks are mapped, and look like full ones. No package of Debian's brings it:
its fault is put into default8x16."""
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/opt/kairos-register/bin
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
mount -t tmpfs run /run; mount -t tmpfs tmp /tmp
setsid sh -c 'exec sh </dev/ttyS2 >/dev/ttyS2 2>&1' &
kairos-node run --console kernel --dry-run >/dev/ttyS1 2>&1 &
echo $! > /run/node.pid
while :; do sleep 1000; done
"""
WORDS = tuple(
    word for word in guest_system.KERNEL_WORDS if not word.startswith(("rdinit=", "systemd."))
)
"""Kernel words without an init system: it would take the time of an emulated processor."""
_PSF1, _PSF1_SIZE = b"\x36\x04", 4


def missing() -> list[str]:
    """What has to be installed for it."""
    fonts = (FONTS / f"{name}.psf.gz" for name in FOUND)
    return [str(file) for file in (SETFONT, *fonts) if not file.exists()]


def image(folder: Path) -> guest.Image:
    """The guest's image with fonts and another init. Raises as `guest.image` does."""
    made = guest.image(folder)
    files = {"console-init": INIT.encode(), "usr/bin/setfont": SETFONT.read_bytes()}
    fonts = {name: gzip.decompress((FONTS / f"{name}.psf.gz").read_bytes()) for name in FOUND}
    fonts[BROKEN] = with_full_halves(fonts["default8x16"])
    files |= {f"font-{name}": data for name, data in fonts.items()}
    archive = folder / "console.tar"
    with tarfile.open(archive, "w") as opened:
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mode = len(data), 0o755
            opened.addfile(member, io.BytesIO(data))
    target = folder / "console.cpio"
    cpio.from_tar(archive, target)
    with made.initramfs.open("ab") as out, target.open("rb") as more:
        shutil.copyfileobj(more, out, cpio.CHUNK)
    for file in (archive, target):
        file.unlink()
    return made


def with_full_halves(font: bytes) -> bytes:
    """A PSF 1 font of CP437 whose half blocks are ink all over (psf format of kbd)."""
    assert font[:2] == _PSF1, "PSF 1"
    size = font[3]
    for slot in (0xDC, 0xDF):
        start = _PSF1_SIZE + slot * size
        font = font[:start] + b"\xff" * size + font[start + size :]
    return font
