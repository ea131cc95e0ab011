"""An installed machine of files, in its recovery system: what is mounted where, and how."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from node.testing.installed import DONE, InstalledMachine
from pairing.process import Result

ESP, DEVICE = "esp", "/dev/vda1"


class InRecovery:
    """The machine, restarted: volumes are closed, and its boot partition, which is the folder
    `esp` now, can be seen only where it is mounted.
    """

    def __init__(self, machine: InstalledMachine) -> None:
        self.machine = machine
        machine.restart()
        line = (machine.root / "proc/cmdline").read_text()
        machine.write("proc/cmdline", line.replace("mode=installed", "mode=recovery"))
        machine.write("sys/block/vda/vda1/dev", "254:1\n")
        (machine.root / "boot").rename(self.esp)
        (machine.root / "boot").mkdir()
        machine.programs |= {
            "mount": self._mount,
            "umount": self._umount,
            "systemctl": lambda argv, stdin: DONE,
        }

    @property
    def esp(self) -> Path:
        """What is on the boot partition."""
        return self.machine.root / ESP

    @property
    def kernels(self) -> list[str]:
        """The boot entries."""
        return sorted(path.name for path in (self.esp / "EFI/Linux").iterdir())

    @property
    def mounts(self) -> list[tuple[str, str]]:
        """Where the boot partition is mounted, and how."""
        lines = (line.split() for line in self._table.read_text().splitlines() if DEVICE in line)
        return [(fields[4], fields[5]) for fields in lines]

    @property
    def _table(self) -> Path:
        return self.machine.root / "proc/self/mountinfo"

    def _mount(self, argv: Sequence[str], stdin: bytes) -> Result:
        assert argv[-2] == DEVICE
        where = argv[-1].removeprefix(str(self.machine.root))
        kind = "ro" if "ro" in argv[4].split(",") else "rw"
        assert all(known == kind for _, known in self.mounts), "the kernel refuses"
        with self._table.open("a") as table:
            table.write(f"30 22 254:1 / {where} {kind} - vfat {DEVICE} {kind}\n")
        folder = self.machine.root / where.lstrip("/")
        folder.rmdir()
        folder.symlink_to(self.esp)
        return DONE

    def _umount(self, argv: Sequence[str], stdin: bytes) -> Result:
        lines = self._table.read_text().splitlines(keepends=True)
        self._table.write_text("".join(one for one in lines if one.split()[4] != argv[-1]))
        folder = self.machine.root / argv[-1].lstrip("/")
        folder.unlink()
        folder.mkdir()
        return DONE
