"""The machine itself: who made it, processor, memory, firmware, boot words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from node.system.reading import Run, first, output, read, short, text

UNAME_SECONDS = 5.0
EFI_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
"""GUID of the variables that the UEFI specification defines (section 3.3)."""
MODES = ("live", "installed", "recovery")
_NO_NAME = frozenset(
    {
        "0",
        "00000000",
        "0123456789",
        "123456789",
        "chassis serial number",
        "default string",
        "empty",
        "n/a",
        "na",
        "none",
        "not applicable",
        "not specified",
        "o.e.m.",
        "system manufacturer",
        "system product name",
        "system serial number",
        "to be filled by o.e.m.",
        "unknown",
        "xxxxxxxx",
    }
)
"""What makers leave in the firmware when they fill in nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What tells this machine from others; empty where it is not known."""

    serial: str
    vendor: str
    product: str
    uuid: str


def identity(root: Path) -> Identity:
    """From SMBIOS, else from the device tree.

    The kernel shows serial and UUID to root only.
    """
    dmi, tree = root / "sys/class/dmi/id", root / "proc/device-tree"
    return Identity(
        serial=first(
            lambda: _said(dmi / "product_serial"),
            lambda: _said(tree / "serial-number"),
            lambda: _said(dmi / "board_serial"),
            lambda: _said(dmi / "chassis_serial"),
        ),
        vendor=first(
            lambda: _said(dmi / "sys_vendor"),
            lambda: _said(dmi / "board_vendor"),
            lambda: short(_compatible(tree).split(",")[0]) if "," in _compatible(tree) else "",
        ),
        product=first(
            lambda: _said(dmi / "product_name"),
            lambda: _said(tree / "model"),
            lambda: _said(dmi / "board_name"),
        ),
        uuid=_said(dmi / "product_uuid").lower(),
    )


def arch(run: Run) -> str:
    """The architecture as `uname -m` says it."""
    return short(output(run, ("uname", "-m"), seconds=UNAME_SECONDS))


def cpu(root: Path) -> tuple[str, int]:
    """The processor's name (empty where the kernel has none) and the number of logical cores."""
    lines = read(root / "proc/cpuinfo").decode("utf-8", "replace").splitlines()
    pairs = [(key.strip(), value) for key, _, value in (line.partition(":") for line in lines)]
    name = next((short(value) for key, value in pairs if key == "model name"), "")
    return name, sum(key == "processor" for key, _ in pairs)


def memory(root: Path) -> int:
    """Bytes of memory that the kernel has."""
    for line in read(root / "proc/meminfo").decode("ascii", "replace").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "MemTotal:" and words[1].isdigit():
            return int(words[1]) * 1024
    return 0


def firmware(root: Path, architecture: str) -> str:
    """`uefi`, `devicetree`, `bios` (a PC without the others) or empty."""
    if (root / "sys/firmware/efi").is_dir():
        return "uefi"
    if (root / "proc/device-tree").is_dir():
        return "devicetree"
    return "bios" if architecture in ("x86_64", "i686") else ""


def secure_boot(root: Path) -> str:
    """`on`, `off`, `setup` (anybody may enrol keys), or empty where the firmware has none."""
    if _efi_flag(root, "SetupMode"):
        return "setup"
    return {True: "on", False: "off", None: ""}[_efi_flag(root, "SecureBoot")]


def kernel_words(root: Path) -> Mapping[str, str]:
    """The kernel's command line as words with values; a word without one has the empty value."""
    line = read(root / "proc/cmdline").decode("utf-8", "replace").strip()
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def mode(root: Path) -> str:
    """What was booted, from the kernel word `kairos.mode=`; `live` if it is not said."""
    said = kernel_words(root).get("kairos.mode", "")
    return said if said in MODES else "live"


def medium(root: Path) -> str:
    """Version of the booted image (os-release(5), IMAGE_VERSION), empty if it is not ours."""
    for line in read(root / "etc/os-release").decode("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        if key == "IMAGE_VERSION":
            return short(value.strip("\"' "))
    return ""


def _said(path: Path) -> str:
    value = text(path)
    return "" if value.lower() in _NO_NAME else value


def _compatible(tree: Path) -> str:
    return read(tree / "compatible").split(b"\0")[0].decode("ascii", "replace")


def _efi_flag(root: Path, name: str) -> bool | None:
    # Four bytes of attributes, then the value (efivarfs).
    value = read(root / "sys/firmware/efi/efivars" / f"{name}-{EFI_GLOBAL}")
    return value[4] == 1 if len(value) >= 5 else None
