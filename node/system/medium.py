"""The boot partition of the medium that was booted, with what can be installed from it.

It is mounted read-only. What is read here is only planned with: `node.system.install.check_image`
holds every file against the checksums that the signed kernel line names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from node.partition import VERSION
from node.system.board import kernel_words
from node.system.booted import booted, part
from node.system.reading import Run, names, output, read, short, text
from pairing.facts import NUMBER_LIMIT, Image

PUBLIC_KEY = Path("/usr/lib/kairos-register/pcr.pub")
"""Public key of the PCR 11 policies, in the image."""
FOLDER = Path("/run/kairos-register/medium")
MOUNT_SECONDS = 30.0
BOOT_LABELS = ("KR_LIVE", "KR_ESP")
"""Boot partitions: of a stick, and of an installed disk that runs its recovery system."""
IMAGE_FILE = "kairos/image.json"


def image(root: Path, run: Run) -> Image | None:
    """What the booted medium can install; None if it holds nothing of ours."""
    folder = mounted(root, run)
    found = None if folder is None else image_in(read(folder / IMAGE_FILE))
    has_key = bool(read(root / str(PUBLIC_KEY).lstrip("/")))
    return None if found is None else replace(found, policies=has_key)


def source(root: Path) -> Path | None:
    """The device of that boot partition; None if we were not started from a medium of ours."""
    came_from = booted(root)
    if came_from is None:
        return None
    found = [part(root, came_from.disk, label) for label in BOOT_LABELS]
    return next((one.device for one in found if one is not None), None)


def mounted(root: Path, run: Run) -> Path | None:
    """The folder of the boot partition, mounted first where it is not; None if there is none.

    Mounting needs root; without it, as on a developer's machine, there is none.
    """
    boot = source(root)
    if boot is None:
        return None
    device = str(boot)
    if (already := mounted_at(root, boot)) is not None:
        return already
    folder = root / str(FOLDER).lstrip("/")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    options = "ro,nodev,nosuid,noexec"
    mount = ("mount", "--types", "vfat", "--options", options, device, str(folder))
    return folder if output(run, mount, seconds=MOUNT_SECONDS) is not None else None


def image_in(data: bytes) -> Image | None:
    """The image that `kairos/image.json` describes, None if it is not what we know."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, Mapping) or not VERSION.fullmatch(short(body.get("version"))):
        return None
    sizes = body.get("sizes")
    sizes = sizes if isinstance(sizes, Mapping) else {}
    return Image(
        version=short(body["version"]),
        arch=short(body.get("arch")),
        root=_size(sizes, "root"),
        verity=_size(sizes, "verity"),
        kernel=_size(sizes, "kernel"),
        roothash=short(body.get("roothash")),
        secure_boot=short(body.get("secure_boot")),
    )


def sums_word(root: Path) -> str:
    """The SHA-256 of `kairos/SHA256SUMS` that the signed kernel line names; empty if none."""
    return kernel_words(root).get("kairos.sums", "").lower()


def _size(sizes: Mapping[str, Any], name: str) -> int:
    value = sizes.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 <= value <= NUMBER_LIMIT else 0


def mounted_at(root: Path, device: Path) -> Path | None:
    """Where this partition's file system can be read already; None if it is not mounted."""
    name = (root / str(device).lstrip("/")).resolve().name
    found = [text(root / "sys/block" / disk / name / "dev") for disk in names(root / "sys/block")]
    number = next(filter(None, found), "")
    where = _mounts(root).get(number) if number else None
    return None if where is None else root / where.lstrip("/")


def _mounts(root: Path) -> dict[str, str]:
    """Mount points by device number (proc_pid_mountinfo(5)); the first of each."""
    lines = read(root / "proc/self/mountinfo").decode("utf-8", "replace").splitlines()
    found: dict[str, str] = {}
    for line in lines:
        fields = line.split()
        if len(fields) > 4 and fields[3] == "/":
            found.setdefault(fields[2], fields[4].encode().decode("unicode_escape"))
    return found
