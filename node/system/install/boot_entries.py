"""boot-entries: what the firmware starts. The new order is set by one write of BootOrder.

New entries are made first, beside the old ones and outside the order; then the order; then the old
ones of ours go. Killed in between, the machine starts what it started before, or all of the new.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from node.execute import Handler, Work
from node.steps import SetBootEntries
from node.system.install.doors import Doors
from pairing import errors

SECONDS = 60.0
SYSTEM, RECOVERY = "KR system", "KR recovery"
"""Labels of our entries; whatever else carries them is an older one of ours."""
ARCHES = {"x86_64": "x64", "aarch64": "aa64", "riscv64": "riscv64", "i686": "ia32"}
"""How the UEFI specification (3.5.1.1) names architectures, by `uname -m`."""
RECOVERY_LOADER = r"\EFI\Linux\recovery.efi"
_ENTRY = re.compile(r"Boot([0-9A-Fa-f]{4})\*? +([^\t]*)")
_ORDER = re.compile(r"BootOrder: *([0-9A-Fa-f, ]*)")


@dataclass(frozen=True, slots=True)
class Entries:
    """The firmware's entries: number to label, and the order of numbers. Hex, upper case."""

    labels: dict[str, str]
    order: tuple[str, ...]

    @property
    def ours(self) -> tuple[str, ...]:
        """The numbers of ours."""
        return tuple(n for n, label in self.labels.items() if label in (SYSTEM, RECOVERY))


def set_boot_entries(doors: Doors) -> Handler:
    """The handler of `SetBootEntries`."""

    async def handler(step: SetBootEntries, work: Work) -> None:
        before = await listed(doors, work)
        boot = doors.partition(step.disk, "KR_ESP").number
        new = []
        for label, loader in ((SYSTEM, system_loader(step.arch)), (RECOVERY, RECOVERY_LOADER)):
            new.append(await _made(doors, work, step.disk, boot, label, loader))
        rest = [number for number in before.order if number not in before.ours]
        await _efibootmgr(doors, work, "--bootorder", ",".join((*new, *rest)))
        for number in before.ours:
            await _efibootmgr(doors, work, "--bootnum", number, "--delete-bootnum")

    return handler


def system_loader(arch: str) -> str:
    """The loader of the installed system, as the firmware writes paths."""
    return rf"\EFI\systemd\systemd-boot{ARCHES.get(arch, arch)}.efi"


async def listed(doors: Doors, work: Work) -> Entries:
    """What the firmware has now. Raises errors.BootEntriesRefused."""
    return parse(await _efibootmgr(doors, work))


def parse(printed: str) -> Entries:
    """What efibootmgr(8) prints: a line for each entry, and the order."""
    labels: dict[str, str] = {}
    order: Sequence[str] = ()
    for line in printed.splitlines():
        if entry := _ENTRY.match(line):
            labels[entry[1].upper()] = entry[2].strip()
        elif said := _ORDER.match(line):
            order = [number.strip().upper() for number in said[1].split(",") if number.strip()]
    return Entries(labels, tuple(order))


async def _made(doors: Doors, work: Work, disk: str, number: int, label: str, loader: str) -> str:
    """The number of a new entry for `loader` on that partition."""
    before = await listed(doors, work)
    where = ("--disk", disk, "--part", str(number))
    what = ("--label", label, "--loader", loader)
    after = parse(await _efibootmgr(doors, work, "--create-only", *where, *what))
    made = [one for one in after.labels if one not in before.labels and after.labels[one] == label]
    if len(made) != 1:
        raise errors.BootEntriesRefused("A new entry is not there.", element=label)
    return made[0]


async def _efibootmgr(doors: Doors, work: Work, *options: str) -> str:
    try:
        said = await doors.tool(("efibootmgr", *options), work, seconds=SECONDS)
    except errors.CommandFailed as wrong:
        raise errors.BootEntriesRefused(str(wrong)) from None
    return said.text()
