"""A computer that is kept between its starts: its disks, its firmware's variables, its TPM.

box = Box.new(folder, board, disks=(4 << 30,), firmware=Firmware.UEFI)
with box.running(stick) as machine: ...
other = box.copy(elsewhere)         # for a branch of the story
other.change_tpm()                  # the disk in another computer
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from pairing import process
from pairing.testing import firmware, qemu, software_tpm
from pairing.testing.firmware import Certificates
from pairing.testing.hardware import Drive, Firmware, Hardware

COPY_SECONDS = 300.0
NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(slots=True)
class Box:
    """Everything below `folder` is its own. `hardware` has neither drives nor files yet."""

    folder: Path
    hardware: Hardware
    disks: int = 1
    log: Path | None = None
    """Set: the next runs write down what is written to the first disk."""
    zeroing: bool = True
    """Whether a discard leaves zeros on its disks."""
    _runs: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def new(
        cls,
        folder: Path,
        hardware: Hardware,
        disks: Sequence[int] = (),
        keys: Certificates | None = None,
    ) -> Box:
        """A new one with blank disks of these sizes in bytes, and with `keys` in its firmware.

        Without a TPM: call `remove_tpm`. Raises errors.CommandFailed and OSError.
        """
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        box = cls(folder, hardware, len(disks))
        for number, size in enumerate(disks):
            with box.disk(number).open("wb") as file:
                file.truncate(size)
        if hardware.firmware is not Firmware.BIOS:
            firmware.variables(box.variables, keys)
        box.tpm.mkdir()
        return box

    def disk(self, number: int = 0) -> Path:
        """The image of a disk."""
        return self.folder / f"disk-{number}.raw"

    @property
    def variables(self) -> Path:
        return self.folder / "variables.fd"

    @property
    def tpm(self) -> Path:
        return self.folder / "tpm"

    def copy(self, folder: Path, tap: str | None = None) -> Box:
        """The same computer again, as it is now, switched off. Holes stay holes."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        kept = [self.disk(number) for number in range(self.disks)]
        kept += [part for part in (self.variables, self.tpm) if part.exists()]
        copy_files(kept, folder)
        hardware = self.hardware if tap is None else replace(self.hardware, tap=tap)
        return Box(folder, hardware, self.disks)

    def change_tpm(self) -> None:
        """Put another, new TPM into it. Its disk and firmware do not know."""
        shutil.rmtree(self.tpm, ignore_errors=True)
        self.tpm.mkdir()

    def clear_tpm(self) -> None:
        """The same TPM, cleared in the firmware's menu. Raises errors.MissingError."""
        software_tpm.clear(self.tpm)

    def remove_tpm(self) -> None:
        """A computer without a TPM."""
        shutil.rmtree(self.tpm, ignore_errors=True)

    @contextlib.contextmanager
    def running(
        self,
        *media: Drive,
        entry: Sequence[str] = (),
        words: Sequence[str] = (),
        credentials: Mapping[str, str] = NONE,
        clock: str = "",
        memory: Path | None = None,
    ) -> Iterator[qemu.Machine]:
        """Switched on, with these media, until the context ends (the plug is pulled).

        `words`, `credentials` and `clock` as in Hardware. With `memory` it goes on where
        qemu.Machine.paused saved it, with the same media. Raises what qemu.running raises.
        """
        files = self.folder / f"run-{next(self._runs)}"
        shutil.rmtree(files, ignore_errors=True)
        with contextlib.ExitStack() as stack:
            tpm = None
            if self.tpm.exists():
                tpm = stack.enter_context(software_tpm.chip(self.tpm))
            hardware = replace(
                self.hardware,
                drives=(*self._drives(), *media),
                variables=self.variables if self.variables.exists() else None,
                tpm=tpm,
                words=words,
                credentials=credentials,
                clock=clock or self.hardware.clock,
                memory_from=memory,
            )
            machine = stack.enter_context(qemu.running(hardware, None, files, entry))
            if memory is not None:
                machine.resume()
            yield machine

    def _drives(self) -> Iterator[Drive]:
        for number in range(self.disks):
            name = "E2E-DISK" if number == 0 else f"E2E-DISK-{number}"
            log = self.log if number == 0 else None
            yield Drive(image=self.disk(number), serial=name, log=log, zeroing=self.zeroing)


def copy_files(sources: Iterable[Path], folder: Path) -> None:
    """Into `folder`, folders whole; holes stay holes. Raises errors.CommandFailed."""
    argv = ["cp", "--archive", "--sparse=always", "--reflink=auto"]
    process.run([*argv, *map(str, sources), f"{folder}/"], seconds=COPY_SECONDS)
