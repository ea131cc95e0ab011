"""Unified kernel images: kernel, initrd, kernel line and signatures in one program of the firmware.

One for each mode of an image (docs/node.md). ukify(1) builds it, with systemd-stub(7) at its head.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from node.image import product
from node.image.recipe import Recipe
from node.image.rooms import KEYS, WORK, Room

SECONDS = 120.0
PHASES = (
    "enter-initrd:leave-initrd:sysinit:ready",
    "enter-initrd:leave-initrd:sysinit",
    "enter-initrd:leave-initrd",
)
"""Of systemd-pcrphase(8): when a policy may open a volume. Ours are opened after switch-root."""


class Mode(enum.Enum):
    """What a UKI starts. The value is the kernel word's."""

    LIVE = "live"
    INSTALLED = "installed"
    RECOVERY = "recovery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredients:
    """What all UKIs of a version have in common. `work` holds `kernel`, `initrd`."""

    recipe: Recipe
    tools: Room
    work: Path
    kernel_version: str
    roothash: str
    keys: Path | None = None
    """A folder with `pcr.key`, `pcr.pub`, and for Secure Boot `db.key` and `db.crt`."""


def labels(mode: Mode, version: str) -> tuple[str, str]:
    """Labels of the partitions with root and hashes."""
    if mode is Mode.LIVE:
        return "kr_live", "kr_live_v"
    if mode is Mode.RECOVERY:
        return "kr_recovery", "kr_recovery_v"
    return f"kr_root_{version}", f"kr_verity_{version}"


def kernel_line(recipe: Recipe, mode: Mode, roothash: str, more: Sequence[str] = ()) -> str:
    """The words of the kernel's line."""
    data, hashes = labels(mode, recipe.version)
    words = [f"kairos.mode={mode.value}", f"roothash={roothash}", "root=/dev/mapper/root", "ro"]
    words += [f"systemd.verity_root_data=PARTLABEL={data}"]
    words += [f"systemd.verity_root_hash=PARTLABEL={hashes}"]
    words += ["rootfstype=squashfs", "systemd.volatile=state", "systemd.machine_id=firmware"]
    # A failed boot must become a restart, or no try is ever counted.
    words += ["rd.emergency=reboot", "rd.shell=0", "panic=10", "systemd.crash_action=reboot"]
    words += ["systemd.default_device_timeout_sec=80"]
    # What comes from outside the image changes nothing: credentials in the firmware's tables,
    # which no register of ours measures, and partitions that a thief adds to the disk.
    words += ["systemd.import_credentials=no", "systemd.gpt_auto=no", "systemd.swap=no"]
    # Nice= counts (`kairos-node.service`): else each service is scheduled as a group of its own.
    words += ["noautogroup"]
    # The screen is for the code: no chatter of the kernel, no blanking, no cursor.
    words += ["quiet", "loglevel=4", "systemd.show_status=0", "consoleblank=0"]
    words += ["vt.global_cursor_default=0", "rd.systemd.show_status=0"]
    words += [f"console={console}" for console in recipe.consoles]
    return " ".join([*words, *recipe.kernel_words, *more])


def make(uki: Ingredients, mode: Mode, target: str, more: Sequence[str] = ()) -> Path:
    """Build `target` (a name below `uki.work`). Raises what Room.run raises."""
    recipe = uki.recipe
    release = "kr-recovery" if mode is Mode.RECOVERY else "kr"
    (uki.work / f"os-release.{mode.value}").write_text(product.os_release(recipe, release))
    line = kernel_line(recipe, mode, uki.roothash, more)
    (uki.work / f"line.{mode.value}").write_text(line, encoding="ascii")
    argv = ["ukify", "build", f"--linux={WORK}/kernel", f"--initrd={WORK}/initrd"]
    argv += [f"--cmdline=@{WORK}/line.{mode.value}", f"--uname={uki.kernel_version}"]
    argv += [f"--os-release=@{WORK}/os-release.{mode.value}", f"--output={WORK}/{target}"]
    argv += _policy(uki, mode) + _signature(uki)
    uki.tools.run(argv, uki.work, seconds=SECONDS, keys=uki.keys)
    return uki.work / target


def _policy(uki: Ingredients, mode: Mode) -> list[str]:
    """Only the installed system may open the volumes, so only it has a signed policy."""
    if uki.keys is None or mode is not Mode.INSTALLED:
        return []
    return policy_options()


def policy_options() -> list[str]:
    """ukify's options for a policy signed with the keys of the room."""
    keys = [f"--pcr-private-key={KEYS}/pcr.key", f"--pcr-public-key={KEYS}/pcr.pub"]
    return [*keys, "--pcr-banks=sha256", f"--phases={','.join(PHASES)}"]


def _signature(uki: Ingredients) -> list[str]:
    if uki.keys is None or uki.recipe.secure_boot == "off":
        return []
    # The kernel inside needs no signature of its own: the stub starts it.
    signing = ["--signtool=systemd-sbsign", "--no-sign-kernel"]
    keys = [f"--secureboot-private-key={KEYS}/db.key"]
    return [*signing, *keys, f"--secureboot-certificate={KEYS}/db.crt"]


def sign(tools: Room, work: Path, keys: Path, source: str, target: str) -> None:
    """Sign another program of the firmware, such as the loader. Raises what Room.run raises."""
    argv = ["/usr/lib/systemd/systemd-sbsign", "sign", f"--private-key={KEYS}/db.key"]
    argv += [f"--certificate={KEYS}/db.crt", f"--output={WORK}/{target}", f"{WORK}/{source}"]
    tools.run(argv, work, seconds=SECONDS, keys=keys)
