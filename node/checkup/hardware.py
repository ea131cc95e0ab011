"""TPM, Secure Boot, the firmware's boot entries, disks and room on them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from node.checkup.look import Look, advice, wrong
from node.system import board
from node.system.booted import booted
from node.system.disks import disks
from node.system.install.boot_entries import RECOVERY, SYSTEM, parse
from node.system.reading import output, text
from node.system.tpmview import ASK_PROPERTIES, locked_out
from node.system.volumes import is_mounted
from pairing.facts import UNREADABLE, binary_size, disk_text
from pairing.findings import Finding, ok

TPM_SECONDS, FIRMWARE_SECONDS = 30.0, 60.0
FIRMWARE = {
    "on": "on",
    "off": "switched off: the TPM does not prove what software is started",
    "setup": "in setup mode: whoever starts it may enrol keys",
}
PLACES = {"/usr/local": 256 * 2**20, "/boot": 32 * 2**20}
"""Where room is needed, and how many bytes of it."""


def tpm(look: Look) -> Iterator[Finding]:
    """Whether there is one, and whether it refuses everybody."""
    version = text(look.root / "sys/class/tpm/tpm0/tpm_version_major")
    if version != "2":
        there = "only an old one (1.2)" if version else "none"
        hint = "Switch it on in the firmware's settings (TPM, PTT, fTPM), or install without it."
        yield advice("tpm", there, hint)
        return
    said = output(look.run, ASK_PROPERTIES, seconds=TPM_SECONDS)
    if said is None:
        yield wrong("tpm", "version 2.0, but it does not answer", "Switch the machine off and on.")
        return
    if locked_out(said):
        hint = "Wait some hours with the machine on, or clear it in the firmware's settings."
        yield wrong("tpm", "locked out after too many wrong tries", hint)
    else:
        yield ok("tpm", "version 2.0, answers")


def secure_boot(look: Look) -> Iterator[Finding]:
    """As the firmware says it."""
    state = board.secure_boot(look.root)
    if state == "on":
        yield ok("secureboot", FIRMWARE[state])
    else:
        shown = FIRMWARE.get(state, "not there")
        yield advice("secureboot", shown, "Worth it with an image that is signed for it.")


def boot_entries(look: Look) -> Iterator[Finding]:
    """Whether the firmware starts our disk, and knows the recovery system."""
    if look.mode == "live" or not (look.root / "sys/firmware/efi").is_dir():
        return
    said = output(look.run, ("efibootmgr",), seconds=FIRMWARE_SECONDS)
    if said is None:
        yield advice("firmware", "its boot entries cannot be read")
        return
    found = parse(said)
    missing = [label for label in (SYSTEM, RECOVERY) if label not in found.labels.values()]
    first = found.labels.get(found.order[0], "") if found.order else ""
    if missing:
        hint = "The disk is started by its default name; a new installation sets them again."
        yield advice("firmware", f"has no entry {', '.join(missing)}", hint)
    elif first not in (SYSTEM, RECOVERY):
        hint = "Put it first in the firmware's boot order, if the machine starts something else."
        yield advice("firmware", f"starts {first or 'something'} before {SYSTEM}", hint)
    else:
        yield ok("firmware", f"starts {first} first")


def drives(look: Look) -> Iterator[Finding]:
    """Each disk, and whether it can be read."""
    found = disks(look.root, look.run)
    if not found:
        yield wrong("disk", "no disk was found", "Look at its cable; look into the firmware.")
    for disk in found:
        if UNREADABLE in disk.content:
            hint = "It cannot be read: change the disk, or its cable."
            yield wrong("disk", disk_text(disk), hint)
        elif disk.read_only:
            yield advice("disk", disk_text(disk))
        else:
            yield ok("disk", disk_text(disk))


def room(look: Look) -> Iterator[Finding]:
    """Room on what is mounted."""
    for where, least in PLACES.items():
        if not is_mounted(look.root, where):
            continue
        found = os.statvfs(look.root / where.lstrip("/"))
        free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        shown = f"{where}: {binary_size(free)} of {binary_size(total)} are free"
        if free < least:
            yield wrong("room", shown, f"Remove what is not needed below {where}.")
        else:
            yield ok("room", shown)


def verity(look: Look) -> Iterator[Finding]:
    """Whether the system's own file system is checked, and still whole."""
    found = booted(look.root)
    if found is None:
        yield advice("system", "it is not started from an image of ours")
        return
    said = output(look.run, ("dmsetup", "status", found.root.name), seconds=TPM_SECONDS) or ""
    words = said.split()
    version = board.medium(look.root)
    if words[2:4] == ["verity", "C"]:
        hint = "Its disk is damaged, or somebody changed it: upgrade, or start recovery."
        yield wrong("system", f"{version} ({look.mode}) has blocks that do not verify", hint)
    elif words[2:4] == ["verity", "V"]:
        yield ok("system", f"{version} ({look.mode}), every block is verified as it is read")
    else:
        yield advice("system", f"{version} ({look.mode}); whether it is whole cannot be read")
