"""Rooms: Debian trees in which programs of that Debian run, on this machine's kernel.

The tools that make images (ukify, mksquashfs, mtools, ...) come from one Debian release, whatever
this machine runs. A room has a mount namespace of its own; nothing stays mounted afterwards. As an
ordinary user it also has a user namespace in which that user is root (user_namespaces(7)).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pairing import process

WORK = "/mnt/work"
"""Where the folder with the files to work on appears in the room."""
KEYS = "/mnt/keys"
"""Where the folder with private keys appears, read-only."""
ENTER = """
root=$1 work=$2 keys=$3; shift 3
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
mount --rbind /sys "$root/sys"
for folder in run tmp var/tmp mnt; do mount -t tmpfs tmpfs "$root/$folder"; done
mkdir "$root/mnt/work" "$root/mnt/keys"
mount --bind "$work" "$root/mnt/work"
[ -z "$keys" ] || mount --bind -o ro "$keys" "$root/mnt/keys"
exec chroot "$root" env -C /mnt/work "$@"
"""


@dataclass(frozen=True, slots=True)
class Room:
    """A tree of files with a Debian in it."""

    tree: Path

    def run(
        self,
        argv: Sequence[str],
        work: Path,
        *,
        seconds: float,
        keys: Path | None = None,
        environment: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> process.Result:
        """Run a program of the room in `work`; paths in `argv` are meant from there, or `KEYS`.

        Raises errors.CommandMissing, errors.CommandFailed and errors.CommandTimeout.
        """
        folders = [
            str(self.tree.resolve()),
            str(work.resolve()),
            str(keys.resolve()) if keys else "",
        ]
        entry = ["unshare", *_as_root(), "--mount", "--propagation", "private", "--"]
        return process.run(
            [*entry, "sh", "-e", "-c", ENTER, argv[0], *folders, *argv],
            seconds=seconds,
            stdin=stdin,
            environment={"HOME": "/tmp", **(environment or {})},
        )


def _as_root() -> list[str]:
    return [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
