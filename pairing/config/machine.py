"""A config held against one machine's facts: does it fit, and which disk does it mean?

Pure. The operator runs it before release, the node again before it plans: the same code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pairing import errors
from pairing.config.document import Document
from pairing.config.problem import Path, Problem, printable
from pairing.config.rules import encryption
from pairing.facts import Disk, Facts, decimal_size, disk_text

MINIMUM_DISK = 4 * 1024**3
"""Bytes. ESP 320 MiB, OEM 64, two slots and recovery of 400 each leave 2.4 GiB for data."""

_ARCHES = {"amd64": "x86_64", "arm64": "aarch64"}


def against(document: Document, facts: Facts) -> list[Problem]:
    """Why this (valid, rendered) config does not fit this machine; empty if it does.

    That several disks would do is no problem of the config: `choose_disk` raises for it.
    """
    found = [
        *_expectations(document, facts),
        *_tpm(document, facts),
        *_disk(document, facts),
    ]
    return sorted(found, key=lambda problem: (problem.line, problem.column))


def require_fit(document: Document, facts: Facts) -> None:
    """Raises errors.ConfigNotForThisMachine with everything that does not fit."""
    if found := against(document, facts):
        raise errors.ConfigNotForThisMachine(problems=found)


def choose_disk(document: Document, facts: Facts) -> Disk:
    """The disk that the config means on this machine.

    `install.device: auto`, or none, means the only fixed empty disk; with `install.wipe`, the only
    fixed disk. A disk at USB is never meant by `auto`, as it may be somebody's backup. A path means
    that disk, whatever it holds: `against` judges it. In the recovery system `auto` means the disk
    that it was started from: that is the one to be repaired.
    Raises errors.DiskNotChosen listing the disks if the choice is open, and
    errors.ConfigNotForThisMachine if there is no such disk.
    """
    device = _device(document)
    if device != "auto":
        disk = find_disk(facts, device)
        if disk is None:
            raise errors.ConfigNotForThisMachine(problems=list(_disk(document, facts)))
        return disk
    usable = [disk for disk in facts.disks if not _unusable(disk, facts)]
    if not usable:
        raise errors.ConfigNotForThisMachine(problems=list(_disk(document, facts)))
    if own := next((disk for disk in usable if is_own(disk, facts)), None):
        return own
    wipe = document.get("install", "wipe") is True
    candidates = [d for d in usable if d.transport != "usb" and (wipe or not d.content)]
    if len(candidates) != 1:
        raise errors.DiskNotChosen("It has: " + "; ".join(map(describe, usable)) + ".")
    return candidates[0]


def find_disk(facts: Facts, device: str) -> Disk | None:
    """The disk with this path or by-id name."""
    for disk in facts.disks:
        names = {disk.path, *disk.by_id, *(f"/dev/disk/by-id/{name}" for name in disk.by_id)}
        if device in names:
            return disk
    return None


def describe(disk: Disk) -> str:
    """One disk in one line, safe to print."""
    return printable(disk_text(disk), 300)


def _content(disk: Disk) -> str:
    return printable(", ".join(disk.content), 200)


def _device(document: Document) -> str:
    device = document.get("install", "device")
    return device if isinstance(device, str) and device else "auto"


def is_own(disk: Disk, facts: Facts) -> bool:
    """The disk that the running recovery system is on: it can be installed again around it."""
    return facts.mode == "recovery" and disk.booted


def _unusable(disk: Disk, facts: Facts) -> str:
    """Why this disk can never be installed on, as a clause; empty if it can."""
    if disk.in_use and not is_own(disk, facts):
        return "is in use (mounted, or the medium that was booted)"
    if disk.read_only:
        return "is read-only"
    if disk.removable:
        return "is removable"
    if disk.size < MINIMUM_DISK:
        return f"is too small ({decimal_size(disk.size)}; at least 4.3 GB are needed)"
    return ""


def _disk(document: Document, facts: Facts) -> Iterator[Problem]:
    path: Path = ("install", "device")
    device = _device(document)
    if device == "auto":
        if all(_unusable(disk, facts) for disk in facts.disks):
            reasons = "; ".join(f"{printable(d.path)} {_unusable(d, facts)}" for d in facts.disks)
            yield _problem(document, path, f"No disk can be used: {reasons or 'there is none'}.")
            return
        device = next((disk.path for disk in facts.disks if is_own(disk, facts)), "")
        if not device:
            return
    disk = find_disk(facts, device)
    if disk is None:
        there = "; ".join(map(describe, facts.disks)) or "no disk at all"
        yield _problem(document, path, "This machine has no such disk.", f"It has: {there}.")
    elif reason := _unusable(disk, facts):
        yield _problem(document, path, f"{printable(disk.path)} {reason}.")
    elif keeps_data(document):
        yield from _kept(document, disk, facts)
    elif disk.content and document.get("install", "wipe") is not True:
        hint = "To erase it, write install.wipe: true."
        if is_own(disk, facts):
            hint += " To keep its data, install.keep_data: true."
        yield _problem(document, path, f"{printable(disk.path)} holds {_content(disk)}.", hint)


def keeps_data(document: Document) -> bool:
    """Whether the config asks to keep the data of the installation before."""
    return document.get("install", "keep_data") is True


def _kept(document: Document, disk: Disk, facts: Facts) -> Iterator[Problem]:
    path: Path = ("install", "keep_data")
    if document.get("install", "wipe") is True:
        yield _problem(document, path, "With install.wipe the data is erased: say one of both.")
    if not is_own(disk, facts) or not disk.content:
        hint = "Start the machine's recovery system, which is on the disk with the data."
        yield _problem(document, path, f"There is no data to keep on {printable(disk.path)}.", hint)


def _tpm(document: Document, facts: Facts) -> Iterator[Problem]:
    asked = encryption(document)
    if not asked.wants_tpm or facts.tpm is not None:
        return
    message = f"Encryption with {asked.mode} is asked for, but this machine has no TPM 2.0."
    if not asked.said:
        message = (
            "Disks are encrypted with a TPM 2.0 unless said otherwise, and there is none here."
        )
    hint = "Say install.encrypt.mode: tang, or none (then everything on the disk is readable)."
    yield _problem(document, ("install", "encrypt"), message, hint)


def _expectations(document: Document, facts: Facts) -> Iterator[Problem]:
    """`expect`: one value, or a list of which one must hold."""
    hardware: dict[str, Sequence[str]] = {
        "serial": (facts.serial,),
        "mac": tuple(_mac(nic.mac) for nic in facts.nics),
        "ek_hash": (facts.tpm.ek_hash.lower(),) if facts.tpm else (),
        "arch": (facts.arch,),
    }
    for name, real in hardware.items():
        wanted = document.get("expect", name)
        if wanted is None:
            continue
        choices = {
            _canonical(name, str(w)) for w in (wanted if isinstance(wanted, list) else [wanted])
        }
        if not choices & {value for value in real if value}:
            shown = ", ".join(printable(value) for value in real if value) or "none"
            message = f"This is not the expected machine: its {name} is {shown}."
            yield _problem(document, ("expect", name), message)


def _canonical(name: str, value: str) -> str:
    if name == "mac":
        return _mac(value)
    if name == "arch":
        return _ARCHES.get(value, value)
    return value.lower() if name == "ek_hash" else value


def _mac(text: str) -> str:
    return text.lower().replace("-", ":")


def _problem(document: Document, path: Path, message: str, hint: str = "") -> Problem:
    mark = document.position(path)
    return Problem(path=path, mark=mark, message=message, suggestion=hint)
