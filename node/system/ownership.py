"""Whose machine this is: the record beside the boot files of its disk, and which boot this is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from node.system import board
from node.system.booted import booted, part
from node.system.medium import mounted_at
from node.system.reading import FILE_LIMIT, Run
from pairing import errors, process
from pairing.events import Mode
from pairing.protocol.kept import ReportFile

ESP = "dev/disk/by-partlabel/KR_ESP"
RECORD = "kairos/report.json"
MOUNT_SECONDS = 30.0


def booted_mode(words: Sequence[str]) -> Mode | None:
    """What the kernel word `kairos.mode=` says; None where no image of ours was booted."""
    said = [word.partition("=")[2] for word in words if word.startswith("kairos.mode=")]
    known = {mode.value: mode for mode in (Mode.LIVE, Mode.RECOVERY, Mode.INSTALLED)}
    return known.get(said[-1]) if said else None


def installed_record(root: Path = Path("/"), run: Run = process.run) -> ReportFile | None:
    """The record on the disk that is installed; None if there is no such disk or record.

    Raises ValueError if there is one that cannot be read: it belongs to somebody.
    """
    device = _device(root)
    if not device:
        return None
    try:
        with _mounted(root, device, run) as folder:
            path = folder / RECORD
            if not path.exists():
                return None
            with path.open("rb") as file:
                return ReportFile.from_bytes(file.read(FILE_LIMIT))
    except (errors.MissingError, OSError) as wrong:
        raise ValueError(f"the boot partition cannot be read ({wrong})") from None


def _device(root: Path) -> Path | None:
    """The boot partition of the disk that runs. From a stick: of whichever disk has one, as udev
    says, and so where it is not known what runs.

    Raises ValueError if the disk that runs has none.
    """
    running = booted(root) if board.mode(root) != "live" else None
    if running is None:
        device = root / ESP
        return device if device.exists() else None
    found = part(root, running.disk, Path(ESP).name)
    if found is None:
        raise ValueError(f"{running.disk} has no boot partition")
    return root / found.device.relative_to("/")


@contextmanager
def _mounted(root: Path, device: Path, run: Run) -> Iterator[Path]:
    """Where it is mounted already: once more, in another way than there, the kernel refuses."""
    if (already := mounted_at(root, Path("/") / device.relative_to(root))) is not None:
        yield already
        return
    with tempfile.TemporaryDirectory(prefix="kairos-esp-") as folder:
        options = ("-o", "ro,nosuid,nodev,noexec", "-t", "vfat")
        run(["mount", *options, str(device), folder], seconds=MOUNT_SECONDS)
        try:
            yield Path(folder)
        finally:
            run(["umount", folder], seconds=MOUNT_SECONDS, check=False)
