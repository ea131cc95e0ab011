"""Records an installation for pairing.testing.powercuts: the writes, and when two things happened
that are not on the disk: the operator stored the recovery key, the firmware got its boot entries.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from pairing.testing import writelog
from pairing.testing.box import Box

LOOK_SECONDS = 0.05
"""Between two looks. A machine needs longer from the key to its first write: it is emulated."""
ENTRY = "KR system".encode("utf-16-le")
"""The name of the installed system's boot entry, as the firmware stores it."""


class Watch:
    """Looks at an operator's folder of keys and a machine's firmware, and counts the writes."""

    def __init__(self, box: Box, escrow: Path, log: Path) -> None:
        self.log = log
        self.acknowledged: int | None = None
        """Requests to the disk when the key was there; None: it never was."""
        self.entry: int | None = None
        """The same for the boot entry."""
        self.finished = 0
        self._box = box
        self._escrow = escrow
        self._over = threading.Event()

    def finish(self) -> None:
        """The installation is complete: what is written from now on is something else."""
        self.finished = writelog.count(self.log)

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            if self.acknowledged is None and any(self._escrow.glob("*.json")):
                self.acknowledged = writelog.count(self.log)
            if self.entry is None and ENTRY in self._box.variables.read_bytes():
                self.entry = writelog.count(self.log)


@contextlib.contextmanager
def recording(box: Box, escrow: Path) -> Iterator[Watch]:
    """Record the box's next run; start it inside of the context."""
    log = box.folder / "writes.log"
    log.write_bytes(b"")
    watch = Watch(box, escrow, log)
    box.log = log
    thread = threading.Thread(target=watch._look, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch._over.set()
        thread.join()
        box.log = None
