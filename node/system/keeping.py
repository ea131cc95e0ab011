"""Mounts of the installed system, and what is kept over restarts on its data volume."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from node.plan.boot import (
    DATA_FOLDER,
    OEM_FOLDER,
    STATE_FOLDER,
    KeepIdentity,
    KeepPath,
    MatchVolumes,
    MountEsp,
    MountVolume,
)
from node.system.door import Door
from node.system.reading import read
from node.system.volumes import is_mounted
from pairing import errors
from pairing.durable import flush_folder, flush_volume, write_durably

MOUNT_SECONDS = 60.0
CHECK_SECONDS = 500.0
COPY_SECONDS = 300.0
UNREPAIRED = 4
"""Bit in e2fsck's exit status (e2fsck(8)): errors are left."""
PAIR_BYTES = 32
KEY_TYPES = ("ed25519", "ecdsa", "rsa")


@dataclass(frozen=True, slots=True)
class Keeper:
    """Carries out the steps that mount and keep, below `root`."""

    root: Path
    run: Door

    def mount_esp(self, step: MountEsp) -> None:
        """Readable by root only: FAT knows no owners."""
        self._mount(step.device, "/boot", "vfat", "nodev,nosuid,noexec,umask=0077")

    def mount_volume(self, step: MountVolume) -> None:
        """Repair what can be repaired without asking, then mount. Raises errors.CommandFailed."""
        if is_mounted(self.root, step.where):
            return
        checked = self.run(("e2fsck", "-p", step.device), seconds=CHECK_SECONDS, check=False)
        if checked.status & UNREPAIRED:
            raise errors.CommandFailed(f"Status {checked.status}.", element="e2fsck")
        self._mount(step.device, step.where, "ext4", step.options)
        if step.where == OEM_FOLDER:
            self._below(OEM_FOLDER).chmod(0o700)

    def _mount(self, device: str, where: str, kind: str, options: str) -> None:
        if not is_mounted(self.root, where):
            argv = ("mount", "-t", kind, "-o", options, device, where)
            self.run(argv, seconds=MOUNT_SECONDS)

    def match(self, step: MatchVolumes) -> None:
        """Both volumes hold the same random number, written when they were made.

        Nobody without both keys knows it, so an exchanged volume does not have it. The config
        volume's mark says that the number is on both: a start that was cut off between goes on.
        Raises errors.VolumesForeign.
        """
        ours, theirs = self._below(OEM_FOLDER) / ".kairos", self._below(DATA_FOLDER) / ".kairos"
        number, other = read(ours / "pair"), read(theirs / "pair")
        if (ours / "paired").exists():
            if not number or number != other:
                raise errors.VolumesForeign
            return
        if other and other != number:
            raise errors.VolumesForeign
        number = number if len(number) == PAIR_BYTES else secrets.token_bytes(PAIR_BYTES)
        for folder, name, data in (
            (ours, "pair", number),
            (theirs, "pair", number),
            (ours, "paired", b""),
        ):
            folder.mkdir(mode=0o700, exist_ok=True)
            write_durably(folder / name, data)

    def keep_path(self, step: KeepPath) -> None:
        """The first time the image's own content is copied; then the copy is bound over it."""
        target = self._below(step.path)
        if is_mounted(self.root, step.path):
            return
        target.mkdir(parents=True, exist_ok=True)
        kept = self._below(STATE_FOLDER) / step.path.lstrip("/")
        if not kept.exists():
            self._copy(target, kept)
        self.run(("mount", "--bind", str(kept), str(target)), seconds=MOUNT_SECONDS)

    def _copy(self, source: Path, kept: Path) -> None:
        """Complete or not at all: a start that was cut off begins the copy again."""
        kept.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        unfinished = kept.with_name(f".{kept.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        argv = ("cp", "--archive", "--one-file-system", str(source), str(unfinished))
        self.run(argv, seconds=COPY_SECONDS)
        self.run(("sync", "--file-system", str(unfinished)), seconds=COPY_SECONDS)
        unfinished.rename(kept)
        flush_folder(kept.parent)

    def keep_identity(self, step: KeepIdentity) -> None:
        """Host keys are made here, once: the image has none. The machine id comes from the
        firmware; a firmware without one would give another at each start, so the first is kept."""
        folder = self._below(DATA_FOLDER) / ".kairos/identity"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._machine_id(folder / "machine-id")
        for kind in KEY_TYPES:
            self._host_key(folder, kind)

    def _machine_id(self, kept: Path) -> None:
        now = self._below("/etc/machine-id")
        first, current = read(kept).strip(), read(now).strip()
        if not first:
            if len(current) == 32:
                write_durably(kept, current + b"\n", 0o444)
        elif first != current:
            write_durably(now, first + b"\n", 0o444)

    def _host_key(self, folder: Path, kind: str) -> None:
        name = f"ssh_host_{kind}_key"
        if not (read(folder / name) and read(folder / f"{name}.pub")):
            for old in (folder / name, folder / f"{name}.pub"):
                old.unlink(missing_ok=True)
            argv = ("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", str(folder / name))
            self.run(argv, seconds=COPY_SECONDS)
            # It flushes nothing: a power cut would leave both names with nothing in them.
            flush_volume(folder)
        target = self._below("/etc/ssh")
        target.mkdir(parents=True, exist_ok=True)
        write_durably(target / name, read(folder / name))
        write_durably(target / f"{name}.pub", read(folder / f"{name}.pub"), 0o644)

    def _below(self, path: str) -> Path:
        return self.root / path.lstrip("/")
